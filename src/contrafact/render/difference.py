"""Pictures of what changed: one fixed scale for all of them, said in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHARE = 0.25  # of the display window: full colour
FAINT = 0.1  # of the scale: a change that stays below is hardly seen


@dataclass(frozen=True, slots=True)
class DifferenceScale:
    """Full colour in units of the image: a quarter of the image's display window."""

    value: float

    @property
    def words(self) -> str:
        return f"full colour: ±{self.value:.3g}, {100 * SHARE:.0f} % of the display window"


def difference_scale(window: Sequence[float]) -> DifferenceScale:
    """The scale of an image with this display window; it does not follow a window that a reader moves."""
    low, high = (float(v) for v in window)
    return DifferenceScale(SHARE * max(high - low, 1e-9))


def difference_words(change: NDArray[Any], scale: DifferenceScale) -> str:
    """What of a change the scale does not show well: none, beyond it, far below it; empty where it fits."""
    size = np.abs(change)
    most = float(size.max(initial=0.0))
    if most == 0:
        return "nothing changed"
    if most > scale.value:
        share = float((size > scale.value).mean())
        return f"{_percent(share)} of the pixels change by more, up to {most:.3g}"
    if most < FAINT * scale.value:
        return f"the change stays far below: at most {most:.3g}, so hardly any colour shows"
    return ""


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "under 1 %"
