from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS, InputError
from contrafact.metrics.heatmap_context import HeatmapContext, Values
from contrafact.metrics.randomisation.layers import random_map


@METRICS.register("emprt", aliases=("efficient-mprt",))
@dataclass(frozen=True, slots=True, kw_only=True)
class EfficientMPRT:
    """Measure how much the entropy of the map rises when all weights of the model are randomised.

    gives   (M,) rise of the entropy of the map's histogram, as a share of the original entropy; 0 or less: the
            map of a random network is as regular
    cost    `draws` explanations per map, shared with `mprt`
    raises  UnsupportedError for a model whose weights cannot be replaced
    Source: Hedström et al. 2023 (arXiv 2401.06465), eq. 5. Differs: the bins span each map's own range.

    bins    bins of the histogram
    draws   random networks, whose results are averaged
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "randomisation"
    finds_truth: ClassVar[bool] = False
    bins: int = 100
    draws: int = 3

    def __post_init__(self) -> None:
        if self.bins < 2 or self.draws < 1:
            raise InputError(f"expected at least 2 bins and 1 draw; got {self.bins}, {self.draws}")

    def __call__(self, panel: HeatmapContext) -> Values:
        def rise(which: int) -> float:
            before = self._entropy(panel.maps[which])
            after = [self._entropy(random_map(panel, which, draw)) for draw in range(self.draws)]
            return (float(np.mean(after)) - before) / before if before else float("nan")

        return panel.each(rise)

    def _entropy(self, values: Values) -> float:
        from scipy.stats import entropy  # slow to import

        return float(entropy(np.histogram(values, bins=self.bins)[0]))
