from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("monotonicity")
@dataclass(frozen=True, slots=True, kw_only=True)
class Monotonicity:
    """Show voxels in an empty image, those that the map says least of first: does each step raise f more than
    the steps before it?

    gives   (M,) of all pairs of steps that raise f by different amounts, the share in the map's order less the
            share against it (gamma of Goodman and Kruskal), -1 to 1; on a linear model the truth has 1, a map
            without any order about 0; NaN where all steps raise f alike
    cost    the curve of deletion, which is this one read backwards; nothing where that was asked for
    Source: Arya et al. 2019 (arXiv 1909.03012), sec. 5 and their AIX360. Differs: they ask whether f rises at
    every step, which on a linear model without evidence against the target is so for every map, the truth or
    not; here the rises are compared with each other; `steps` equal parts of the voxels, not one at a time.

    steps  parts that are shown one after the other
    fill   the empty image: "mean", "min", "blur" or a number in image units
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "removal"
    steps: int = 20
    fill: str | float = "mean"

    def __call__(self, panel: HeatmapContext) -> Values:
        panel.note_inverted(self.fill)
        curves = panel.curves(steps=self.steps, fill=self.fill)[:, ::-1]
        return np.array([in_order(np.diff(curve), float(np.ptp(curves))) for curve in curves])


def in_order(rises: Values, scale: float) -> float:
    """Gamma of rises (K,) with their places; differences below a millionth of `scale` are none."""
    first, second = np.triu_indices(len(rises), 1)
    apart = rises[second] - rises[first]
    up, down = (np.count_nonzero(sign * apart > 1e-6 * scale) for sign in (1, -1))
    return (up - down) / (up + down) if up + down else float("nan")
