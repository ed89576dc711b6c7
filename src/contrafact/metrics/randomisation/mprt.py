from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS, InputError
from contrafact.metrics.heatmap_context import HeatmapContext, Values
from contrafact.metrics.randomisation.layers import randomisation_curve
from contrafact.metrics.similarity import known


@METRICS.register("mprt", aliases=("randomisation", "cascading-randomisation"))
@dataclass(frozen=True, slots=True, kw_only=True)
class MPRT:
    """Make the network's weights random, from the output to the input: does the map notice?

    gives   (M,) 0 to 1, how alike the map is to the original at the end of the cascade; a map that keeps
            its likeness does not show what the network learned
    cost    `last` explanations per map and draw
    raises  UnsupportedError for a model whose weights cannot be reached
    Source: Adebayo et al. 2018 (arXiv 1810.03292), sec. 3.1. Differs: layers in the order in which the network
    runs them; running statistics of normalisation are made anew as well; likeness has no sign, since a random
    network may say the same upside down. `randomisation_curve` gives every step.

    draws       random networks, of which the mean is taken
    last        steps at the end of the cascade, of which the mean is taken
    similarity  "spearman" (sizes of the rank correlation) or "ssim" (of absolute values)
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "randomisation"
    finds_truth: ClassVar[bool] = False
    draws: int = 3
    last: int = 1
    similarity: str = "spearman"

    def __post_init__(self) -> None:
        known(self.similarity)
        if self.draws < 1 or self.last < 1:
            raise InputError(f"expected at least 1 draw and 1 last step; got {self.draws}, {self.last}")

    def __call__(self, panel: HeatmapContext) -> Values:
        def one(which: int) -> float:
            curves = [
                randomisation_curve(panel, which, similarity=self.similarity, draw=draw, last=self.last)
                for draw in range(self.draws)
            ]
            return float(np.mean([value for curve in curves for _, value in curve]))

        return panel.each(one)
