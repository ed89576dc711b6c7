from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS, InputError
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("sufficiency")
@dataclass(frozen=True, slots=True, kw_only=True)
class Sufficiency:
    """Measure how much of the output remains when only the highest voxels of the map are visible.

    gives   (M,) f with the highest `share` of voxels visible, minus f(empty), in units of the target:
            f(image) - f(empty) if these voxels suffice; more if the hidden voxels are evidence against it
    cost    the curve of insertion; nothing if it is already computed with the same `steps` and `fill`. A share
            between two steps is interpolated linearly
    raises  InputError for a share outside (0, 1)
    Source: DeYoung et al. 2020 (arXiv 1911.03429), sec. 4.2. Differs: voxels instead of words; any target,
    relative to the empty image and not divided. The sufficiency of Dasgupta et al. 2022 is another metric, of
    many images: whether images with similar maps get the same class.

    share  share of the voxels that are visible
    steps  equal parts of the voxels in the insertion curve
    fill   the empty image: "mean", "min", "blur" or a number in image units
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "removal"
    share: float = 0.2
    steps: int = 20
    fill: str | float = "mean"

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise InputError(f"expected a share in (0, 1); got {self.share}")

    def __call__(self, panel: HeatmapContext) -> Values:
        curves = panel.curves(steps=self.steps, fill=self.fill, insert=True)
        panel.note_inverted(self.fill)
        shown = np.linspace(0, 1, curves.shape[1])
        return np.array([np.interp(self.share, shown, curve) - curve[0] for curve in curves])
