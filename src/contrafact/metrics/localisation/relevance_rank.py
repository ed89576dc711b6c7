from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("relevance-rank", aliases=("dice",))
@dataclass(frozen=True, slots=True, kw_only=True)
class RelevanceRank:
    """Measure the share of the map's highest voxels that lie in the mask, for as many voxels as it has.

    gives   (M,) 0 to 1, equal to the Dice coefficient at equal areas
    cost    no forward pass
    raises  InputError without a mask
    Source: Arras et al. 2022 (arXiv 2003.07258), sec. 3.3. Differs: equal values are ranked in random order.
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "place"

    def __call__(self, panel: HeatmapContext) -> Values:
        inside = panel.truth("relevance-rank").ravel()
        shares: Values = (panel.ranks()[:, inside] < inside.sum()).mean(axis=1)
        return shares
