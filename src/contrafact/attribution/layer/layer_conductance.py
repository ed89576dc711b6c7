from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.attribution.gradients import as_map
from contrafact.attribution.layer.layer_path import along, to_image
from contrafact.core import EXPLAINERS, InputError, Question


@EXPLAINERS.register("layer-conductance", aliases=("layer_conductance", "conductance"))
@dataclass(frozen=True, slots=True, kw_only=True)
class LayerConductance:
    """Show how much of the output's change from a baseline passes through each position of a layer.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), target units per layer position, summed over filters and linearly
            interpolated; before interpolation it sums to f(image) - f(baseline) up to the quadrature
            error, if the target depends on the image only through the layer
    cost    `steps` + 1 forward and backward passes per image
    raises  UnsupportedError without gradients or without a layer with a spatial map; InputError for
            fewer than 1 step
    Source: Dhamdhere et al. 2018 (arXiv 1805.12233), eq. 2, in the form of Shrikumar et al. 2018 (arXiv
    1807.09946): gradient at the layer times the layer's own change, summed along the path.

    layer     name of the layer; None: the last feature map through which all of the output passes
    steps     intervals of the path
    baseline  "mean" (of the image), "min", "blur" or a number in image units
    """

    needs_gradients: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    layer: str | None = None
    steps: int = 32
    baseline: str | float = "min"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"steps must be at least 1; got {self.steps}")

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        shares = np.linspace(0, 1, self.steps + 1).tolist()
        layer, points = along(question, self.baseline, shares, self.layer, "layer-conductance")
        # Trapezium rule: the mean gradient at both ends of each interval.
        total = sum(
            (before[1] + after[1]) / 2 * (after[0] - before[0]) for before, after in itertools.pairwise(points)
        )
        return as_map(to_image(layer, torch.as_tensor(total)))
