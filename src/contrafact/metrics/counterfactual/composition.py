from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.counterfactual_context import CounterfactualContext, distance


@METRICS.register("composition")
@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """Measure how much the method changes the image when the requested score is the image's own.

    gives   mean absolute difference of the new counterfactual and the image, as a share of the range
    cost    one explanation
    raises  InputError without `again`
    Source: Monteiro et al. 2023 (arXiv 2303.01274), null intervention. Differs: a single application, L1.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "closeness"
    by_construction: ClassVar[bool] = True

    def __call__(self, walked: CounterfactualContext) -> float:
        return distance(walked, walked.walk(walked.start, walked.whole, metric="composition"))
