from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS
from contrafact.metrics.counterfactual_context import CounterfactualContext


@METRICS.register("sign-changes")
@dataclass(frozen=True, slots=True, kw_only=True)
class SignChanges:
    """How often does the model change its mind along the strip?

    gives   a count; a good strip has at most one: there, and not back
    cost    one forward pass per frame, shared
    Source: design of this package, after the sliders of Schutte et al. 2021 (arXiv 2101.07563).
    Differs: counted instead of shown.

    at      the score where the decision changes
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "goal"
    by_construction: ClassVar[bool] = True
    at: float = 0.0

    def __call__(self, walked: CounterfactualContext) -> float:
        return float(np.count_nonzero(np.diff(walked.measured > self.at)))
