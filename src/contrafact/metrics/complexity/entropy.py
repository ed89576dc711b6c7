from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from scipy.special import entr

from contrafact.core import METRICS
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("complexity")
@dataclass(frozen=True, slots=True, kw_only=True)
class Complexity:
    """Measure how widely the map's absolute values spread over the voxels, by their entropy.

    gives   (M,) nats: 0 for a single voxel, log(voxels) for a constant map
    cost    no forward pass
    Source: Bhatt et al. 2020 (arXiv 2005.00631), sec. 3.3. Differs: nothing.
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "shape"
    finds_truth: ClassVar[bool] = False

    def __call__(self, panel: HeatmapContext) -> Values:
        entropies: Values = entr(panel.mass()).sum(axis=1)
        return entropies
