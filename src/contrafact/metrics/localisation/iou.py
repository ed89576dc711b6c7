from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("iou")
@dataclass(frozen=True, slots=True, kw_only=True)
class IoU:
    """Overlap of the mask with as many top voxels of the map, over their union.

    gives   (M,) 0 to 1: d / (2 - d) of Dice's overlap d
    cost    no forward pass
    raises  InputError without a mask
    Source: Jaccard 1912. Differs: the map is cut where its area is the mask's, so that no threshold is
    chosen.
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "place"

    def __call__(self, panel: HeatmapContext) -> Values:
        inside = panel.truth("iou").ravel()
        count = int(inside.sum())
        both = (panel.ranks()[:, inside] < count).sum(axis=1)
        found: Values = both / (2 * count - both)
        return found
