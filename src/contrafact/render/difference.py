"""Difference pictures: one fixed scale for all, with its description."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHARE = 0.25  # share of the display window that is full colour
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


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "under 1 %"
