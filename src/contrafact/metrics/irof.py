from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.deletion import area, relative
from contrafact.metrics.panel import Panel, Values


@METRICS.register("irof")
@dataclass(frozen=True, slots=True, kw_only=True)
class IROF:
    """Hide supervoxels in falling order of the map's mean there: how soon does f fall?

    gives   (M,) area **over** the curve of f, as a share of f(image) - f(empty): 1 would be perfect, 0.5 is a
            straight line; NaN where f of both is the same
    cost    maps x (steps - 1) + 2 forward passes
    Source: Rieger & Hansen 2020 (arXiv 2003.08747), sec. 3. Differs: supervoxels (SLIC) in 3D as well, hidden
    in `steps` parts; f runs between the image and the empty image instead of being divided by f(image),
    which has no meaning for a target of either sign; the area is of a way of length 1, so that images of
    more supervoxels do not score higher.

    features  supervoxels along each axis
    steps     parts that are hidden one after the other
    fill      what hidden voxels are filled with: "mean", "min", "blur" or a number in image units
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    features: int = 8
    steps: int = 20
    fill: str | float = "mean"

    def __call__(self, panel: Panel) -> Values:
        curves = panel.region_curves(
            steps=self.steps, fill=self.fill, features=self.features, kind="slic", by="mean"
        )
        return 1 - area(relative(panel, curves, self.fill))
