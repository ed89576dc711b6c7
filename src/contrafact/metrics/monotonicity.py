from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS
from contrafact.metrics.panel import Panel, Values


@METRICS.register("monotonicity")
@dataclass(frozen=True, slots=True, kw_only=True)
class Monotonicity:
    """Show voxels in an empty image, those that the map says least of first: does f rise at every step?

    gives   (M,) share of steps at which f does not fall, 0 to 1; 1 is what the source calls monotonic
    cost    the curve of deletion, which is this one read backwards; nothing where that was asked for
    Source: Arya et al. 2019 (arXiv 1909.03012), sec. 5 and their AIX360. Differs: a share instead of yes or
    no; `steps` equal parts of the voxels instead of one at a time.

    steps  parts that are shown one after the other
    fill   the empty image: "mean", "min", "blur" or a number in image units
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    steps: int = 20
    fill: str | float = "mean"

    def __call__(self, panel: Panel) -> Values:
        rises = np.diff(panel.curves(steps=self.steps, fill=self.fill)[:, ::-1], axis=1)
        found: Values = (rises >= 0).mean(axis=1)
        return found
