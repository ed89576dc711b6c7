from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.counterfactual_context import CounterfactualContext, needed, slope


@METRICS.register("oracle-change")
@dataclass(frozen=True, slots=True, kw_only=True)
class OracleChange:
    """Measure how much the output of a second model follows the change of the first model's output.

    gives   change of the second model's score per unit of the first model's, over the frames; 0: no change
    cost    one forward pass of the second model per frame, shared with oracle-agreement
    raises  InputError without a second model, or if the first model's output does not change
    Source: counterfactual alignment, Cohen et al. 2023 (arXiv 2312.02186). Differs: the second model predicts
    the same class, so that a high value is desired.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "second model"

    def __call__(self, walked: CounterfactualContext) -> float:
        oracle = needed(walked.oracle, "oracle-change", "a second model (`oracle`)")
        return slope(walked.measured, walked.answers("oracle", oracle), "oracle-change")
