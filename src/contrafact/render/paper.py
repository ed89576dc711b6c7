"""Results as figures for a slide or a paper, with title, legend, scale, letters and a SYNTHETIC mark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Grid
from contrafact.render import outcome
from contrafact.render.case import image_measures, plane_of
from contrafact.render.difference import (
    DARK,
    OUTLINED,
    SHARE,
    STRONG,
    difference_picture,
    difference_scale,
    enlarged,
    half_share,
    outline,
    thicker,
)
from contrafact.render.figures import aspect_of, moving_slice, telling_slice
from contrafact.render.map_display import MapScale, colour_names, display_sign, map_flaw
from contrafact.render.pixels import AGAINST, FOR, grey, signed_overlay
from contrafact.render.text import engine_words, layer_words, part_words, printable

Row = Mapping[str, Any]
Arrays = Mapping[str, NDArray[Any]]
SIDE = 1024  # least pixels of the longer side of a picture before it is laid out
INCHES, DPI = 4.6, 240  # of a panel: 1,104 pixels
GAP, EDGE = 0.25, 0.15  # inches between panels, and around them
MARK = "SYNTHETIC · NOT FOR DIAGNOSIS"
FOOT = "Contrafact · for research, not for diagnosis"


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture (H, W, 3) with its title; `mark` stands below it, `bar` is (low, high, unit, opacity, base)."""

    pixels: NDArray[np.uint8]
    title: str
    mark: str = ""
    bar: tuple[str, str, str, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Sheet:
    """A figure before it is drawn: panels of one grid, with the lines above and below them."""

    title: str
    lines: tuple[str, ...]
    panels: tuple[Panel, ...]
    aspect: float
    letters: str | None
    mm: float | None

    @property
    def words(self) -> str:
        """Return everything that the figure says, for its metadata."""
        marks = [" ".join(filter(None, (panel.title, panel.mark))) for panel in self.panels]
        return ". ".join(words.rstrip(".") for words in (*self.lines, *marks, FOOT) if words)


def heatmap_sheet(row: Row, arrays: Arrays, grid: Grid, scale: MapScale, *, side: int = SIDE) -> Sheet:
    """Return the image and the map over it; of a volume, the slice with the most evidence."""
    values, window = arrays["values"], tuple(row["window"])
    at = telling_slice(values, 0) if values.ndim == 3 else None
    image, flat = plane_of(arrays["image"], grid, at), plane_of(values[None], grid, at)[0]
    base, large = grey(enlarged(image, side), window), enlarged(flat[None], side)[0]
    drawn = signed_overlay(base, display_sign(row) * large, scale.drawn)
    line = thicker(outline(large))
    drawn[line] = 255
    (orange, blue), name = colour_names(row), _target(row)
    bar = (f"{blue}: {scale.drawn:.3g}", f"{orange}: {scale.drawn:.3g}", _unit(row), 0.85, 1.0)
    said = (
        f"Orange: evidence {orange}; blue: {blue}. {scale.words}",
        f"White line: the strongest {100 * OUTLINED:.0f} %." if line.any() else "",
        layer_words(row["record"].get("details") or {}),
        part_words(row["record"].get("details") or {}),
        map_flaw(values, scale.drawn),
    )
    synthetic = bool((row.get("about") or {}).get("synthetic"))
    over = Panel(drawn, f"{engine_words(row)}, {name}", bar=bar)
    panels = (Panel(base, "image", MARK if synthetic else ""), over)
    return _sheet(row, grid, f"Where the model looks: {name}", said, panels, at)


def change_sheet(row: Row, arrays: Arrays, grid: Grid, *, side: int = SIDE) -> Sheet:
    """Return original, changed image and difference; of a volume, the slice that changes most."""
    origin, last, window = int(row["origin"]), outcome.last_frame(row), tuple(row["window"])
    frames, scale = arrays["frames"], difference_scale(row["window"])
    at = moving_slice(frames, origin) if frames.ndim == 5 else None
    ends = [plane_of(frames[k], grid, at) for k in (origin, last)]
    first, second = (grey(enlarged(end, side), window) for end in ends)
    drawn, outlined = difference_picture(*ends, window=window, side=side, line=2)
    kinds, levels, name = outcome.frame_titles(row), outcome.levels(row), _target(row)
    before = "" if kinds[origin] == outcome.ORIGINAL else MARK
    bar = (f"darker by {scale.value:.3g}", f"brighter by {scale.value:.3g}", "", STRONG, DARK)
    panels = (
        Panel(first, f"{kinds[origin]}, {name}: {levels[origin]}", before),
        Panel(second, f"changed image, {name}: {levels[last]}", MARK),
        Panel(drawn, "difference: changed image minus original", MARK, bar),
    )
    whole = (frames[last] - frames[origin]).mean(axis=0)
    title = outcome.sentence(row, half_share(whole)) if outcome.found(row) else outcome.heading(row)
    said = (
        f"White line: the {100 * OUTLINED:.0f} % that change most." if outlined else "",
        f"Full colour: {100 * SHARE:.0f} % of the display window. Engine: {engine_words(row)}.",
    )
    return _sheet(row, grid, title, said, panels, at)


def _sheet(
    row: Row, grid: Grid, title: str, said: Sequence[str], panels: tuple[Panel, ...], at: int | None
) -> Sheet:
    record = row["record"]
    case, model = str(row.get("case") or ""), str(row.get("model_name") or record["model"])[:40]
    shown = "" if at is None else f"Slice {at + 1} of {grid.shape[0]}."
    measures = image_measures(grid)
    about = " · ".join(filter(None, (case, f"target {_target(row)}", f"model {model}", record["method"])))
    lines = (about, " ".join(filter(None, (*said, shown))))
    return Sheet(title, lines, panels, aspect_of(grid), measures["letters"], measures["mm"])


def _target(row: Row) -> str:
    return str(row.get("target_name") or row["record"]["target"])


def _unit(row: Row) -> str:
    return outcome.unit_of(str(row["record"]["target"]))


def drawn(sheet: Sheet) -> Any:
    """Return the sheet as a matplotlib figure, each panel at least 1,024 pixels at `DPI`. Only letters and the
    scale lie on an image."""
    from matplotlib.figure import Figure

    count = len(sheet.panels)
    high, wide = sheet.panels[0].pixels.shape[:2]
    tall = INCHES * max(0.4, min(2.5, high * sheet.aspect / wide))
    width, above, below = INCHES * count + GAP * (count - 1) + 2 * EDGE, 0.85, 1.25
    height = tall + above + below
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    _write(figure, 1 - 0.3 / height, sheet.title, size=13, weight="bold")
    _write(figure, 0.34 / height, sheet.lines[1], size=8)
    _write(figure, 0.12 / height, f"{sheet.lines[0]} · {FOOT}", size=8)
    for k, panel in enumerate(sheet.panels):
        left = (EDGE + k * (INCHES + GAP)) / width
        box = (left, below / height, INCHES / width, tall / height)
        _panel(figure, box, panel, sheet)
    return figure


def _write(figure: Any, y: float, words: str, *, size: float, **how: Any) -> None:
    """Write a line across the figure, smaller where it would be too long."""
    width = figure.get_figwidth()
    room = (width - 2 * EDGE) * 72 / (0.56 * max(len(words), 1))
    figure.text(EDGE / width, y, _plain(words), fontsize=min(size, room), va="center", color="#111", **how)


def _plain(words: str) -> str:
    """Return words as matplotlib writes them as they are, not as mathematics."""
    return printable(words).replace("$", r"\$")


def _panel(figure: Any, box: tuple[float, float, float, float], panel: Panel, sheet: Sheet) -> None:
    left, bottom, width, height = box
    inches = figure.get_figheight()
    ax = figure.add_axes(box)
    ax.imshow(panel.pixels, aspect=sheet.aspect, interpolation="bilinear")
    ax.axis("off")
    size = min(10, INCHES * 72 / (0.56 * len(panel.title)))
    title = _plain(panel.title)
    figure.text(left, bottom + height + 0.14 / inches, title, fontsize=size, va="center", color="#111")
    if panel.mark:
        below = bottom - 0.16 / inches
        figure.text(left, below, panel.mark, fontsize=9, weight="bold", va="center", color="#8a3a00")
    _letters(ax, sheet.letters)
    _ruler(ax, panel.pixels.shape, sheet.mm)
    if panel.bar:
        _bar(figure, (left, bottom - 0.5 / inches, width, 0.1 / inches), panel.bar)


BOX = {"facecolor": "black", "edgecolor": "none", "alpha": 0.6, "pad": 1.5}  # behind letters, on any grey


def _letters(ax: Any, letters: str | None) -> None:
    places = ((0.015, 0.5, "left"), (0.985, 0.5, "right"), (0.5, 0.965, "center"), (0.5, 0.035, "center"))
    how = {"color": "white", "fontsize": 11, "va": "center", "transform": ax.transAxes, "bbox": BOX}
    for letter, (x, y, side) in zip(letters or "", places, strict=False):
        ax.text(x, y, letter, ha=side, **how)


def round_length(mm: float) -> float:
    """Return the longest length of 1, 2 or 5 times a power of ten that is at most a quarter of `mm`."""
    ten = 10.0 ** float(np.floor(np.log10(mm / 4)))
    return next(step * ten for step in (5, 2, 1) if step * ten <= mm / 4 * (1 + 1e-9))


def _ruler(ax: Any, shape: tuple[int, ...], mm: float | None) -> None:
    """Draw a bar of a round length in mm, at most a quarter of the picture."""
    if not mm:
        return
    length = round_length(mm)
    right, y = 0.97 * shape[1], 0.955 * shape[0]
    ends = [right - length / mm * shape[1], right]
    for colour, wide in (("black", 5), ("white", 2)):
        ax.plot(ends, [y, y], color=colour, linewidth=wide, solid_capstyle="butt")
    how = {"color": "white", "fontsize": 8, "ha": "center", "va": "bottom", "bbox": BOX}
    ax.text(sum(ends) / 2, y - 0.022 * shape[0], f"{length:g} mm", **how)


def _bar(figure: Any, box: tuple[float, float, float, float], bar: tuple[str, str, str, float, float]) -> None:
    """Draw the legend, in the colours as blended over the middle grey of the picture."""
    low, high, unit, opacity, dim = bar
    share = np.linspace(-1, 1, 512)[:, None]
    colour = np.where(share > 0, FOR, AGAINST)
    base = 128 * dim
    blended = base * (1 - opacity * np.abs(share)) + colour * opacity * np.abs(share)
    ax = figure.add_axes(box)
    ax.imshow(blended[None].astype(np.uint8), aspect="auto")
    ax.axis("off")
    y = box[1] - 0.11 / figure.get_figheight()
    middle = "0" if not unit else f"0 ({unit})"
    size = min(8, 0.4 * INCHES * 72 / (0.56 * max(len(low), len(high))))  # the ends leave the middle free
    for x, words, side in ((0.0, low, "left"), (0.5, middle, "center"), (1.0, high, "right")):
        figure.text(box[0] + x * box[2], y, _plain(words), fontsize=size, ha=side, va="center", color="#111")
