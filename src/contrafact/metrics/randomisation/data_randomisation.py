from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS, InputError
from contrafact.metrics.heatmap_context import HeatmapContext, Values
from contrafact.metrics.similarity import alike, check_kind


@METRICS.register("data-randomisation", aliases=("label-randomisation",))
@dataclass(frozen=True, slots=True, kw_only=True)
class DataRandomisation:
    """Measure how similar the map is to that of a network trained on permuted labels.

    gives   (M,) similarity of both maps, 0 to 1; a map that stays the same does not depend on the labels
    cost    one explanation per map
    raises  InputError without a predictor trained on permuted labels (`shuffled`)
    Source: Adebayo et al. 2018 (arXiv 1810.03292), sec. 4. Differs: similarity ignores the sign.

    similarity  "spearman" (size of the rank correlation) or "ssim" (of absolute values)
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "randomisation"
    finds_truth: ClassVar[bool] = False
    similarity: str = "spearman"

    def __post_init__(self) -> None:
        check_kind(self.similarity)

    def __call__(self, panel: HeatmapContext) -> Values:
        other = panel.shuffled
        if other is None:
            raise InputError(
                "data-randomisation needs a network trained on permuted labels; got none; pass `shuffled`"
            )

        def similarity(which: int) -> float:
            shuffled_map = panel.again(which, predictor=other)[0]
            return alike(panel.maps[which], shuffled_map, self.similarity, panel.question.region)

        return panel.each(similarity)
