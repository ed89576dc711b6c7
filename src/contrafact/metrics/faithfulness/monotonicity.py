from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("monotonicity")
@dataclass(frozen=True, slots=True, kw_only=True)
class Monotonicity:
    """Measure whether higher map values add more to the output, when voxels appear lowest value first.

    gives   (M,) among all pairs of steps with different rises of f, the share in the map's order minus the
            share against it (gamma of Goodman and Kruskal), -1 to 1; for a linear model the true map has 1, and
            an unordered map about 0; NaN if all steps raise f equally
    cost    the curve of deletion, which is the same in reverse order; nothing if it is already computed
    Source: Arya et al. 2019 (arXiv 1909.03012), sec. 5 and their AIX360. Differs: the paper tests whether f
    rises at every step, which holds for every map of a linear model without evidence against the target; here
    the rises are compared with each other; `steps` equal parts of the voxels instead of single voxels.

    steps  equal parts of the voxels, shown one after the other
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
    """Return gamma of rises (K,) with their position; differences below a millionth of `scale` are ignored."""
    first, second = np.triu_indices(len(rises), 1)
    differences = rises[second] - rises[first]
    up, down = (np.count_nonzero(sign * differences > 1e-6 * scale) for sign in (1, -1))
    return (up - down) / (up + down) if up + down else float("nan")
