from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS, InputError
from contrafact.metrics.counterfactual_context import CounterfactualContext


@METRICS.register("proximity-ssim")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProximitySSIM:
    """Is the image as it was, away from the place that changed?

    gives   mean structural similarity of the last frame and the image over the other voxels; 1: the same
    raises  InputError where every voxel changed
    Source: Wang et al. 2004 (doi 10.1109/TIP.2003.819861), by scikit-image. Differs: only outside the change.

    share   of the range by which a voxel of the changed place differs
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "closeness"
    share: float = 0.05

    def __call__(self, walked: CounterfactualContext) -> float:
        kept = walked.changed() <= self.share
        if not kept.any():
            raise InputError(
                f"proximity-ssim needs a voxel that kept its value within {self.share:g}; got none"
            )
        return float(walked.similarity(walked.goal)[kept].mean())
