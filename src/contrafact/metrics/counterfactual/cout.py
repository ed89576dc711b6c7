from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import expit

from contrafact.core import METRICS, InputError
from contrafact.core.target_kinds import OddsTarget
from contrafact.metrics.counterfactual_context import CounterfactualContext, Values


@METRICS.register("cout")
@dataclass(frozen=True, slots=True, kw_only=True)
class COUT:
    """Measure how early the prediction changes when the most changed voxels are pasted into the image.

    gives   area under p(goal) minus area under p(source), in [-1, 1]; 1: the first voxels suffice
    cost    `steps` + 1 forward passes
    raises  InputError for a target without probabilities, or a counterfactual that changes nothing
    Source: Khorram & Fuxin 2022 (arXiv 2203.15064). Differs: the source is "not the goal", so that
    p(source) = 1 - p(goal); the goal is the class if the score rises, and its opposite if it falls.

    steps  parts of the voxels, pasted one after the other
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "goal"
    steps: int = 50

    def __call__(self, walked: CounterfactualContext) -> float:
        gap = walked.changed().ravel()
        if not gap.any():
            raise InputError(
                "cout needs a counterfactual that changes the image; the last frame is the image itself"
            )
        chance = walked.rng("ties").permutation(gap.size)
        ranks = np.empty(gap.size, dtype=np.int64)
        ranks[np.lexsort((chance, -gap))] = np.arange(gap.size)
        cuts = np.round(np.linspace(0, gap.size, self.steps + 1))
        size = walked.start.shape[1:]
        pasted = [np.where((ranks < cut).reshape(size), walked.goal, walked.start) for cut in cuts]
        p = probabilities(walked, walked.score(np.stack(pasted)))
        p = p if walked.measured[walked.end] >= walked.whole else 1 - p
        # Trapezium rule for p - (1 - p).
        return float((p[1:] + p[:-1] - 1).mean())


def probabilities(walked: CounterfactualContext, scores: Values) -> Values:
    """Return probabilities for scores that are log-odds, or already probabilities.

    raises  InputError for any other target
    """
    target = walked.question.target
    if isinstance(target, OddsTarget):
        return np.asarray(expit(scores))
    if str(target).startswith("probability:"):
        return scores
    raise InputError(f"cout needs a target with probabilities (class:K, margin:A,B); got {target}")
