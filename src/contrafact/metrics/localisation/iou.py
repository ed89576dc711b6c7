from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("iou")
@dataclass(frozen=True, slots=True, kw_only=True)
class IoU:
    """Measure the overlap (intersection over union) of the mask with the map's highest voxels.

    gives   (M,) 0 to 1: d / (2 - d) for a Dice coefficient d
    cost    no forward pass
    raises  InputError without a mask
    Source: Jaccard 1912. Differs: uses as many highest voxels as the mask has, so that no threshold is needed.
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "place"

    def __call__(self, panel: HeatmapContext) -> Values:
        inside = panel.truth("iou").ravel()
        count = int(inside.sum())
        both = (panel.ranks()[:, inside] < count).sum(axis=1)
        ratios: Values = both / (2 * count - both)
        return ratios
