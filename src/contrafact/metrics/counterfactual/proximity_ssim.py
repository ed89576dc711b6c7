from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS, InputError
from contrafact.metrics.counterfactual_context import CounterfactualContext


@METRICS.register("proximity-ssim")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProximitySSIM:
    """Measure how well the counterfactual preserves the image outside the changed region.

    gives   mean structural similarity of the counterfactual and the image outside the changed region; 1:
            identical
    raises  InputError if every voxel changes
    Source: Wang et al. 2004 (doi 10.1109/TIP.2003.819861), by scikit-image. Differs: only outside the change.

    share   least change of a voxel in the changed region, as a share of the range
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "closeness"
    share: float = 0.05

    def __call__(self, walked: CounterfactualContext) -> float:
        kept = walked.changed() <= self.share
        if not kept.any():
            raise InputError(
                f"proximity-ssim needs a voxel that changes by at most {self.share:g} of the range; got none"
            )
        return float(walked.similarity(walked.goal)[kept].mean())
