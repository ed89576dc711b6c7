from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.counterfactual_context import CounterfactualContext, distance


@METRICS.register("reversibility")
@dataclass(frozen=True, slots=True, kw_only=True)
class Reversibility:
    """Walk from the last frame back to the first score: is it the image again?

    gives   mean absolute difference of what comes back and the image, as a share of the range
    cost    one explanation
    raises  InputError without `again`
    Source: Monteiro et al. 2023 (arXiv 2303.01274). Differs: once there and back, as L1.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "side effects"

    def __call__(self, walked: CounterfactualContext) -> float:
        return distance(walked, walked.walk(walked.goal, walked.whole, metric="reversibility"))
