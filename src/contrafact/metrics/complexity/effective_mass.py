from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS, InputError
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("effective-mass")
@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveMass:
    """Measure the smallest share of the voxels that holds most of the map's absolute values.

    gives   (M,) share of the voxels, 0 to 1, that together hold `share` of the sum of |map|
    cost    no forward pass
    raises  InputError for a share outside (0, 1]
    Source: Nguyen & Rodríguez Martínez 2020 (arXiv 2007.07584), sec. 2.3 (effective complexity). Differs: uses
    the values of the map instead of the model, and needs no forward pass.

    share  share of the sum of |map| that the voxels must hold
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "shape"
    finds_truth: ClassVar[bool] = False
    share: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise InputError(f"expected a share in (0, 1]; got {self.share}")

    def __call__(self, panel: HeatmapContext) -> Values:
        mass = panel.mass()
        # The tolerance covers rounding errors of the cumulative sum.
        short = mass.cumsum(axis=1) < self.share * (1 - 1e-12)
        shares: Values = (short.sum(axis=1) + 1) / mass.shape[1]
        return np.minimum(shares, 1)
