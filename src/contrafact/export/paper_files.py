"""Figures for a slide or a paper as PNG, SVG and PDF; frames and slices as large pictures with words."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw

from contrafact.core import Grid
from contrafact.render import outcome
from contrafact.render.captions import font_of
from contrafact.render.case import image_measures, plane_of
from contrafact.render.difference import enlarged
from contrafact.render.figures import MASKED, animation, aspect_of, moving_slice, slices_pictures
from contrafact.render.map_display import MapScale, colour_names, display_sign
from contrafact.render.paper import FOOT, MARK, SIDE, Sheet, drawn, round_length
from contrafact.render.pixels import grey
from contrafact.render.text import engine_words, printable

Row = Mapping[str, Any]
Arrays = Mapping[str, NDArray[Any]]
KINDS = ("png", "svg", "pdf")
WALK = 300  # milliseconds of a frame
STRIP = 96  # pixels of the strips above and below a frame of an animation
MARGIN, LEAST = 16, 10  # pixels beside words, and of the smallest letters
WORDS = 640  # least pixels of a line of words; one width for all frames of an animation


def paper_files(sheet: Sheet, title: str) -> Iterator[tuple[str, bytes]]:
    """Yield a figure as (suffix, content), with what it says as metadata: of a PNG, text chunks; of an SVG,
    Dublin Core; of a PDF, its properties. No file has a date, so that equal results give equal files."""
    figure = drawn(sheet)
    import matplotlib

    for kind in KINDS:
        with matplotlib.rc_context({"svg.hashsalt": title, "svg.fonttype": "none", "pdf.fonttype": 42}):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, metadata=_metadata(kind, title, sheet))
        yield f".{kind}", buffer.getvalue()


def _metadata(kind: str, title: str, sheet: Sheet) -> dict[str, Any]:
    title, about = printable(f"{title}: {sheet.title}"), printable(sheet.words)
    if kind == "png":
        return {"Title": title, "Description": about, "Software": "Contrafact"}
    if kind == "svg":
        return {"Title": title, "Description": about, "Creator": "Contrafact", "Date": None}
    return {"Title": title, "Subject": about, "Creator": "Contrafact", "CreationDate": None}


def frames_gif(row: Row, frames: NDArray[Any], grid: Grid) -> bytes:
    """Return the frames of a counterfactual as a GIF, from the image to the changed image and back."""
    return animation(walk_pictures(row, frames, grid), milliseconds=WALK, colours=256)


def walk_pictures(row: Row, frames: NDArray[Any], grid: Grid) -> list[NDArray[np.uint8]]:
    """Return the frames of a counterfactual as pictures of 1,024 pixels and more, from the image to the changed
    image; of a volume, the slice that changes most. Strips above and below, which cover no image, say what each
    is, and sides have their letters, with a scale."""
    at = moving_slice(frames, int(row["origin"])) if frames.ndim == 5 else None
    name = str(row.get("target_name") or row["record"]["target"])
    kinds, levels, window = outcome.frame_titles(row), outcome.levels(row), tuple(row["window"])
    made, measures = [], image_measures(grid)
    for k in outcome.display_order(row):
        mark = MARK if kinds[k] == outcome.SYNTHETIC else kinds[k]
        pixels = true_proportions(grey(enlarged(plane_of(frames[k], grid, at), SIDE), window), aspect_of(grid))
        made.append(framed(pixels, f"{name}: {levels[k]}", mark, **measures))
    return made


def slice_pictures(row: Row, arrays: Arrays, grid: Grid, scale: MapScale) -> Iterator[NDArray[np.uint8]]:
    """Yield the slices of a volume with the map over them, 1,024 pixels and more, between strips of words."""
    values, window = display_sign(row) * arrays["values"], tuple(row["window"])
    legend, measures = legend_words(row, scale), image_measures(grid)
    shown = slices_pictures(arrays["image"], values, grid, window=window, scale=scale.drawn)
    for number, pixels in enumerate(shown, 1):
        above = f"{engine_words(row)}: slice {number} of {len(values)}"
        yield framed(large(pixels), above, legend, **measures)


def legend_words(row: Row, scale: MapScale, kind: str = "signed") -> str:
    """Return what an overlay of a kind shows, after the mark where its image is generated."""
    orange, blue = colour_names(row)
    said = f"orange: evidence {orange}; blue: {blue}; full colour {scale.drawn:.3g}"
    said = f"the image where the map is beyond ±{MASKED * scale.drawn:.3g}" if kind == "masked" else said
    return f"{MARK}; {said}" if (row.get("about") or {}).get("synthetic") else said


def large(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) by a whole factor, so that its longer side has at least 1,024 pixels."""
    height, width = pixels.shape[:2]
    by = max(1, -(-SIDE // max(height, width)))
    return np.asarray(Picture.fromarray(pixels).resize((by * width, by * height), Picture.Resampling.BILINEAR))


def framed(
    pixels: NDArray[np.uint8], above: str, mark: str, *, letters: str | None = None, mm: float | None = None
) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) between two strips of text; a narrow one with black beside it, so that the
    words fit.

    letters  of its left, right, upper and lower side; None: none
    mm       its width, for a scale; None: no scale
    """
    (height, narrow), width = pixels.shape[:2], max(WORDS, pixels.shape[1])
    page = Picture.new("RGB", (width, height + 2 * STRIP))
    page.paste(Picture.fromarray(pixels), ((width - narrow) // 2, STRIP))
    pen = ImageDraw.Draw(page)
    for y, words, colour in ((0, printable(above), "#ffffff"), (STRIP + height, printable(mark), "#ffcf5c")):
        pen.text((MARGIN, y + 8), words, fill=colour, font=_font(words, width - 2 * MARGIN, 40))
    foot = _font(FOOT, width - 2 * MARGIN, 22)
    pen.text((MARGIN, STRIP + height + 62), FOOT, fill="#b4bec6", font=foot)
    sides = ((0.03, 0.5), (0.97, 0.5), (0.5, 0.03), (0.5, 0.97))
    for letter, (across, down) in zip(letters or "", sides, strict=False):
        _boxed(pen, (across * width, STRIP + down * height), letter, 32)
    if mm:
        length = round_length(mm)
        right, y = (width - narrow) // 2 + 0.96 * narrow, STRIP + 0.95 * height
        ends = right - length / mm * narrow, right
        pen.line(((ends[0], y), (ends[1], y)), fill="black", width=12)
        pen.line(((ends[0], y), (ends[1], y)), fill="white", width=5)
        _boxed(pen, (sum(ends) / 2, y - 30), f"{length:g} mm", 24)
    return np.asarray(page)


def _boxed(pen: ImageDraw.ImageDraw, middle: tuple[float, float], words: str, size: int) -> None:
    """Write white words on a black box, which can be read on any grey."""
    font = font_of(size)
    left, top, right, bottom = pen.textbbox(middle, words, font=font, anchor="mm")
    pen.rectangle((left - 6, top - 4, right + 6, bottom + 4), fill="black")
    pen.text(middle, words, fill="white", font=font, anchor="mm")


def _font(words: str, width: int, most: int) -> Any:
    """Return the font of the largest size, `most` at most, in which the words fit."""
    long = font_of(most).getlength(words)
    return font_of(max(LEAST, min(most, int(most * width / max(long, 1)))))


def true_proportions(pixels: NDArray[np.uint8], aspect: float) -> NDArray[np.uint8]:
    """Return a picture in true proportions, enlarged along its longer spacing."""
    if abs(aspect - 1) < 0.01:
        return pixels
    height, width = pixels.shape[:2]
    size = (width, round(height * aspect)) if aspect > 1 else (round(width / aspect), height)
    return np.asarray(Picture.fromarray(pixels).resize(size, Picture.Resampling.BILINEAR))
