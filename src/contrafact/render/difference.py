"""Difference pictures: one fixed scale for all, with its description."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from contrafact.render.pixels import grey, signed_overlay

SHARE = 0.25  # share of the display window that is full colour
OUTLINED = 0.1  # share of the pixels inside the outline
DARK, STRONG = 0.35, 0.95  # of difference pictures: the original below, the colours above
LINE = np.array([245, 248, 250], dtype=np.uint8)  # of the outline
FAINT = 0.1  # share of the scale; a smaller change is hardly visible


@dataclass(frozen=True, slots=True)
class DifferenceScale:
    """Value of full colour in image units: a quarter of the display window."""

    value: float

    @property
    def words(self) -> str:
        return f"full colour: ±{self.value:.3g}, {100 * SHARE:.0f} % of the display window"


def difference_scale(window: Sequence[float]) -> DifferenceScale:
    """Return the scale for the stored display window; moving the window on a page does not change it."""
    low, high = (float(v) for v in window)
    return DifferenceScale(SHARE * max(high - low, 1e-9))


def difference_words(change: NDArray[Any], scale: DifferenceScale) -> str:
    """Describe a change that does not fit the scale: zero, beyond it or far below it; else empty."""
    size = np.abs(change)
    most = float(size.max(initial=0.0))
    if most == 0:
        return "nothing changed"
    if most > scale.value:
        share = float((size > scale.value).mean())
        return f"{_percent(share)} of the pixels change by more, up to {most:.3g}"
    if most < FAINT * scale.value:
        return f"the change is far below full colour: at most {most:.3g}"
    return ""


def half_share(change: NDArray[Any]) -> float:
    """Return the smallest share of pixels or voxels that holds half of a change (*S); 0 without a change."""
    sizes = np.sort(np.abs(change).ravel().astype(float))[::-1]
    total = sizes.cumsum()
    if not sizes.size or total[-1] == 0:
        return 0.0
    return float(np.searchsorted(total, total[-1] / 2) + 1) / sizes.size


def outline(change: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the edge pixels of the strongest tenth of a change (H, W); none where nothing changed, or where so
    much changed alike that there is no strongest tenth."""
    size = np.abs(change)
    alike = 1e-4 * size.max(initial=0.0)  # what interpolation alone makes of equal values
    inside = (size >= np.quantile(size, 1 - OUTLINED) - alike) & (size > 0)
    if inside.mean() > 1.5 * OUTLINED:
        return np.zeros(size.shape, dtype=bool)
    around = np.pad(inside, 1)
    kept = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return inside & ~kept


def difference_picture(
    before: NDArray[Any], after: NDArray[Any], *, window: Sequence[float], side: int, line: int = 1
) -> tuple[NDArray[np.uint8], bool]:
    """Return the change from one picture (C, H, W) to another, over the darkened first one and at least `side`
    pixels long, with the outline of its strongest tenth in lines of `line` pixels; and whether there is one."""
    low, high = (float(v) for v in window)
    first, second = enlarged(before, side), enlarged(after, side)
    change = (second - first).mean(axis=0)
    base = (grey(first, (low, high)) * DARK).astype(np.uint8)
    picture = signed_overlay(base, change, difference_scale(window).value, strength=STRONG)
    edge = outline(change)
    for _ in range(line - 1):
        edge = thicker(edge)
    picture[edge] = LINE
    return picture, bool(edge.any())


def thicker(line: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return lines that are a pixel wider."""
    found = line.copy()
    found[1:] |= line[:-1]
    found[:, 1:] |= found[:, :-1]
    return found


def enlarged(values: NDArray[Any], side: int) -> NDArray[np.float32]:
    """Return planes (C, H, W) by a whole factor, interpolated, so that the longer side is at least `side`."""
    height, width = values.shape[-2:]
    by = max(1, -(-side // max(height, width)))
    planes = [Picture.fromarray(np.asarray(plane, dtype=np.float32)) for plane in values]
    size = (width * by, height * by)
    return np.stack([np.asarray(p.resize(size, Picture.Resampling.BILINEAR), np.float32) for p in planes])


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "under 1 %"
