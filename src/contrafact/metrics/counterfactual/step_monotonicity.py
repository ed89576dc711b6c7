from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS, InputError
from contrafact.metrics.counterfactual_context import CounterfactualContext


@METRICS.register("step-monotonicity")
@dataclass(frozen=True, slots=True, kw_only=True)
class StepMonotonicity:
    """Measure whether the output changes in the requested direction with every frame.

    gives   Spearman's correlation of requested changes and scores; 1: always
    cost    one forward pass per frame, shared
    raises  InputError for fewer than three frames, or a model whose output does not change
    Source: Spearman 1904, by SciPy. Differs: none; no published counterfactual reports it.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "goal"
    by_construction: ClassVar[bool] = True

    def __call__(self, walked: CounterfactualContext) -> float:
        from scipy.stats import spearmanr  # slow to import

        steps, scores = walked.strip.requested, walked.measured
        if len(steps) < 3:
            raise InputError(f"step-monotonicity needs at least 3 frames; got {len(steps)}")
        if np.ptp(scores) == 0:
            raise InputError("step-monotonicity needs an output that changes; every frame has the same score")
        return float(spearmanr(steps, scores).statistic)
