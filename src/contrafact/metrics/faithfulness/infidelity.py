from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS
from contrafact.metrics.heatmap_context import HeatmapContext, Values, check_subsets


@METRICS.register("infidelity")
@dataclass(frozen=True, slots=True, kw_only=True)
class Infidelity:
    """Measure the error of predicting, by the map's sum over hidden parts, how much the output falls.

    gives   (M,) mean squared difference; 0 is perfect. `relative`: as a share of the mean squared fall, so
            that a map of zeros has 1, and images can be compared; NaN if no hidden part changes f
    cost    `samples` forward passes for all maps together, shared with metrics of the same subsets
    raises  InputError for fewer than 2 samples or a share outside (0, 1)
    Source: Yeh et al. 2019 (arXiv 1901.09392), eq. 1, with square removal. Differs: a perturbation is the
    share of a voxel that is hidden, so that it has the units of these maps; with `scaled` the map is first
    multiplied by its best scale, 0 or more, because CAMs and RISE have no scale: a map with the opposite sign
    then has 1, like a map of zeros; perturbations do not depend on the map, so that all maps share the passes.

    samples   random subsets
    share     share of the boxes that a subset hides
    features  boxes along each axis
    fill      content of hidden voxels: "mean", "min", "blur" or a number in image units
    scaled    multiply the map by its best scale first
    relative  divide by the mean squared fall
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "amounts"
    samples: int = 128
    share: float = 0.2
    features: int = 8
    fill: str | float = "mean"
    scaled: bool = True
    relative: bool = True

    def __post_init__(self) -> None:
        check_subsets(self.samples, self.share)

    def __call__(self, panel: HeatmapContext) -> Values:
        sums, falls = panel.subsets(
            count=self.samples, share=self.share, fill=self.fill, features=self.features
        )
        if self.scaled:
            best = (sums * falls).mean(axis=1).clip(min=0) / np.maximum((sums**2).mean(axis=1), 1e-30)
            sums = sums * best[:, None]
        errors: Values = ((sums - falls) ** 2).mean(axis=1)
        if not self.relative:
            return errors
        return errors / np.square(falls).mean() if falls.any() else np.full_like(errors, np.nan)
