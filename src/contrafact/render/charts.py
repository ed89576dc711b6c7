"""Data of small charts, drawn as SVG by the templates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Curve:
    """Chart of the prediction over the requested change: points in pixels, ticks as (pixel, label).

    half_y  the height of a probability of one half, where the prediction flips; None without probabilities
    """

    width: int
    height: int
    points: list[tuple[float, float]]
    ideal: list[tuple[float, float]]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    goal_y: float | None
    half_y: float | None = None


def curve(
    steps: Sequence[float],
    scores: Sequence[float],
    start: float,
    goal: float | None,
    *,
    share: Callable[[float], float] | None = None,
) -> Curve:
    """Chart the measured scores over the requested steps; `ideal` is the line of equal change. Steps that only
    lower the score run to the right too, from the image to the changed image.

    share  turns a score into a probability: the chart then has an axis from 0 to 100 %
    """
    width, height, left, bottom, top, right = 340, 240, 54, 40, 14, 14
    up: Callable[[float], float] = share or (lambda score: score)
    ends = (min(steps), max(steps))
    ideal = [ends[0] + (ends[1] - ends[0]) * k / 24 for k in range(25)] if share else list(ends)
    x0, x1 = _span(steps)
    y0, y1 = (-0.03, 1.03) if share else _span([*scores, *(start + s for s in ideal), *_given(goal)])
    back = ends[0] < 0 and ends[1] <= 0

    def at(x: float, score: float) -> tuple[float, float]:
        along = (x - x0) / (x1 - x0)
        return (
            round(left + (1 - along if back else along) * (width - left - right), 1),
            round(height - bottom - (up(score) - y0) / (y1 - y0) * (height - bottom - top), 1),
        )

    def high(value: float) -> float:
        return round(height - bottom - (value - y0) / (y1 - y0) * (height - bottom - top), 1)

    parts = [(k / 4, f"{25 * k} %") for k in range(5)] if share else [(t, _label(t)) for t in _ticks(y0, y1)]
    return Curve(
        width=width,
        height=height,
        points=[at(x, y) for x, y in zip(steps, scores, strict=True)],
        ideal=[at(s, start + s) for s in ideal],
        x_ticks=[(at(t, start)[0], _label(t)) for t in _ticks(x0, x1)],
        y_ticks=[(high(value), text) for value, text in parts],
        goal_y=None if goal is None else at(x0, goal)[1],
        half_y=high(0.5) if share else None,
    )


def _given(goal: float | None) -> list[float]:
    return [] if goal is None else [goal]


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
