from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS, InputError
from contrafact.metrics.counterfactual_context import CounterfactualContext, needed


@METRICS.register("random-direction")
@dataclass(frozen=True, slots=True, kw_only=True)
class RandomDirection:
    """Measure how much random changes of the same latent distance affect the output, in comparison.

    gives   mean |change of score| along random directions over the same latent distance, as a share of the
            counterfactual's own change; 1: the direction has no specific effect. A weak control, because random
            directions hardly affect a model: an adversarial change passes as well (use `adversarial-null`)
    cost    `samples` times the frames of a control
    raises  InputError without `control`, or for a counterfactual that does not change the score
    Source: sanity checks, Adebayo et al. 2018 (arXiv 1810.03292), the idea. Differs: of directions in latent
    space, not of weights.

    samples  random directions
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "goal"
    samples: int = 4

    def __call__(self, walked: CounterfactualContext) -> float:
        control = needed(walked.control, "random-direction", "changes along random directions (`control`)")
        own = abs(float(walked.measured[walked.end] - walked.measured[walked.strip.origin]))
        if own < 1e-3:
            raise InputError("random-direction needs a counterfactual that changes the score; it does not")
        rng, length = walked.rng("control"), float(walked.strip.latent_distance[walked.end])
        rows = [control(length, rng) for _ in range(self.samples)]
        ends = walked.score(np.stack([frame for row in rows for frame in (row[0], row[-1])]))
        return float(np.abs(ends[1::2] - ends[::2]).mean() / own)
