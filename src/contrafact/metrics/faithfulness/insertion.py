from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.faithfulness.deletion import beyond
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("insertion")
@dataclass(frozen=True, slots=True, kw_only=True)
class Insertion:
    """Measure how early the output rises when voxels appear in an empty image, highest map values first.

    gives   (M,) area between the curve of f and the straight line from f(empty) to f(image), in units of the
            target: 0 for the straight line (an uninformative order), above 0 if f rises earlier
    cost    maps x (steps - 1) + 2 forward passes, shared with sufficiency
    Source: Petsiuk et al. 2018 (arXiv 1806.07421), sec. 4.3. Differs: any target, as for deletion; `fill`
    chooses the empty image, which is always blurred in the paper.

    steps  equal parts of the voxels, shown one after the other
    fill   the empty image: "mean", "min", "blur" or a number in image units
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "removal"
    steps: int = 20
    fill: str | float = "mean"

    def __call__(self, panel: HeatmapContext) -> Values:
        curves = panel.curves(steps=self.steps, fill=self.fill, insert=True)
        return beyond(panel, curves, self.fill)
