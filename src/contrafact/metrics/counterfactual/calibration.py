from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.counterfactual_context import CounterfactualContext, slope


@METRICS.register("calibration-gap", aliases=("calibration",))
@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationGap:
    """Measure how far the achieved change of the output deviates from the requested change.

    gives   |slope - 1| of `calibration_slope`; 0: every achieved change equals the requested one
    cost    one forward pass per frame, shared
    raises  InputError for a single frame
    Source: calibration slope, Cox 1958. Differs: of requested and achieved changes; the distance from 1,
    because slopes of 0.5 and of 1.5 are both wrong.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "goal"
    by_construction: ClassVar[bool] = True

    def __call__(self, walked: CounterfactualContext) -> float:
        return abs(calibration_slope(walked) - 1)


def calibration_slope(walked: CounterfactualContext) -> float:
    """Return the achieved change per unit of requested change (least squares over the frames); ideally 1."""
    return slope(walked.strip.requested, walked.measured, "calibration-gap")
