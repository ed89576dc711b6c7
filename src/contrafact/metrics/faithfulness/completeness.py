from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("completeness")
@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """Measure the difference between the sum of the map and the output's change from an empty image.

    fill    the empty image: the baseline of the method
    gives   (M,) |sum of the map - (f(image) - f(empty))|, in units of the target; 0: complete. Only for methods
            that guarantee it. It tests amounts, not locations: a map with permuted voxels has the same value
    cost    2 forward passes for all maps together, shared with deletion and other removal metrics
    Source: Sundararajan et al. 2017 (arXiv 1703.01365), sec. 3, proposition 1. Differs: the difference
    instead of yes or no; not divided by the change of f, which may be small.
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "amounts"
    finds_truth: ClassVar[bool] = False
    fill: str | float = "min"

    def __call__(self, panel: HeatmapContext) -> Values:
        change = panel.whole - panel.score_empty(self.fill)
        gaps: Values = np.abs(panel.maps.reshape(len(panel.maps), -1).sum(axis=1) - change)
        return gaps
