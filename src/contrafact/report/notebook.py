"""HTML of results for notebooks. `contrafact.core.display` calls these functions by name.

Styles and pictures are inline, without scripts: untrusted notebooks show them too, and nothing is loaded.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from contrafact.core import Counterfactual, Grid, Heatmap, Image, InputError, Record
from contrafact.render.case import finite, plane_of, spacing_words, strip_about
from contrafact.render.difference import OUTLINED, difference_picture, enlarged, half_share, outline, thicker
from contrafact.render.figures import (
    PLANES,
    aspect_of,
    flat_frames,
    overlay,
    plane_names,
    telling_slice,
    upright,
)
from contrafact.render.map_display import colour_names, map_flaw
from contrafact.render.outcome import found, last_frame, sentence
from contrafact.render.pixels import grey, png_text, signed_scale
from contrafact.render.text import layer_words, part_words, trust_words
from contrafact.report.page import environment

SIDE, SMALL = 480, 120  # pixels of the longer side: of a picture, a frame
FRAMES = 9  # frames of a counterfactual shown, evenly spaced


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """HTML that a notebook shows."""

    html: str

    def _repr_html_(self) -> str:
        return self.html


def image(image: Image) -> str:
    """Show the image in its window; of a volume, the middle slice in three planes."""
    if len(image.grid.shape) == 2:
        pictures = [("", grey(image.values, image.window))]
    else:
        pictures = [(name, _plane(image, axis)) for axis, name in enumerate(plane_names(image.grid))]
    low, high = image.window
    said = [_size(image.grid), f"window {low:.4g} to {high:.4g}", Path(image.source).name]
    return _page("image", pictures=_sized(pictures, image.grid), said=said)


def heatmap(heat: Heatmap) -> str:
    """Show the map alone on a per-image scale; of a volume, the strongest slice in three planes."""
    return _map(heat, np.zeros((1, *heat.grid.shape), dtype=np.float32), (0.0, 1.0), "heat")


def over(image: Image, heat: Heatmap, *, kind: str = "signed") -> Shown:
    """Show a map over its image; `kind` as in `contrafact export`.

    raises  InputError if the grids differ
    """
    if image.grid != heat.grid:
        raise InputError(
            "expected the map and the image on one grid; got two grids; give the image that was explained"
        )
    return Shown(_map(heat, image.values, image.window, kind))


def _map(heat: Heatmap, under: NDArray[Any], window: tuple[float, float], kind: str) -> str:
    scale = max(signed_scale([heat.values]), 1e-12)
    flat, views = len(heat.grid.shape) == 2, _views(heat, under)
    drawn = [(name, *_outlined(base, values, window, scale, kind)) for name, base, values in views]
    pictures = [
        (name, picture if flat else upright(picture, heat.grid, axis, _sides(heat.grid, axis)))
        for axis, (name, picture, _) in enumerate(drawn)
    ]
    orange, blue = colour_names({"record": {"target": heat.record.target}})
    at = f"slice {telling_slice(heat.values, 0) + 1} of {len(heat.values)}, with the most evidence"
    return _page(
        "heatmap",
        pictures=_sized(pictures, heat.grid),
        scale=f"{scale:.3g}",
        empty=not heat.values.any(),
        flaw=map_flaw(heat.values, scale),
        orange=orange,
        blue=blue,
        line=f"White line: the strongest {100 * OUTLINED:.0f} %." if any(one[2] for one in drawn) else "",
        said=[
            _size(heat.grid),
            layer_words(heat.record.details),
            part_words(heat.record.details),
            "" if flat else at,
        ],
        record=_told(heat.record),
    )


def _views(heat: Heatmap, under: NDArray[Any]) -> list[tuple[str, NDArray[Any], NDArray[Any]]]:
    """Return the image (C, H, W) and the map (H, W); of a volume, of the slice with the most evidence in three
    planes, with their names."""
    if len(heat.grid.shape) == 2:
        return [("", under, heat.values)]
    at = [telling_slice(heat.values, axis) for axis in range(3)]
    return [
        (name, under.take(at[axis], axis=axis + 1), np.asarray(heat.values.take(at[axis], axis=axis)))
        for axis, name in enumerate(plane_names(heat.grid))
    ]


def _outlined(
    image: NDArray[Any], values: NDArray[Any], window: tuple[float, float], scale: float, kind: str
) -> tuple[NDArray[np.uint8], bool]:
    """Return the map over the image, enlarged and with the outline of its strongest tenth; and whether there is
    one."""
    large = enlarged(values[None], SIDE)[0]
    drawn = overlay(enlarged(image, SIDE), large, window=window, scale=scale, kind=kind)
    line = thicker(outline(large))
    drawn[line] = 255
    return drawn, bool(line.any())


def strip(strip: Counterfactual) -> str:
    """Show original, changed image and difference under one sentence, then the outcome, and all frames with
    their predictions."""
    row = row_of(strip)
    about = strip_about(row, strip.grid, strip.frames)
    frames = flat_frames(strip.frames, strip.origin)
    window = tuple(row["window"])
    picked = sorted({strip.origin, *np.linspace(0, len(frames) - 1, FRAMES).round().astype(int).tolist()})
    shown = [
        {
            "picture": _sized([("", grey(frames[k], window))], strip.grid, SMALL)[0],
            "origin": k == strip.origin,
            "kind": about["kinds"][k],
            "level": about["levels"][k],
        }
        for k in picked
    ]
    return _page(
        "strip",
        sentence=sentence(row, _half(strip, last_frame(row))) if found(row) else about["heading"],
        second="" if found(row) else about["second"],  # the sentence has it
        panels=_panels(row, frames, about, strip.grid),
        frames=shown,
        about=about,
        length=f"{max(about['latent_distance']):.1f}",
        all=len(frames),
        record=_told(strip.record),
    )


def _half(strip: Counterfactual, last: int) -> float:
    return half_share((strip.frames[last] - strip.frames[strip.origin]).mean(axis=0))


def _panels(
    row: Mapping[str, Any], frames: NDArray[Any], about: Mapping[str, Any], grid: Grid
) -> list[dict[str, Any]]:
    """Return original, changed image and difference, with a caption each."""
    ends, (low, high) = (int(row["origin"]), last_frame(row)), row["window"]
    change, outlined = difference_picture(*(frames[k] for k in ends), window=(low, high), side=SIDE)
    pictures = [("", grey(frames[k], (low, high))) for k in ends] + [("", change)]
    scale = about["difference"]
    line = f"white line: the {100 * OUTLINED:.0f} % that change most" if outlined else ""
    legend = "; ".join(filter(None, ("orange brighter, blue darker", scale["words"], line, scale["last"])))
    captions = [(about["kinds"][k], about["levels"][k]) for k in ends] + [
        ("difference from the original", legend)
    ]
    sized = _sized(pictures, grid)
    return [{**one, "name": name, "words": words} for one, (name, words) in zip(sized, captions, strict=True)]


def record(record: Record) -> str:
    return _page("record", record=_told(record))


def card(checks: Sequence[Mapping[str, Any]]) -> str:
    """Show reliability checks: failed and open ones as sentences, passed ones by name."""
    return _page("card", card=trust_words({"trust": checks}))


def row_of(strip: Counterfactual) -> dict[str, Any]:
    """Return a counterfactual as a row of a run, without arrays."""
    known = dataclasses.asdict(strip.record) if strip.record else None
    about = known or {"method": "strip", "parameters": {}, "target": "", "seconds": 0.0, "forward_passes": 0.0}
    plain = {
        name: getattr(strip, name)
        for name in ("origin", "reconstruction_error", "above_tolerance", "outcome", "goal")
    }
    lists = {name: getattr(strip, name).tolist() for name in ("requested", "scores", "latent_distance")}
    window = [float(strip.image.min()), float(strip.image.max())]
    second = None if strip.second is None else strip.second.tolist()
    said = {"second": second, "confirmed": strip.confirmed}
    return {"kind": "strip", "record": about, "window": window, **plain, **lists, **said}


def strip_traits(
    strip: Counterfactual, window: tuple[float, float] | None, at: int | None = None
) -> dict[str, Any]:
    """Return the state of the widget: values as JSON, frames as little-endian float32.

    at  slice of a volume; None: the middle one
    """
    frames = np.ascontiguousarray(plane_of(strip.frames, strip.grid, at), dtype="<f4")
    drawn = np.ascontiguousarray(plane_of(strip.reconstruction, strip.grid, at), dtype="<f4")
    low, high = window or (float(strip.image.min()), float(strip.image.max()))
    return {
        "about": finite(strip_about(row_of(strip) | {"window": [low, high]}, strip.grid, strip.frames)),
        "shape": list(frames.shape),
        "frames": frames.tobytes(),
        "reconstruction": drawn.tobytes(),
        "window": [low, high],
        "aspect": aspect_of(strip.grid),
    }


def _page(kind: str, **words: Any) -> str:
    return environment().get_template("notebook.html").render(kind=kind, **words)


def _plane(image: Image, axis: int) -> NDArray[np.uint8]:
    at = image.grid.shape[axis] // 2
    plane = np.asarray(image.values.take(at, axis=axis + 1))
    return upright(grey(plane, image.window), image.grid, axis, _sides(image.grid, axis))


def _sides(grid: Grid, axis: int) -> list[float]:
    return [grid.spacing_mm[a] for a in range(3) if a != axis]


def _sized(
    pictures: Sequence[tuple[str, NDArray[np.uint8]]], grid: Grid, side: int = SIDE
) -> list[dict[str, Any]]:
    """Return PNGs as text in true proportions, with no more pixels than shown; small images are enlarged."""
    made = []
    for name, pixels in pictures:
        high, wide = pixels.shape[0] * (1.0 if name in PLANES else aspect_of(grid)), float(pixels.shape[1])
        share = side / max(high, wide)
        size = max(1, round(wide * share)), max(1, round(high * share))
        small = Picture.fromarray(np.ascontiguousarray(pixels[..., :3]))
        if pixels.shape[1] > size[0] or pixels.shape[0] > size[1]:
            small = small.resize(size, Picture.Resampling.BILINEAR)
        made.append({"name": name, "picture": png_text(np.asarray(small)), "width": size[0], "height": size[1]})
    return made


def _size(grid: Grid) -> str:
    return f"{' × '.join(map(str, grid.shape))} px, {spacing_words(grid)}"


def _told(record: Record | None) -> dict[str, Any] | None:
    """Return a summary of a record, and the whole record as JSON."""
    if record is None:
        return None
    whole = json.dumps(finite(dataclasses.asdict(record)), indent=1, ensure_ascii=False)
    passes = "pass" if round(record.forward_passes) == 1 else "passes"
    cost = f"{record.seconds:.2f} s, {record.forward_passes:.0f} {passes} through the model"
    return {"method": record.method, "target": record.target, "cost": cost, "seed": record.seed, "whole": whole}
