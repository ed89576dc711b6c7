from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.stats import entropy

from contrafact.core import METRICS, InputError
from contrafact.metrics.heatmap_context import HeatmapContext, Values
from contrafact.metrics.randomisation.layers import random_map


@METRICS.register("emprt", aliases=("efficient-mprt",))
@dataclass(frozen=True, slots=True, kw_only=True)
class EfficientMPRT:
    """Make all weights random at once: does the map become less orderly?

    gives   (M,) rise of the entropy of the map's histogram, as a share of what it was; 0 or less: a random
            network gives as orderly a map
    cost    `draws` explanations per map, shared with `mprt`
    raises  UnsupportedError for a model whose weights cannot be reached
    Source: Hedström et al. 2023 (arXiv 2401.06465), eq. 5. Differs: the bins span each map's own range.

    bins    of the histogram
    draws   random networks, of which the mean is taken
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
        def one(which: int) -> float:
            before = self._entropy(panel.maps[which])
            after = [self._entropy(random_map(panel, which, draw)) for draw in range(self.draws)]
            return (float(np.mean(after)) - before) / before if before else float("nan")

        return panel.each(one)

    def _entropy(self, values: Values) -> float:
        return float(entropy(np.histogram(values, bins=self.bins)[0]))
