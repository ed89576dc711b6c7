"""How the colours of maps and differences look with each kind of colour blindness, as a picture and in numbers.

    python -m experiments.evaluate.colour_vision --run RUN

The run needs a heatmap and a counterfactual. Writes docs/pictures/colour_vision.webp and prints the distances.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw
from skimage.color import deltaE_cie76, rgb2lab

from contrafact.io import open_run, stored_grid
from contrafact.render.captions import font_of
from contrafact.render.difference import DARK, STRONG
from contrafact.render.paper import change_sheet, heatmap_sheet
from contrafact.render.pixels import signed_overlay
from contrafact.render.run_index import RunIndex

# Machado, Oliveira & Fernandes 2009, "A Physiologically-based Model for Simulation of Color Vision Deficiency",
# severity 1.0; for linear RGB.
MATRICES = {
    "protanopia": (
        (0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900),
    ),
}  # fmt: skip
SIDE, GAP, LINE = 320, 10, 30  # pixels of a picture, between pictures, of a line of words
GREYS = (0, 64, 128, 192, 255)  # of the image under a map
OVERLAYS = {"heatmap": (1.0, 0.85), "difference": (DARK, STRONG)}  # share of the image below, opacity


def simulated(picture: NDArray[Any], kind: str) -> NDArray[np.uint8]:
    """Return an sRGB picture (..., 3) of 0 to 255 as it looks with a kind of colour blindness; "" as it is."""
    if not kind:
        return np.asarray(picture, dtype=np.uint8)
    share = np.asarray(picture, dtype=float) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(MATRICES[kind]).T, 0, 1)
    share = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    return np.asarray(np.round(share * 255), dtype=np.uint8)


def colours(form: str, grey: int, share: float) -> NDArray[np.uint8]:
    """Return orange, blue and the bare image (3, 3) over a grey, at a share of full colour."""
    under, strength = OVERLAYS[form]
    base = np.full((1, 3, 3), round(grey * under), dtype=np.uint8)
    return signed_overlay(base, np.array([[share, -share, 0.0]]), 1.0, strength=strength)[0]


def distances(form: str, grey: int, share: float, kind: str) -> tuple[float, float]:
    """Return how far orange is from blue, and the nearer of both from the bare image (CIE Lab 1976)."""
    orange, blue, bare = (rgb2lab(c / 255) for c in simulated(colours(form, grey, share), kind))
    return float(deltaE_cie76(orange, blue)), float(min(deltaE_cie76(orange, bare), deltaE_cie76(blue, bare)))


def table() -> list[str]:
    """Return the smallest distances over all greys, as rows of a table."""
    rows = [
        "| | orange from blue, full colour | a quarter of it | the fainter from the bare image, full colour |"
    ]
    rows.append("| --- | --- | --- | --- |")
    for kind in ("", *MATRICES):
        found = [[distances(form, grey, s, kind) for form in OVERLAYS for grey in GREYS] for s in (1.0, 0.25)]
        ends, faint = (min(pair for pair, _ in part) for part in found)
        bare = min(one for _, one in found[0])
        rows.append(f"| {kind or 'usual vision'} | {ends:.0f} | {faint:.0f} | {bare:.0f} |")
    return rows


def sheet(run: Path) -> Picture.Image:
    """Return a heatmap and a difference of a run as they look with each kind of vision."""
    opened, pictures = open_run(run), {}
    cohort = RunIndex(opened)
    for row, arrays in opened.results():
        if row["kind"] == "heatmap":
            grid = stored_grid(row, arrays["values"].shape, arrays["affine"])
            scale = cohort.map_scale(row, arrays["values"])
            pictures["heatmap"] = heatmap_sheet(row, arrays, grid, scale, side=SIDE).panels[-1].pixels
        else:
            grid = stored_grid(row, arrays["frames"].shape[2:], arrays["strip_affine"])
            pictures["difference"] = change_sheet(row, arrays, grid, side=SIDE).panels[-1].pixels
    kinds = ("", *MATRICES)
    page = Picture.new("RGB", (len(kinds) * (SIDE + GAP) - GAP, LINE + 2 * (SIDE + GAP) + 40), "white")
    pen = ImageDraw.Draw(page)
    bar = signed_overlay(
        np.full((32, SIDE, 3), 128, np.uint8), np.linspace(-1, 1, SIDE)[None].repeat(32, 0), 1.0
    )
    for column, kind in enumerate(kinds):
        left = column * (SIDE + GAP)
        pen.text((left, 4), kind or "usual vision", fill="#111", font=font_of(18))
        for row_, name in enumerate(("heatmap", "difference")):
            shown = Picture.fromarray(simulated(pictures[name], kind)).resize((SIDE, SIDE))
            page.paste(shown, (left, LINE + row_ * (SIDE + GAP)))
        page.paste(Picture.fromarray(simulated(bar, kind)), (left, LINE + 2 * (SIDE + GAP)))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a run with a heatmap and a counterfactual")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/colour_vision.webp"))
    words = parser.parse_args()
    sheet(words.run).save(words.out, quality=80, method=6)
    print("\n".join(table()))


if __name__ == "__main__":
    main()
