from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS, InputError
from contrafact.metrics.counterfactual_context import CounterfactualContext, needed


@METRICS.register("factor-correlation")
@dataclass(frozen=True, slots=True, kw_only=True)
class FactorCorrelation:
    """Measure, on a phantom, how closely the planted cause follows the requested changes.

    gives   |Pearson's correlation| of the requested changes and the size of the cause, measured in the frames;
            0 if the size is the same in every frame
    raises  InputError without factors, or for fewer than three frames
    Source: design of this package. Differs: no published counterfactual reports it.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "planted cause"

    def __call__(self, walked: CounterfactualContext) -> float:
        needed(walked.factors, "factor-correlation", "planted factors (`factors`)")
        sizes, steps = walked.read(walked.cause), walked.strip.requested
        if len(steps) < 3:
            raise InputError(f"factor-correlation needs at least 3 frames; got {len(steps)}")
        if np.ptp(sizes) == 0:
            return 0.0
        return abs(float(np.corrcoef(steps, sizes)[0, 1]))
