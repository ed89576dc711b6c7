from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("deletion")
@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """Hide voxels, those that the map says most of first: how soon does f fall?

    gives   (M,) area between the curve of f and the straight line from f(image) to f(empty), in units of the
            target: 0 is that line (the order says nothing), below 0 f falls sooner
    cost    maps x (steps - 1) + 2 forward passes, shared with pixel-flipping and monotonicity
    Source: Petsiuk et al. 2018 (arXiv 1806.07421), sec. 4.3. Differs: any target; the
    area is counted from the straight line and never divided, so that the order of maps is the same where hiding
    everything raises f (`Score.note` then says so).

    steps  parts that are hidden one after the other
    fill   what hidden voxels are filled with: "mean", "min", "blur" or a number in image units
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "removal"
    steps: int = 20
    fill: str | float = "mean"

    def __call__(self, panel: HeatmapContext) -> Values:
        return beyond(panel, panel.curves(steps=self.steps, fill=self.fill), self.fill)


def beyond(panel: HeatmapContext, curves: Values, fill: str | float, at: Values | None = None) -> Values:
    """(M,) area under curves (M, K) of f less the area under the straight line between their ends, in units of
    the target. Notes where f of the empty image is no lower than f of the image.

    at  (M, K) where the points of each curve stand on a way of length 1; None: equally far apart
    """
    panel.note_inverted(fill)
    under = area(curves) if at is None else np.asarray(np.trapezoid(curves, at, axis=1))
    found: Values = under - (panel.whole + panel.score_empty(fill)) / 2
    return found


def area(curves: Values) -> Values:
    """Under curves (M, K) over a way of length 1, by trapeziums."""
    found: Values = (curves[:, 1:] + curves[:, :-1]).mean(axis=1) / 2
    return found
