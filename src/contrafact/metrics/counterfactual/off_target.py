from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS
from contrafact.metrics.counterfactual_context import CounterfactualContext, needed, slope


@METRICS.register("off-target", aliases=("alignment",))
@dataclass(frozen=True, slots=True, kw_only=True)
class OffTarget:
    """What else changes: do other classifiers answer to the strip as well?

    gives   mean over the others of |units of their score for one unit of the target's|, along the frames
    cost    one forward pass of every other per frame
    raises  InputError without others, or where the target itself does not change
    Source: counterfactual alignment, Cohen et al. 2023 (arXiv 2312.02186). Differs: the slope over all
    frames in place of the relative change of the last; its sign is in `alignment`.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "side effects"

    def __call__(self, walked: CounterfactualContext) -> float:
        others = needed(walked.others, "off-target", "other classifiers (`others`)")
        return float(np.mean([abs(alignment(walked, name)) for name in others]))


def alignment(walked: CounterfactualContext, name: str) -> float:
    """Units of another's score for one unit of the target's along the strip; 0: it does not answer."""
    return slope(walked.measured, walked.answers(name, walked.others[name]), "off-target")
