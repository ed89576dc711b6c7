from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("pixel-flipping")
@dataclass(frozen=True, slots=True, kw_only=True)
class PixelFlipping:
    """Measure the mean fall of the output while voxels are hidden in descending order of the map.

    gives   (M,) mean of f(image) - f(hidden) over all steps, nothing hidden and all hidden included, in units
            of the target
    cost    the curve of deletion; nothing if it is already computed with the same `steps` and `fill`
    Source: Bach et al. 2015 (doi 10.1371/journal.pone.0130140); the mean is the AOPC of Samek et al. 2017
    (arXiv 1509.06321), eq. 12. Differs: `steps` equal parts of the voxels instead of single voxels.

    steps  equal parts of the voxels, hidden one after the other
    fill   content of hidden voxels: "mean", "min", "blur" or a number in image units
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "removal"
    steps: int = 20
    fill: str | float = "mean"

    def __call__(self, panel: HeatmapContext) -> Values:
        panel.note_inverted(self.fill)
        falls: Values = panel.whole - panel.curves(steps=self.steps, fill=self.fill).mean(axis=1)
        return falls
