"""Data of small charts, drawn as SVG by the templates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Curve:
    """Chart of requested and achieved changes: points in pixels, ticks as (pixel, label)."""

    width: int
    height: int
    points: list[tuple[float, float]]
    ideal: list[tuple[float, float]]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    goal_y: float | None


def curve(steps: Sequence[float], scores: Sequence[float], start: float, goal: float | None) -> Curve:
    """Chart the measured scores over the requested steps; `ideal` is the line of equal change."""
    width, height, left, bottom, top, right = 340, 240, 44, 40, 14, 14
    ideal = [(s, start + s) for s in (min(steps), max(steps))]
    ys = [*scores, *(y for _, y in ideal), *([goal] if goal is not None else [])]
    x0, x1 = _span(steps)
    y0, y1 = _span(ys)

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            round(left + (x - x0) / (x1 - x0) * (width - left - right), 1),
            round(height - bottom - (y - y0) / (y1 - y0) * (height - bottom - top), 1),
        )

    return Curve(
        width=width,
        height=height,
        points=[at(x, y) for x, y in zip(steps, scores, strict=True)],
        ideal=[at(x, y) for x, y in ideal],
        x_ticks=[(at(t, y0)[0], _label(t)) for t in _ticks(x0, x1)],
        y_ticks=[(at(x0, t)[1], _label(t)) for t in _ticks(y0, y1)],
        goal_y=None if goal is None else at(x0, goal)[1],
    )


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = max(0.05 * (high - low), 0.1)
    return low - pad, high + pad


def _ticks(low: float, high: float) -> list[float]:
    sizes = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 1e3, 1e5, 1e9)
    size = next((s for s in sizes if (high - low) / s <= 7), (high - low) / 5)
    first = -(-low // size)
    return [k * size for k in range(int(first), int(high // size) + 1)]


def _label(value: float) -> str:
    return f"{value:g}" if abs(value) > 1e-9 else "0"


@dataclass(frozen=True, slots=True)
class Dots:
    """Chart of means with intervals, one row each: (y, label, x, low x, high x, text) in pixels."""

    width: int
    height: int
    rows: list[tuple[float, str, float, float, float, str]]
    ticks: list[tuple[float, str]]


def dots(rows: Sequence[tuple[str, float, float | None, float | None]]) -> Dots:
    """Return a chart of rows (label, mean, low, high), top to bottom."""
    width, left, right, line = 520, 190, 60, 19
    ends = [v for _, mean, low, high in rows for v in (mean, low, high) if v is not None]
    low_end, high_end = min(ends), max(ends)
    pad = 0.04 * (high_end - low_end) or 0.05 * abs(high_end) or 0.1
    x0, x1 = low_end - pad, high_end + pad

    def at(x: float) -> float:
        return round(left + (x - x0) / (x1 - x0) * (width - left - right), 1)

    size = 10.0 ** math.floor(math.log10((x1 - x0) / 2))
    size = next(s for s in (size, 2 * size, 5 * size, 10 * size) if (x1 - x0) / s <= 7)
    ticks = [k * size for k in range(math.ceil(x0 / size), math.floor(x1 / size) + 1)]
    return Dots(
        width=width,
        height=line * len(rows) + 30,
        rows=[
            (14 + line * i, name, at(mean), at(_or(low, mean)), at(_or(high, mean)), f"{mean:.3g}")
            for i, (name, mean, low, high) in enumerate(rows)
        ],
        ticks=[(at(t), f"{t:.4g}" if abs(t) > size / 2 else "0") for t in ticks],
    )


def _or(value: float | None, other: float) -> float:
    return other if value is None else value
