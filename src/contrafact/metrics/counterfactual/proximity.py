from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.counterfactual_context import CounterfactualContext, distance


@METRICS.register("proximity")
@dataclass(frozen=True, slots=True, kw_only=True)
class Proximity:
    """Measure how much the counterfactual differs from the image, on average over the voxels.

    gives   mean absolute difference of the counterfactual and the image, as a share of the range
    Source: Wachter et al. 2017 (arXiv 1711.00399), L1. Differs: per voxel, so that image sizes are comparable.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "closeness"

    def __call__(self, walked: CounterfactualContext) -> float:
        return distance(walked, walked.goal)
