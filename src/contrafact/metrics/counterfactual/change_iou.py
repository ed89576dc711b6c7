from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS, InputError
from contrafact.metrics.counterfactual_context import CounterfactualContext, needed


@METRICS.register("change-iou")
@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeIoU:
    """Measure the overlap (intersection over union) of the planted cause with the most changed voxels.

    gives   0 to 1, for the mask and an equal number of most changed voxels
    raises  InputError without a mask, or for a counterfactual that changes nothing
    Source: IoU at matched area, as for heatmaps. Differs: of the change between frames.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "planted cause"

    def __call__(self, walked: CounterfactualContext) -> float:
        mask = needed(walked.mask, "change-iou", "a mask of the cause").ravel()
        gap = walked.changed().ravel()
        if not gap.any():
            raise InputError(
                "change-iou needs a counterfactual that changes the image; the last frame is the image itself"
            )
        top = np.zeros(gap.size, dtype=bool)
        top[np.lexsort((walked.rng("ties").permutation(gap.size), -gap))[: int(mask.sum())]] = True
        return float((top & mask).sum() / (top | mask).sum())
