from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.ndimage import distance_transform_edt

from contrafact.core import METRICS, InputError
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("pointing-game")
@dataclass(frozen=True, slots=True, kw_only=True)
class PointingGame:
    """Check whether the voxel with the highest value of the map lies in the mask.

    tolerance   accepted distance to the mask, voxels
    gives   (M,) 1 or 0; of several equal maxima a random one is used
    cost    no forward pass
    raises  InputError without a mask, or for a tolerance below 0
    Source: Zhang et al. 2016 (arXiv 1608.00507), sec. 4.1. Differs: the default tolerance is 0 (15 pixels in
    the paper).
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "place"
    yes_or_no: ClassVar[bool] = True
    tolerance: float = 0

    def __post_init__(self) -> None:
        if self.tolerance < 0:
            raise InputError(f"expected a tolerance of 0 voxels or more; got {self.tolerance}")

    def __call__(self, panel: HeatmapContext) -> Values:
        near = distance_transform_edt(~panel.truth("pointing-game")) <= self.tolerance
        return np.asarray(near.ravel()[panel.ranks().argmin(axis=1)], dtype=np.float64)
