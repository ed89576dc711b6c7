from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.counterfactual_context import CounterfactualContext, needed


@METRICS.register("validity")
@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """Check whether the model's output for the counterfactual reaches the goal.

    gives   1 if the goal is reached or passed, 0 if not; the mean over counterfactuals is the valid share
    cost    1 forward pass for the image and one per frame, shared
    raises  InputError for a counterfactual without a goal, unless `at` is set
    Source: flip rate, Mothilal et al. 2020 (arXiv 1905.07697), sec. 4. Differs: on the frame as shown, with
    the reconstruction residual added back; the goal may lie beyond the decision threshold.

    at      a score that the output must cross (0 for a class: its decision threshold); None: the goal of the
            counterfactual
    slack   accepted distance from the goal, in score units
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "goal"
    yes_or_no: ClassVar[bool] = True
    at: float | None = None
    slack: float = 1e-3

    def __call__(self, walked: CounterfactualContext) -> float:
        final, whole = float(walked.measured[walked.end]), walked.whole
        if self.at is not None:
            return float((final > self.at) != (whole > self.at))
        goal = needed(walked.strip.goal, "validity", "a counterfactual with a goal, or `at`")
        if walked.strip.outcome == "already":
            return 1.0
        missing = goal - final if goal >= whole else final - goal
        return float(missing <= self.slack)
