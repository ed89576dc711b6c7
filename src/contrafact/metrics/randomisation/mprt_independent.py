from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS, InputError
from contrafact.metrics.heatmap_context import HeatmapContext, Values
from contrafact.metrics.randomisation.layers import randomisation_curve
from contrafact.metrics.similarity import check_kind


@METRICS.register("mprt-independent", aliases=("independent-randomisation",))
@dataclass(frozen=True, slots=True, kw_only=True)
class MPRTIndependent:
    """Measure how similar the map stays when a single layer of the model is randomised, over all layers.

    gives   (M,) mean similarity to the original map over all layers, 0 to 1
    cost    one explanation per map, layer and draw
    raises  UnsupportedError for a model whose weights cannot be replaced
    Source: Adebayo et al. 2018 (arXiv 1810.03292), sec. 3.2. Differs: as in `mprt`.

    draws, similarity   as in `mprt`
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "randomisation"
    finds_truth: ClassVar[bool] = False
    draws: int = 1
    similarity: str = "spearman"

    def __post_init__(self) -> None:
        check_kind(self.similarity)
        if self.draws < 1:
            raise InputError(f"expected at least 1 draw; got {self.draws}")

    def __call__(self, panel: HeatmapContext) -> Values:
        def similarity(which: int) -> float:
            curves = [
                randomisation_curve(panel, which, "alone", similarity=self.similarity, draw=draw)
                for draw in range(self.draws)
            ]
            return float(np.mean([value for curve in curves for _, value in curve]))

        return panel.each(similarity)
