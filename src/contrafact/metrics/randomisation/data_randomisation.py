from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS, InputError
from contrafact.metrics.heatmap_context import HeatmapContext, Values
from contrafact.metrics.similarity import alike, known


@METRICS.register("data-randomisation", aliases=("label-randomisation",))
@dataclass(frozen=True, slots=True, kw_only=True)
class DataRandomisation:
    """Ask a network that learned permuted labels by heart: is it the same map?

    gives   (M,) 0 to 1, how alike both maps are; a map that is the same does not show what the labels taught
    cost    one explanation per map
    raises  InputError where the panel has no such predictor
    Source: Adebayo et al. 2018 (arXiv 1810.03292), sec. 4. Differs: likeness has no sign.

    similarity  "spearman" (size of the rank correlation) or "ssim" (of absolute values)
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "randomisation"
    finds_truth: ClassVar[bool] = False
    similarity: str = "spearman"

    def __post_init__(self) -> None:
        known(self.similarity)

    def __call__(self, panel: HeatmapContext) -> Values:
        other = panel.shuffled
        if other is None:
            raise InputError(
                "data-randomisation needs a second network that was trained on permuted labels; got none; give "
                "the panel `shuffled`"
            )

        def one(which: int) -> float:
            found = panel.again(which, predictor=other)[0]
            return alike(panel.maps[which], found, self.similarity, panel.question.region)

        return panel.each(one)
