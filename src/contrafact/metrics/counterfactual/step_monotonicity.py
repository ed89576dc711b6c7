from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.stats import spearmanr

from contrafact.core import METRICS, InputError
from contrafact.metrics.counterfactual_context import CounterfactualContext


@METRICS.register("step-monotonicity")
@dataclass(frozen=True, slots=True, kw_only=True)
class StepMonotonicity:
    """Does every step take the model further the same way?

    gives   Spearman's correlation of the steps asked and the scores measured; 1: always
    cost    one forward pass per frame, shared
    raises  InputError for fewer than three frames, or a model that does not answer
    Source: Spearman 1904, by SciPy. Differs: none; no published counterfactual states it.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "goal"
    by_construction: ClassVar[bool] = True

    def __call__(self, walked: CounterfactualContext) -> float:
        steps, scores = walked.strip.steps, walked.measured
        if len(steps) < 3:
            raise InputError(f"monotonicity needs a strip of at least 3 frames; got {len(steps)}")
        if np.ptp(scores) == 0:
            raise InputError("monotonicity needs a model that answers; it says the same of every frame")
        return float(spearmanr(steps, scores).statistic)
