from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from contrafact.attribution.cam.class_activation import cam_map, eigen_cam
from contrafact.core import EXPLAINERS, Question


@EXPLAINERS.register("eigencam", aliases=("eigen-cam",))
@dataclass(frozen=True, slots=True, kw_only=True)
class EigenCAM:
    """Show the main spatial pattern in a layer's gradient times activation.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), linearly interpolated from the layer; its sign agrees with the sum over
            channels; no unit
    cost    one forward pass, and a backward pass that stops at the layer
    raises  UnsupportedError without gradients or without a layer that has a spatial map;
            InputError for an unknown layer, with the nearest name
    Source: Muhammad & Yeasin 2020 (arXiv 2008.00299). Differs: gradient times activation, so that the map
    depends on the target; any number of spatial axes.

    layer   name of the layer; None: the last feature map through which all of the output passes
    """

    needs_gradients: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    layer: str | None = None

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        return cam_map(question, self.layer, "eigencam", eigen_cam)
