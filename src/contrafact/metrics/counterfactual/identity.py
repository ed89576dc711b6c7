from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from scipy import ndimage

from contrafact.core import METRICS, InputError
from contrafact.metrics.counterfactual_context import CounterfactualContext, needed


@METRICS.register("identity")
@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Measure how well the counterfactual preserves the image outside the finding.

    gives   mean structural similarity of the counterfactual and the image outside the mask; 1: identical
    raises  InputError without a mask, or for one that covers the whole image
    Source: Wang et al. 2004 (doi 10.1109/TIP.2003.819861), by scikit-image. Differs: outside the mask, dilated
    by `margin` voxels, because the edge of a finding changes with it.

    margin  voxels by which the mask is dilated
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "side effects"
    margin: int = 1

    def __call__(self, walked: CounterfactualContext) -> float:
        mask = needed(walked.mask, "identity", "a mask of the finding")
        if self.margin:
            mask = ndimage.binary_dilation(mask, iterations=self.margin)
        if mask.all():
            raise InputError("identity needs a mask that leaves a voxel; got a mask of the whole image")
        return float(walked.similarity(walked.goal)[~mask].mean())
