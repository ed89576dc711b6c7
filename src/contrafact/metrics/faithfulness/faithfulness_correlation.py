from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS
from contrafact.metrics.heatmap_context import HeatmapContext, Values, check_subsets


@METRICS.register("faithfulness-correlation")
@dataclass(frozen=True, slots=True, kw_only=True)
class FaithfulnessCorrelation:
    """Measure how well the map's values predict the fall of the output when random parts are hidden.

    gives   (M,) Pearson's correlation over `samples` random subsets, -1 to 1; NaN if f does not change
    cost    `samples` forward passes for all maps together, shared with infidelity
    raises  InputError for fewer than 2 samples or a share outside (0, 1)
    Source: Bhatt et al. 2020 (arXiv 2005.00631), sec. 3.2. Differs: subsets consist of boxes, `features` along
    each axis, instead of single voxels, which hardly affect a network.

    samples   random subsets
    share     share of the boxes that a subset hides
    features  boxes along each axis
    fill      content of hidden voxels: "mean", "min", "blur" or a number in image units
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
        sums, falls = panel.subsets(
            count=self.samples, share=self.share, fill=self.fill, features=self.features
        )
        return correlations(sums, falls)


def correlations(rows: Values, measured: Values) -> Values:
    """Return Pearson's correlation (M,) of each row (M, K) with (K,) or (M, K); NaN if one is constant."""
    rows = rows - rows.mean(axis=-1, keepdims=True)
    measured = measured - measured.mean(axis=-1, keepdims=True)
    length = np.sqrt((rows**2).sum(axis=-1) * (measured**2).sum(axis=-1))
    values: Values = (rows * measured).sum(axis=-1) / np.where(length > 0, length, np.nan)
    return np.clip(values, -1, 1)
