from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("relevance-rank", aliases=("dice",))
@dataclass(frozen=True, slots=True, kw_only=True)
class RelevanceRank:
    """Of as many top voxels as the mask has, how many lie in it: Dice's overlap at matched area.

    gives   (M,) 0 to 1
    cost    no forward pass
    raises  InputError without a mask
    Source: Arras et al. 2022 (arXiv 2003.07258), sec. 3.3. Differs: equal voxels come in random order. With
    both areas equal, twice the overlap over the sum of areas (Dice) is the same number.
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "place"

    def __call__(self, panel: HeatmapContext) -> Values:
        inside = panel.truth("relevance-rank").ravel()
        found: Values = (panel.ranks()[:, inside] < inside.sum()).mean(axis=1)
        return found
