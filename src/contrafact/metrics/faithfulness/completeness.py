from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("completeness")
@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """Does a map add up to what the image changes in f? Only for methods that promise it.

    fill    the empty image that the method compares with: its baseline
    gives   (M,) |sum of the map - (f(image) - f(empty))|, in units of the target; 0: all is accounted for. It
            sees amounts, not places: a map whose voxels change places scores the same
    cost    2 forward passes for all maps together, shared with deletion and the like
    Source: Sundararajan et al. 2017 (arXiv 1703.01365), sec. 3, proposition 1. Differs: the gap, not yes or
    no; never divided by the change, which may be small.
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "amounts"
    finds_truth: ClassVar[bool] = False
    fill: str | float = "min"

    def __call__(self, panel: HeatmapContext) -> Values:
        change = panel.whole - panel.score_empty(self.fill)
        found: Values = np.abs(panel.maps.reshape(len(panel.maps), -1).sum(axis=1) - change)
        return found
