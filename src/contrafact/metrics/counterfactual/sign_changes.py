from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS
from contrafact.metrics.counterfactual_context import CounterfactualContext


@METRICS.register("sign-changes")
@dataclass(frozen=True, slots=True, kw_only=True)
class SignChanges:
    """Count how often the prediction flips from frame to frame.

    gives   number of flips; a good counterfactual has at most one
    cost    one forward pass per frame, shared
    Source: design of this package, after the sliders of Schutte et al. 2021 (arXiv 2101.07563).
    Differs: counted instead of shown.

    at      decision threshold of the score
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "goal"
    by_construction: ClassVar[bool] = True
    at: float = 0.0

    def __call__(self, walked: CounterfactualContext) -> float:
        return float(np.count_nonzero(np.diff(walked.measured > self.at)))
