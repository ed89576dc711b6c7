"""Difference pictures: one fixed scale for all, with its description."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

SHARE = 0.25  # share of the display window that is full colour
OUTLINED = 0.1  # share of the pixels inside the outline
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
    inside = (size >= np.quantile(size, 1 - OUTLINED)) & (size > 0)
    if inside.mean() > 1.5 * OUTLINED:
        return np.zeros(size.shape, dtype=bool)
    around = np.pad(inside, 1)
    kept = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return inside & ~kept


def enlarged(values: NDArray[Any], side: int) -> NDArray[np.float32]:
    """Return planes (C, H, W) by a whole factor, interpolated, so that the longer side is at least `side`."""
    height, width = values.shape[-2:]
    by = max(1, -(-side // max(height, width)))
    planes = [Picture.fromarray(np.asarray(plane, dtype=np.float32)) for plane in values]
    size = (width * by, height * by)
    return np.stack([np.asarray(p.resize(size, Picture.Resampling.BILINEAR), np.float32) for p in planes])


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "under 1 %"
