from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.counterfactual_context import CounterfactualContext, distance


@METRICS.register("composition")
@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """Asked for the score that the image has already, does the method leave it alone?

    gives   mean absolute difference of what comes back and the image, as a share of the range
    cost    one explanation
    raises  InputError without `again`
    Source: Monteiro et al. 2023 (arXiv 2303.01274), null intervention. Differs: once, as L1.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "closeness"
    by_construction: ClassVar[bool] = True

    def __call__(self, walked: CounterfactualContext) -> float:
        return distance(walked, walked.walk(walked.start, walked.whole, metric="composition"))
