from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from contrafact.attribution.cam.class_activation import cam_map, hires_cam
from contrafact.core import EXPLAINERS, Question


@EXPLAINERS.register("hirescam", aliases=("hires-cam", "layer-gradient-x-activation", "linear-approximation"))
@dataclass(frozen=True, slots=True, kw_only=True)
class HiResCAM:
    """Show the contribution of each position of a layer to the prediction: gradient times activation.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), linearly interpolated from the layer; signed, in target units; before
            interpolation it sums to the score (without biases) if only linear layers follow
    cost    one forward pass, and a backward pass that stops at the layer
    raises  UnsupportedError without gradients or without a layer that has a spatial map;
            InputError for an unknown layer, with the nearest name
    Source: Draelos & Carin 2020 (arXiv 2011.08891), eq. 5. Differs: no ReLU, any number of spatial axes.

    layer   name of the layer; None: the last feature map through which all of the output passes
    """

    needs_gradients: ClassVar[bool] = True
    live: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    layer: str | None = None

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        return cam_map(question, self.layer, "hirescam", hires_cam)
