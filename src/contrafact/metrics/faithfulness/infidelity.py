from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS
from contrafact.metrics.heatmap_context import HeatmapContext, Values, check_subsets


@METRICS.register("infidelity")
@dataclass(frozen=True, slots=True, kw_only=True)
class Infidelity:
    """Hide random parts of the image: does what the map says of them match how far f falls?

    gives   (M,) mean squared difference; 0 is perfect. `relative`: as a share of the mean squared fall, so
            that 1 is a map of zeros, and images can be compared; NaN where nothing hidden changes f
    cost    `samples` forward passes for all maps together, shared with metrics of the same subsets
    Source: Yeh et al. 2019 (arXiv 1901.09392), eq. 1, with square removal. Differs: a perturbation is the
    share of a voxel that is hidden, so that it has the units of our maps; the best scale of the map, 0 or
    more, is found first unless `scaled` is off, since CAMs and RISE have none of their own: a map that says the
    opposite scores 1, as a map of zeros does; the perturbation runs
    the model, the map only weighs it, so all maps share the passes.

    samples   random subsets
    share     of the boxes that a subset hides
    features  boxes along each axis
    fill      what hidden voxels are filled with: "mean", "min", "blur" or a number in image units
    scaled    find the best scale of the map first
    relative  as a share of the mean squared fall
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
        said, falls = panel.subsets(
            count=self.samples, share=self.share, fill=self.fill, features=self.features
        )
        if self.scaled:
            best = (said * falls).mean(axis=1).clip(min=0) / np.maximum((said**2).mean(axis=1), 1e-30)
            said = said * best[:, None]
        found: Values = ((said - falls) ** 2).mean(axis=1)
        if not self.relative:
            return found
        return found / np.square(falls).mean() if falls.any() else np.full_like(found, np.nan)
