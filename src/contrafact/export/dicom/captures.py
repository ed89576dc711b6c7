"""Captures: results as pictures of 512 pixels and more, over strips of words that cover no image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.export.dicom.images import Drawn, Levels, Series, picture, text
from contrafact.export.dicom.source import CAPTURE, decimals
from contrafact.export.paper_files import true_proportions
from contrafact.io import stored_grid
from contrafact.render.captions import over_words
from contrafact.render.difference import enlarged
from contrafact.render.map_display import MapScale, colour_names
from contrafact.render.outcome import ORIGINAL, SYNTHETIC, frame_titles, levels
from contrafact.render.paper import FOOT, MARK, Panel, Sheet, change_sheet, heatmap_sheet
from contrafact.render.text import engine_words, few

Row = Mapping[str, Any]
Arrays = Mapping[str, NDArray[Any]]
SIDE = 512  # least pixels of the longer side of an image
EDGE = 8  # black columns between the images of a sheet
SIDES = ("left", "right", "top", "bottom")
GEOMETRY = (
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "PatientPosition",
)


def heatmap_capture(header: Any, row: Row, arrays: Arrays, scale: MapScale, series: Series) -> Any:
    """Return a heatmap beside its image; of a volume, the slice with the most evidence. `header` is that of the
    source, for patient and study."""
    grid, row = stored_grid(row, arrays["values"].shape, arrays["affine"]), shown_row(header, row)
    sheet = heatmap_sheet(row, arrays, grid, scale, side=SIDE)
    answers = ", ".join(few(row.get("answers") or ()))
    lines = (f"Prediction: {answers}" if answers else "", *sheet.lines)
    data = sheet_capture(header, replace(sheet, lines=lines), series)
    orange, blue = colour_names(row)
    said = [f"Orange: evidence {orange}; blue: {blue}", f"Full colour: {scale.drawn:.3g}", scale.words]
    data.ImageComments = text(". ".join(filter(None, said)).replace("×", "x"), 1024)
    return data


def change_capture(header: Any, row: Row, arrays: Arrays, series: Series, drawn: Drawn) -> Any:
    """Return original, changed image and difference; of a volume, the slice that changes most."""
    grid, row = stored_grid(row, arrays["frames"].shape[2:], arrays["strip_affine"]), shown_row(header, row)
    return sheet_capture(header, change_sheet(row, arrays, grid, side=SIDE), series, drawn=drawn)


def sheet_capture(header: Any, sheet: Sheet, series: Series, *, drawn: Drawn | None = None) -> Any:
    """Return the images of a sheet side by side as a Secondary Capture without a position in the patient: each
    over its title and mark, all over the words of the sheet.

    header  of the source: patient and study
    drawn   given for generated pixels: sets their flags
    """
    data = picture(header, sheet_pixels(sheet), series, 1, drawn=drawn, banner=False)
    data.SOPClassUID = CAPTURE
    for name in GEOMETRY:
        data.pop(name, None)
    return data


def sheet_pixels(sheet: Sheet) -> NDArray[np.uint8]:
    """Return a sheet as (H, W, 3) bytes: its images, untouched, and below them what it says."""
    parts: list[NDArray[Any]] = []
    for panel in sheet.panels:
        framed = over_words(true_proportions(panel.pixels, sheet.aspect), _panel_words(panel), rows=4)
        parts += [framed, np.zeros((1, EDGE, 3), np.uint8)]
    tall = max(len(part) for part in parts)
    row = np.concatenate([np.pad(part, ((0, tall - len(part)), (0, 0), (0, 0))) for part in parts[:-1]], axis=1)
    sides = zip(SIDES, sheet.letters or "", strict=False)
    place = [f"Sides: {', '.join(f'{side} {letter}' for side, letter in sides)}." if sheet.letters else ""]
    place += [f"Each image is {sheet.mm:.4g} mm wide." if sheet.mm else ""]
    return over_words(row, [sheet.title, *sheet.lines, " ".join(filter(None, place)), FOOT])


def frame_capture(
    header: Any,
    pixels: NDArray[Any],
    series: Series,
    number: int,
    *,
    words: Sequence[str],
    levels: Levels | None,
    window: tuple[float, float],
    drawn: Drawn,
) -> Any:
    """Return a frame (H, W) or (H, W, 3) as a Secondary Capture, enlarged by a whole factor over a strip of
    words. Its position and the size of its pixels are those of the enlarged image."""
    by = max(1, -(-SIDE // max(pixels.shape[:2])))
    planes = np.moveaxis(pixels, -1, 0) if pixels.ndim == 3 else pixels[None]
    large = np.moveaxis(enlarged(planes, by * max(pixels.shape[:2])), 0, -1)
    if pixels.ndim == 3:
        shown: NDArray[Any] = over_words(np.round(large).astype(np.uint8), words, rows=4)
    else:
        shown = over_words(large[..., 0], words, low=window[0], high=window[1], rows=4)
    data = picture(header, shown, series, number, levels=levels, window=window, drawn=drawn, banner=False)
    _placed(data, by)
    return data


def frame_words(header: Any, row: Row, k: int, generator: str) -> list[str]:
    """Return the strip of words below frame `k` of a counterfactual: its kind, its prediction, what made it."""
    kind = frame_titles(shown_row(header, row))[k]
    name = str(row.get("target_name") or row["record"]["target"])
    made = [f"engine {engine_words(row)}, generator {generator}"] if kind == SYNTHETIC else []
    mark = kind if kind == ORIGINAL else f"{kind}. {MARK}" if kind != SYNTHETIC else MARK
    return [mark, f"Prediction {name}: {levels(row)[k]}", *made, FOOT]


def shown_row(header: Any, row: Row) -> Row:
    """Return a row without the name of its image, in which a patient's may stand; it says so where the source
    declares itself synthetic."""
    synthetic = {"synthetic": True} if str(header.get("SyntheticData", "")) == "YES" else {}
    return {**row, "case": "", "about": {**(row.get("about") or {}), **synthetic}}


def _panel_words(panel: Panel) -> list[str]:
    low, high, unit, *_ = panel.bar or ("", "", "")
    legend = f"blue {low}; orange {high}{f' ({unit})' if unit else ''}" if panel.bar else ""
    return [words for words in (panel.mark, panel.title, legend) if words]


def _placed(data: Any, by: int) -> None:
    """Give an image that was enlarged the size of its pixels, and the position of its first one."""
    if "ImagePositionPatient" in data and "PixelSpacing" in data:
        down, across = (float(v) for v in data.PixelSpacing)
        sides = np.reshape([float(v) for v in data.ImageOrientationPatient], (2, 3))
        first = np.array([float(v) for v in data.ImagePositionPatient])
        moved = (1 / by - 1) / 2 * (across * sides[0] + down * sides[1])
        data.ImagePositionPatient = decimals(first + moved)
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        if name in data:
            setattr(data, name, decimals([float(v) / by for v in data[name].value]))
