from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS
from contrafact.metrics.counterfactual_context import CounterfactualContext, needed, slope


@METRICS.register("off-target", aliases=("alignment",))
@dataclass(frozen=True, slots=True, kw_only=True)
class OffTarget:
    """Measure how much the outputs of other classifiers change together with the target.

    gives   mean over the other classifiers of |change of their score per unit of the target|, over the frames
    cost    one forward pass of each other classifier per frame
    raises  InputError without other classifiers, or if the target does not change
    Source: counterfactual alignment, Cohen et al. 2023 (arXiv 2312.02186). Differs: the slope over all
    frames instead of the relative change of the last frame; `alignment` has its sign.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "side effects"

    def __call__(self, walked: CounterfactualContext) -> float:
        others = needed(walked.others, "off-target", "other classifiers (`others`)")
        return float(np.mean([abs(alignment(walked, name)) for name in others]))


def alignment(walked: CounterfactualContext, name: str) -> float:
    """Return the change of another classifier's score per unit of the target, over the frames; 0: no change."""
    return slope(walked.measured, walked.answers(name, walked.others[name]), "off-target")
