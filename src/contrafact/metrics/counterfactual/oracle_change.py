from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.counterfactual_context import CounterfactualContext, needed, slope


@METRICS.register("oracle-change")
@dataclass(frozen=True, slots=True, kw_only=True)
class OracleChange:
    """How much of the change does a second classifier see?

    gives   units of the oracle's score for one unit of the model's, along the frames; 0: none
    cost    one forward pass of the oracle per frame, shared with oracle-agreement
    raises  InputError without an oracle, or where the model does not answer
    Source: counterfactual alignment, Cohen et al. 2023 (arXiv 2312.02186). Differs: with a classifier of the
    same question, where following is right.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "second model"

    def __call__(self, walked: CounterfactualContext) -> float:
        oracle = needed(walked.oracle, "oracle-change", "a second classifier (`oracle`)")
        return slope(walked.measured, walked.answers("oracle", oracle), "oracle-change")
