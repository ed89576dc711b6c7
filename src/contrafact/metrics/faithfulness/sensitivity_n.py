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
    """Measure how well the map predicts the fall of the output when random parts of several sizes are hidden.

    gives   (M,) Pearson's correlation, -1 to 1, averaged over sizes
    cost    `samples` forward passes per share, for all maps together; shares that infidelity or
            faithfulness-correlation use as well cost nothing
    raises  InputError without a share, for one outside (0, 1), or for fewer than 2 samples
    Source: Ancona et al. 2018 (arXiv 1711.06104), sec. 4. Differs: subsets consist of boxes, `features` along
    each axis, instead of voxels; sizes are shares of the boxes.

    samples   random subsets of each size
    shares    shares of the boxes that a subset hides
    features  boxes along each axis
    fill      content of hidden voxels: "mean", "min", "blur" or a number in image units
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
        means: Values = np.mean([correlations(sums, falls) for sums, falls in each], axis=0)
        return means
