from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS
from contrafact.metrics.heatmap_context import HeatmapContext, Values, check_subsets


@METRICS.register("faithfulness-correlation")
@dataclass(frozen=True, slots=True, kw_only=True)
class FaithfulnessCorrelation:
    """Hide random parts of the image: does f fall most where the map says most?

    gives   (M,) Pearson's correlation over `samples` random subsets, -1 to 1; NaN where f does not answer
    cost    `samples` forward passes for all maps together; the subsets are those of infidelity
    raises  InputError for fewer than 2 samples or a share outside (0, 1)
    Source: Bhatt et al. 2020 (arXiv 2005.00631), sec. 3.2. Differs: subsets are of boxes, `features` along
    every axis, and not of voxels, whose loss a network hardly notices.

    samples   random subsets
    share     of the boxes that a subset hides
    features  boxes along each axis
    fill      what hidden voxels are filled with: "mean", "min", "blur" or a number in image units
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "amounts"
    samples: int = 128
    share: float = 0.2
    features: int = 8
    fill: str | float = "mean"

    def __post_init__(self) -> None:
        check_subsets(self.samples, self.share)

    def __call__(self, panel: HeatmapContext) -> Values:
        said, falls = panel.subsets(
            count=self.samples, share=self.share, fill=self.fill, features=self.features
        )
        return correlations(said, falls)


def correlations(said: Values, measured: Values) -> Values:
    """Pearson's, of every row of (M, K) with (K,) or (M, K); NaN where one of both does not vary."""
    said = said - said.mean(axis=-1, keepdims=True)
    measured = measured - measured.mean(axis=-1, keepdims=True)
    length = np.sqrt((said**2).sum(axis=-1) * (measured**2).sum(axis=-1))
    found: Values = (said * measured).sum(axis=-1) / np.where(length > 0, length, np.nan)
    return np.clip(found, -1, 1)
