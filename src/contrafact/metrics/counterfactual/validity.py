from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.counterfactual_context import CounterfactualContext, needed


@METRICS.register("validity")
@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """Does the model, asked again about the last frame, say what was looked for?

    gives   1 where the goal is reached or passed, 0 where not; the mean over strips is the share
    cost    1 forward pass for the image and one per frame, shared
    raises  InputError for a strip that was walked without a goal, unless `at` is given
    Source: flip rate, Mothilal et al. 2020 (arXiv 1905.07697), sec. 4. Differs: on the frame as it is shown,
    with what the generator cannot draw carried over; the goal may lie beyond the decision.

    at      a score that the answer must cross (0 for a class: its decision); None: the strip's goal
    slack   score units by which a goal may be missed
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
        goal = needed(walked.strip.goal, "validity", "a strip that was walked to a goal, or `at`")
        if walked.strip.stopped == "already":
            return 1.0
        missing = goal - final if goal >= whole else final - goal
        return float(missing <= self.slack)
