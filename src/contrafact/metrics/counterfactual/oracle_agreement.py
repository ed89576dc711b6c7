from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS, InputError
from contrafact.metrics.counterfactual_context import CounterfactualContext, needed


@METRICS.register("oracle-agreement")
@dataclass(frozen=True, slots=True, kw_only=True)
class OracleAgreement:
    """Check whether a second model makes the same prediction for the counterfactual.

    gives   1 if an independently trained second model agrees, 0 if not: the change is then adversarial, not
            semantic (`verdict`); the mean over counterfactuals is the confirmed share
    cost    1 forward pass of the second model, and the cost of validity
    raises  InputError without a second model, or if the prediction of the model itself does not flip
    Source: oracle score, Hvilshøj et al. 2021 (arXiv 2111.00177). Differs: only for predictions that flip.

    at      decision threshold of both models' scores
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "second model"
    yes_or_no: ClassVar[bool] = True
    at: float = 0.0

    def __call__(self, walked: CounterfactualContext) -> float:
        oracle = needed(walked.oracle, "oracle-agreement", "a second model (`oracle`)")
        final = walked.measured[walked.end] > self.at
        if final == (walked.whole > self.at):
            raise InputError("oracle-agreement needs a counterfactual whose prediction flips; it does not")
        return float((walked.answers("oracle", oracle)[walked.end] > self.at) == final)


def verdict(walked: CounterfactualContext, *, at: float = 0.0) -> str:
    """Return "semantic" if a second model confirms the flipped prediction, "adversarial" if it does not, or
    "none" if the prediction does not flip.

    raises  InputError without a second model
    """
    needed(walked.oracle, "the verdict", "a second model (`oracle`)")
    if (walked.measured[walked.end] > at) == (walked.whole > at):
        return "none"
    return "semantic" if OracleAgreement(at=at)(walked) else "adversarial"
