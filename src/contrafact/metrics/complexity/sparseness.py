from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("sparseness")
@dataclass(frozen=True, slots=True, kw_only=True)
class Sparseness:
    """Measure how strongly the map's absolute values concentrate on few voxels, by the Gini index.

    gives   (M,) Gini index of |map|: 0 for a constant map, 1 - 1/voxels for a single voxel
    cost    no forward pass
    Source: Chalasani et al. 2020 (arXiv 1810.06583), sec. 3. Differs: nothing.
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "shape"
    finds_truth: ClassVar[bool] = False

    def __call__(self, panel: HeatmapContext) -> Values:
        mass = panel.mass()
        count = mass.shape[1]
        index: Values = mass[:, ::-1] @ (2 * np.arange(1, count + 1) - count - 1) / count
        return index
