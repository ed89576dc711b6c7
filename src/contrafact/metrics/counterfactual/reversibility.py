from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.counterfactual_context import CounterfactualContext, distance


@METRICS.register("reversibility")
@dataclass(frozen=True, slots=True, kw_only=True)
class Reversibility:
    """Measure how well a counterfactual back to the original score restores the image.

    gives   mean absolute difference of the restored image and the original, as a share of the range
    cost    one explanation
    raises  InputError without `again`
    Source: Monteiro et al. 2023 (arXiv 2303.01274). Differs: a single round trip, L1.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "side effects"

    def __call__(self, walked: CounterfactualContext) -> float:
        return distance(walked, walked.walk(walked.goal, walked.whole, metric="reversibility"))
