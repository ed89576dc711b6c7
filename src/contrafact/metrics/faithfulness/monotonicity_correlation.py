from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS, InputError
from contrafact.metrics.faithfulness.faithfulness_correlation import correlations
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("monotonicity-correlation")
@dataclass(frozen=True, slots=True, kw_only=True)
class MonotonicityCorrelation:
    """Measure whether the output changes most where the map's absolute values are high, under random noise.

    gives   (M,) Spearman's correlation of |map| of a feature with the mean squared change of f, -1 to 1
    cost    `draws` forward passes per feature, for all maps together
    raises  InputError for fewer than 1 draw
    Source: Nguyen & Rodríguez Martínez 2020 (arXiv 2007.07584), sec. 2.2. Differs: a feature is a box,
    `features` along each axis, replaced by uniform noise in the image's own range. It does not rank the true
    map of a linear model above its negative, because it compares absolute values.

    features  boxes along each axis
    draws     random replacements of each box
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "amounts"
    finds_truth: ClassVar[bool] = False
    features: int = 8
    draws: int = 4

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise InputError(f"expected at least 1 draw; got {self.draws}")

    def __call__(self, panel: HeatmapContext) -> Values:
        from scipy.stats import rankdata  # slow to import

        replaced = [
            panel.by_feature(fill=f"noise {draw}", features=self.features) for draw in range(self.draws)
        ]
        sizes = np.abs(replaced[0][0])
        changes = np.mean([falls**2 for _, falls in replaced], axis=0)
        return correlations(rankdata(sizes, axis=1), rankdata(changes))
