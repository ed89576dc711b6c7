from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.faithfulness.faithfulness_correlation import correlations
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("faithfulness-estimate")
@dataclass(frozen=True, slots=True, kw_only=True)
class FaithfulnessEstimate:
    """Measure how well the map's values predict the fall of the output when each part is hidden.

    gives   (M,) Pearson's correlation over all features, -1 to 1; NaN if f does not change
    cost    one forward pass per feature, `features` to the power of the axes, for all maps together
    raises  InputError for a `kind` other than "grid" or "slic"
    Source: Alvarez-Melis & Jaakkola 2018 (arXiv 1806.07538), sec. 4.1. Differs: a feature is a box or a
    supervoxel.

    features  boxes or supervoxels along each axis
    kind      "grid" (boxes) or "slic" (supervoxels)
    fill      content of hidden voxels: "mean", "min", "blur" or a number in image units
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "amounts"
    features: int = 8
    kind: str = "grid"
    fill: str | float = "mean"

    def __call__(self, panel: HeatmapContext) -> Values:
        return correlations(*panel.by_feature(fill=self.fill, features=self.features, kind=self.kind))
