from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from contrafact.core import METRICS
from contrafact.metrics.faithfulness.deletion import beyond
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("irof")
@dataclass(frozen=True, slots=True, kw_only=True)
class IROF:
    """Hide supervoxels in falling order of the map's mean there: how soon does f fall?

    gives   (M,) area between the straight line from f(image) to f(empty) and the curve of f, in units of the
            target: 0 is that line (the order says nothing), above 0 f falls sooner
    cost    maps x (steps - 1) + 2 forward passes
    Source: Rieger & Hansen 2020 (arXiv 2003.08747), sec. 3. Differs: supervoxels (SLIC) in 3D as well, hidden
    in `steps` parts; the area is counted from the straight line instead of being divided by f(image), which
    has no meaning for a target of either sign; it goes by the share of voxels that are hidden, so that neither
    the number of supervoxels nor their sizes count.

    features  supervoxels along each axis
    steps     parts that are hidden one after the other
    fill      what hidden voxels are filled with: "mean", "min", "blur" or a number in image units
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "removal"
    features: int = 8
    steps: int = 20
    fill: str | float = "mean"

    def __call__(self, panel: HeatmapContext) -> Values:
        asked: Any = {"steps": self.steps, "features": self.features, "kind": "slic", "by": "mean"}
        curves = panel.region_curves(fill=self.fill, **asked)
        return -beyond(panel, curves, self.fill, panel.region_shares(**asked))
