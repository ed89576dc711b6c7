from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from contrafact.core import METRICS, InputError, UnsupportedError
from contrafact.metrics.heatmap_context import HeatmapContext, Values
from contrafact.metrics.similarity import spearman


@METRICS.register("random-logit")
@dataclass(frozen=True, slots=True, kw_only=True)
class RandomLogit:
    """Ask for another class: does the map notice?

    gives   (M,) mean rank correlation with the maps of other classes, chosen at random; 1: the map does not
            depend on what is asked, -1: it says the opposite, as it must for one of two exclusive classes
    cost    up to `others` explanations per map, and one forward pass
    raises  InputError for a model with one output; UnsupportedError for a target that names no output
    Source: Sixt et al. 2020 (arXiv 1912.09818), sec. 4.2. Differs: signed; of a segmenter the place stays and
    the class is another.

    others  classes that are asked for instead, at most
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "randomisation"
    finds_truth: ClassVar[bool] = False
    others: int = 3

    def __post_init__(self) -> None:
        if self.others < 1:
            raise InputError(f"expected at least 1 other class; got {self.others}")

    def __call__(self, panel: HeatmapContext) -> Values:
        with torch.no_grad():
            count = panel.question.predictor(panel.image[None]).shape[1]
        panel.passes += 1
        targets = other_targets(panel.question.target, count)
        order = panel.rng("random-logit").permutation(len(targets))[: self.others]

        def one(which: int) -> float:
            found = [panel.again(which, target=targets[i])[0] for i in order]
            return float(
                np.mean([spearman(panel.maps[which], other, panel.question.region) for other in found])
            )

        return panel.each(one)


def other_targets(target: Any, count: int) -> list[Any]:
    """The same question about every other of `count` outputs."""
    place = getattr(target, "target", None)  # of a segmenter: a class, at a place that was found
    named = target if place is None else place
    index = getattr(named, "index", None)
    if index is None or not dataclasses.is_dataclass(named):
        raise UnsupportedError(
            f"target {target} names no output; random-logit needs class:K, value:K or region:K"
        )
    left = [k for k in range(count) if k not in (index, getattr(named, "against", None))]
    if not left:
        raise InputError(
            f"random-logit asks for another output; expected a model with more than target {target} uses; "
            f"got {count}"
        )
    others = [dataclasses.replace(named, index=k) for k in left]  # type: ignore[type-var]
    return others if place is None else [dataclasses.replace(target, target=other) for other in others]
