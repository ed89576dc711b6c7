from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("region-perturbation")
@dataclass(frozen=True, slots=True, kw_only=True)
class RegionPerturbation:
    """Measure the mean fall of the output while boxes are replaced by noise, highest sum of the map first.

    gives   (M,) mean of f(image) - f(perturbed) over all steps, none and all replaced included, in units of
            the target
    cost    maps x (steps - 1) + 2 forward passes; shared with selectivity of the same `fill`
    Source: Samek et al. 2017 (arXiv 1509.06321), sec. III, eq. 12. Differs: `features` boxes along each axis,
    of any size; the noise is uniform in the image's own range and the same for all maps; finally all boxes are
    replaced, in `steps` parts.

    features  boxes along each axis
    steps     parts that are replaced one after the other
    fill      content of replaced boxes: "noise", "mean", "min", "blur" or a number in image units
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "removal"
    features: int = 8
    steps: int = 20
    fill: str | float = "noise"

    def __call__(self, panel: HeatmapContext) -> Values:
        curves = panel.region_curves(steps=self.steps, fill=self.fill, features=self.features)
        panel.note_inverted(self.fill)
        falls: Values = panel.whole - curves.mean(axis=1)
        return falls
