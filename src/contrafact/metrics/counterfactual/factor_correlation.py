from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS, InputError
from contrafact.metrics.counterfactual_context import CounterfactualContext, needed


@METRICS.register("factor-correlation")
@dataclass(frozen=True, slots=True, kw_only=True)
class FactorCorrelation:
    """On a phantom: does the planted cause move with the steps asked?

    gives   |Pearson's correlation| of the steps and the cause as a ruler reads it from the frames;
            0 where the ruler reads the same in every frame
    raises  InputError without factors, or for fewer than three frames
    Source: design of this package. Differs: no published counterfactual states it.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "planted cause"

    def __call__(self, walked: CounterfactualContext) -> float:
        needed(walked.factors, "factor-correlation", "planted factors and their rulers (`factors`)")
        sizes, steps = walked.read(walked.cause), walked.strip.steps
        if len(steps) < 3:
            raise InputError(f"factor-correlation needs a strip of at least 3 frames; got {len(steps)}")
        if np.ptp(sizes) == 0:
            return 0.0
        return abs(float(np.corrcoef(steps, sizes)[0, 1]))
