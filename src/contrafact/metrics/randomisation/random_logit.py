from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from contrafact.core import METRICS, InputError, UnsupportedError
from contrafact.core.target_kinds import as_named, class_of, compared_class
from contrafact.metrics.heatmap_context import HeatmapContext, Values
from contrafact.metrics.similarity import spearman


@METRICS.register("random-logit")
@dataclass(frozen=True, slots=True, kw_only=True)
class RandomLogit:
    """Measure how similar the map is to the maps of other classes for the same image.

    gives   (M,) mean rank correlation with the maps of other classes, chosen at random; 1: the map does not
            depend on the class, -1: it is the opposite, as expected for two exclusive classes
    cost    up to `others` explanations per map, and one forward pass
    raises  InputError for a model with one output; UnsupportedError for a target that names no output
    Source: Sixt et al. 2020 (arXiv 1912.09818), sec. 4.2. Differs: signed; for a segmenter the region stays
    the same and the class changes.

    others  greatest number of other classes
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

        def correlation(which: int) -> float:
            maps = [panel.again(which, target=targets[i])[0] for i in order]
            return float(np.mean([spearman(panel.maps[which], other, panel.question.region) for other in maps]))

        return panel.each(correlation)


def other_targets(target: Any, count: int) -> list[Any]:
    """Return the target for each other of `count` outputs.

    raises  UnsupportedError for a target that names no output; InputError if there is no other output
    """
    named = as_named(target)  # of a segmenter: a class, in a region that stays the same
    index = class_of(target)
    if index is None or not dataclasses.is_dataclass(named):
        raise UnsupportedError(
            f"target {target} names no output; random-logit needs class:K, value:K or region:K"
        )
    left = [k for k in range(count) if k not in (index, compared_class(target))]
    if not left:
        raise InputError(
            f"random-logit needs another output; expected a model with more outputs than target {target} uses; "
            f"got {count}"
        )
    others = [dataclasses.replace(named, index=k) for k in left]
    return others if named is target else [dataclasses.replace(target, target=other) for other in others]
