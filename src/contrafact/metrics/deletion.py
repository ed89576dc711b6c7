from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS, InputError
from contrafact.metrics.panel import Panel, Values


@METRICS.register("deletion")
@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """Hide voxels, those that the map says most of first: how soon does f fall?

    gives   (M,) area under the curve of f, as a share of f(image) - f(empty): 0 at the start would be
            perfect, 0.5 is a straight line
    cost    maps x (steps - 1) + 2 forward passes, shared with pixel-flipping and monotonicity
    Source: Petsiuk et al. 2018 (arXiv 1806.07421), sec. 4.3. Differs: any target, so the curve runs
    between f of the image (1) and f of the empty image (0) instead of between probabilities.

    steps  parts that are hidden one after the other
    fill   what hidden voxels are filled with: "mean", "min", "blur" or a number in image units
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "lower"
    steps: int = 20
    fill: str | float = "mean"

    def __call__(self, panel: Panel) -> Values:
        return area(relative(panel, panel.curves(steps=self.steps, fill=self.fill), self.fill))


def relative(panel: Panel, curves: Values, fill: str | float) -> Values:
    """Curves of f on a scale where the image is 1 and the empty image 0.

    raises  InputError where both are nearly the same, a twentieth of what the curves range over: the share
            would be noise, and a mean over images nothing but such images
    """
    low, high = panel.score_empty(fill), panel.whole
    if abs(high - low) <= 0.05 * np.ptp(curves):
        raise InputError(
            f"the model scores the empty image ({low:.3g}) as it does the image ({high:.3g}): no share can be "
            "given; choose another fill or target"
        )
    found: Values = (curves - low) / (high - low)
    return found


def area(curves: Values) -> Values:
    """Under curves (M, K) over a way of length 1, by trapeziums."""
    found: Values = (curves[:, 1:] + curves[:, :-1]).mean(axis=1) / 2
    return found
