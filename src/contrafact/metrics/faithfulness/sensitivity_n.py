from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS, InputError
from contrafact.metrics.faithfulness.faithfulness_correlation import correlations
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("sensitivity-n")
@dataclass(frozen=True, slots=True, kw_only=True)
class SensitivityN:
    """Hide random parts of several sizes: does f fall most where the map says most, at every size?

    gives   (M,) Pearson's correlation, -1 to 1, the mean over sizes
    cost    `samples` forward passes per share, for all maps together; a share that infidelity or
            faithfulness-correlation asked for as well costs nothing
    raises  InputError for no share, one outside (0, 1), or fewer than 2 samples
    Source: Ancona et al. 2018 (arXiv 1711.06104), sec. 4. Differs: subsets are of boxes, `features` along
    every axis, and not of voxels; sizes are shares of them.

    samples   random subsets of each size
    shares    sizes: the share of the boxes that a subset hides
    features  boxes along each axis
    fill      what hidden voxels are filled with: "mean", "min", "blur" or a number in image units
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "amounts"
    samples: int = 128
    shares: tuple[float, ...] = (0.05, 0.1, 0.2, 0.5)
    features: int = 8
    fill: str | float = "mean"

    def __post_init__(self) -> None:
        if self.samples < 2 or not self.shares or not all(0 < share < 1 for share in self.shares):
            raise InputError(
                f"expected at least 2 samples and shares in (0, 1); got {self.samples}, {self.shares}"
            )

    def __call__(self, panel: HeatmapContext) -> Values:
        each = [
            panel.subsets(count=self.samples, share=share, fill=self.fill, features=self.features)
            for share in self.shares
        ]
        found: Values = np.mean([correlations(said, falls) for said, falls in each], axis=0)
        return found
