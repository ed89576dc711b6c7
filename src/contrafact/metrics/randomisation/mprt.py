from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS, InputError
from contrafact.metrics.heatmap_context import HeatmapContext, Values
from contrafact.metrics.randomisation.layers import randomisation_curve
from contrafact.metrics.similarity import check_kind


@METRICS.register("mprt", aliases=("randomisation", "cascading-randomisation"))
@dataclass(frozen=True, slots=True, kw_only=True)
class MPRT:
    """Measure how similar the map stays when the model's weights are randomised from output to input.

    gives   (M,) similarity to the original map at the end of the cascade, 0 to 1; a map that stays similar
            does not show what the model learned
    cost    `last` explanations per map and draw
    raises  UnsupportedError for a model whose weights cannot be replaced
    Source: Adebayo et al. 2018 (arXiv 1810.03292), sec. 3.1. Differs: layers in forward order; running
    statistics of normalisations are reset too; similarity ignores the sign, because the map of a random network
    may have the opposite sign. `randomisation_curve` returns every step.

    draws       random networks, whose results are averaged
    last        last steps of the cascade, whose results are averaged
    similarity  "spearman" (size of the rank correlation) or "ssim" (of absolute values)
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "randomisation"
    finds_truth: ClassVar[bool] = False
    draws: int = 3
    last: int = 1
    similarity: str = "spearman"

    def __post_init__(self) -> None:
        check_kind(self.similarity)
        if self.draws < 1 or self.last < 1:
            raise InputError(f"expected at least 1 draw and 1 last step; got {self.draws}, {self.last}")

    def __call__(self, panel: HeatmapContext) -> Values:
        def similarity(which: int) -> float:
            curves = [
                randomisation_curve(panel, which, similarity=self.similarity, draw=draw, last=self.last)
                for draw in range(self.draws)
            ]
            return float(np.mean([value for curve in curves for _, value in curve]))

        return panel.each(similarity)
