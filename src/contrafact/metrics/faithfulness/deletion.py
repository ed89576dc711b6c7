from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("deletion")
@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """Measure how early the output falls when voxels are hidden in descending order of the map.

    gives   (M,) area between the curve of f and the straight line from f(image) to f(empty), in units of the
            target: 0 for the straight line (an uninformative order), below 0 if f falls earlier
    cost    maps x (steps - 1) + 2 forward passes, shared with pixel-flipping and monotonicity
    Source: Petsiuk et al. 2018 (arXiv 1806.07421), sec. 4.3. Differs: any target; the area is relative to
    the straight line and not divided, so that the ranking of maps stays the same if hiding everything raises f
    (`Score.note` then reports it).

    steps  equal parts of the voxels, hidden one after the other
    fill   content of hidden voxels: "mean", "min", "blur" or a number in image units
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "removal"
    steps: int = 20
    fill: str | float = "mean"

    def __call__(self, panel: HeatmapContext) -> Values:
        return beyond(panel, panel.curves(steps=self.steps, fill=self.fill), self.fill)


def beyond(panel: HeatmapContext, curves: Values, fill: str | float, at: Values | None = None) -> Values:
    """Return the area (M,) under curves (M, K) of f minus the area under the straight line between their ends,
    in units of the target. Add a note if f of the empty image is not below f of the image.

    at  (M, K) horizontal positions of the points, 0 to 1; None: equally spaced
    """
    panel.note_inverted(fill)
    under = area(curves) if at is None else np.asarray(np.trapezoid(curves, at, axis=1))
    difference: Values = under - (panel.whole + panel.score_empty(fill)) / 2
    return difference


def area(curves: Values) -> Values:
    """Return the area (M,) under curves (M, K) over a length of 1, by the trapezium rule."""
    areas: Values = (curves[:, 1:] + curves[:, :-1]).mean(axis=1) / 2
    return areas
