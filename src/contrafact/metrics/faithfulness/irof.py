from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from contrafact.core import METRICS
from contrafact.metrics.faithfulness.deletion import beyond
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("irof")
@dataclass(frozen=True, slots=True, kw_only=True)
class IROF:
    """Measure how early the output falls when supervoxels are hidden, highest mean of the map first.

    gives   (M,) area between the straight line from f(image) to f(empty) and the curve of f, in units of the
            target: 0 for the straight line (an uninformative order), above 0 if f falls earlier
    cost    maps x (steps - 1) + 2 forward passes
    Source: Rieger & Hansen 2020 (arXiv 2003.08747), sec. 3. Differs: supervoxels (SLIC) in 3D as well, hidden
    in `steps` parts; the area is relative to the straight line and not divided by f(image), which has no
    meaning for a target of either sign; the horizontal axis is the share of hidden voxels, so that the number
    and the sizes of the supervoxels do not matter.

    features  supervoxels along each axis
    steps     parts that are hidden one after the other
    fill      content of hidden voxels: "mean", "min", "blur" or a number in image units
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "removal"
    features: int = 8
    steps: int = 20
    fill: str | float = "mean"

    def __call__(self, panel: HeatmapContext) -> Values:
        settings: Any = {"steps": self.steps, "features": self.features, "kind": "slic", "by": "mean"}
        curves = panel.region_curves(fill=self.fill, **settings)
        return -beyond(panel, curves, self.fill, panel.region_shares(**settings))
