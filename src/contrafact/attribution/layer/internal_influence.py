from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.attribution.gradients import as_map
from contrafact.attribution.layer.layer_path import along, to_image
from contrafact.core import EXPLAINERS, InputError, Question


@EXPLAINERS.register("internal-influence", aliases=("internal_influence",))
@dataclass(frozen=True, slots=True, kw_only=True)
class InternalInfluence:
    """Show how strongly each position of a layer influences the output, averaged along a path to the image.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), target units per unit of the layer, summed over filters and linearly
            interpolated; signed
    cost    `steps` forward and backward passes per image
    raises  UnsupportedError without gradients or without a layer with a spatial map; InputError for
            fewer than 1 step
    Source: Leino et al. 2018 (arXiv 1802.03788), definition 1, with the path of integrated gradients as
    the distribution of interest. Differs: interpolated to the image's grid.

    layer     name of the layer; None: the last feature map through which all of the output passes
    steps     points of the path, at the midpoints of equal intervals
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
        shares = ((np.arange(self.steps) + 0.5) / self.steps).tolist()
        layer, points = along(question, self.baseline, shares, self.layer, "internal-influence")
        mean = torch.stack([slopes for _, slopes in points]).mean(dim=0)
        return as_map(to_image(layer, mean))
