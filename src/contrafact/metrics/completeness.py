from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS
from contrafact.metrics.panel import Panel, Values


@METRICS.register("completeness")
@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """Does a map add up to what the image changes in f? Only for methods that promise it.

    fill    the empty image that the method compares with: its baseline
    gives   (M,) |sum of the map - (f(image) - f(empty))|, as a share of |f(image) - f(empty)|; NaN where that
            is 0
    cost    2 forward passes for all maps together, shared with deletion and the like
    Source: Sundararajan et al. 2017 (arXiv 1703.01365), sec. 3, proposition 1. Differs: the gap, not yes or
    no.
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "lower"
    fill: str | float = "min"

    def __call__(self, panel: Panel) -> Values:
        change = panel.whole - panel.score_empty(self.fill)
        found: Values = np.abs(panel.maps.reshape(len(panel.maps), -1).sum(axis=1) - change)
        return found / abs(change) if change else np.full_like(found, np.nan)
