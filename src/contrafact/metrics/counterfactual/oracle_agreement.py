from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS, InputError
from contrafact.metrics.counterfactual_context import CounterfactualContext, needed


@METRICS.register("oracle-agreement")
@dataclass(frozen=True, slots=True, kw_only=True)
class OracleAgreement:
    """Does a second classifier, trained without the first, see the change too?

    gives   1 where it decides as the model does of the last frame, 0 where not: that change is adversarial,
            not semantic (`verdict`); the mean over strips is the share that is confirmed
    cost    1 forward pass of the oracle, and what validity costs
    raises  InputError without an oracle, or where the model itself did not change its mind
    Source: oracle score, Hvilshøj et al. 2021 (arXiv 2111.00177). Differs: only of strips that flipped.

    at      the score where both decide
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "second model"
    yes_or_no: ClassVar[bool] = True
    at: float = 0.0

    def __call__(self, walked: CounterfactualContext) -> float:
        oracle = needed(walked.oracle, "oracle-agreement", "a second classifier (`oracle`)")
        final = walked.measured[walked.end] > self.at
        if final == (walked.whole > self.at):
            raise InputError("oracle-agreement needs a strip on which the model changed its mind")
        return float((walked.answers("oracle", oracle)[walked.end] > self.at) == final)


def verdict(walked: CounterfactualContext, *, at: float = 0.0) -> str:
    """What a change is: "semantic" (an independent classifier confirms it), "adversarial" (it does not),
    or "none" (the model did not change its mind).

    raises  InputError without an oracle
    """
    needed(walked.oracle, "the verdict", "a second classifier (`oracle`)")
    if (walked.measured[walked.end] > at) == (walked.whole > at):
        return "none"
    return "semantic" if OracleAgreement(at=at)(walked) else "adversarial"
