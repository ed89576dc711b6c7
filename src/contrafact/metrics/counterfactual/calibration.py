from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.counterfactual_context import CounterfactualContext, slope


@METRICS.register("calibration-gap", aliases=("calibration",))
@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationGap:
    """Is a logit asked a logit measured?

    gives   |slope - 1|, the slope being `calibration_slope`; 0: exactly what was asked
    cost    one forward pass per frame, shared
    raises  InputError for a strip of one frame
    Source: calibration slope, Cox 1958. Differs: of steps asked and changes measured, and the distance from
    1, since both a slope of 0.5 and one of 1.5 are off.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "goal"
    by_construction: ClassVar[bool] = True

    def __call__(self, walked: CounterfactualContext) -> float:
        return abs(calibration_slope(walked) - 1)


def calibration_slope(walked: CounterfactualContext) -> float:
    """Units of score measured for one that was asked (least squares over the frames); 1 is right."""
    return slope(walked.strip.steps, walked.measured, "calibration-gap")
