from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS, InputError
from contrafact.metrics.counterfactual_context import CounterfactualContext, needed


@METRICS.register("random-direction")
@dataclass(frozen=True, slots=True, kw_only=True)
class RandomDirection:
    """Would any change of that length have done? A weak control: hardly any random direction moves a model, so
    a change that only fools it passes as well. The null is `adversarial-null`.

    gives   mean |change of score| of random directions as long as the strip's, as a share of the strip's own
            change; 1: the direction says nothing
    cost    `samples` times the frames of a control
    raises  InputError without `control`, or for a strip that changes nothing
    Source: sanity checks, Adebayo et al. 2018 (arXiv 1810.03292), the idea. Differs: of directions in latent
    space, not of weights.

    samples  random directions
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "goal"
    samples: int = 4

    def __call__(self, walked: CounterfactualContext) -> float:
        control = needed(walked.control, "random-direction", "a random direction to walk (`control`)")
        own = abs(float(walked.measured[walked.end] - walked.measured[walked.strip.origin]))
        if own < 1e-3:
            raise InputError("random-direction needs a strip that changes the score; this one does not")
        rng, length = walked.rng("control"), float(walked.strip.lengths[walked.end])
        rows = [control(length, rng) for _ in range(self.samples)]
        ends = walked.score(np.stack([frame for row in rows for frame in (row[0], row[-1])]))
        return float(np.abs(ends[1::2] - ends[::2]).mean() / own)
