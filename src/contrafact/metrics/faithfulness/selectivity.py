from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.faithfulness.deletion import area
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("selectivity")
@dataclass(frozen=True, slots=True, kw_only=True)
class Selectivity:
    """Measure the area under the output's curve while boxes are hidden, highest sum of the map first.

    gives   (M,) area under the curve of f over a length of 1, in units of the target
    cost    maps x (steps - 1) + 2 forward passes; shared with region-perturbation of the same `fill`
    Source: Montavon et al. 2018 (arXiv 1706.07979), sec. 6.2. Differs: `features` boxes along each axis,
    hidden in `steps` parts.

    features  boxes along each axis
    steps     parts that are hidden one after the other
    fill      content of hidden voxels: "mean", "min", "blur" or a number in image units
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "removal"
    features: int = 8
    steps: int = 20
    fill: str | float = "mean"

    def __call__(self, panel: HeatmapContext) -> Values:
        panel.note_inverted(self.fill)
        return area(panel.region_curves(steps=self.steps, fill=self.fill, features=self.features))
