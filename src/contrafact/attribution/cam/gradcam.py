from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from contrafact.attribution.cam.class_activation import cam_map, grad_cam
from contrafact.core import EXPLAINERS, Question


@EXPLAINERS.register("gradcam", aliases=("grad-cam",))
@dataclass(frozen=True, slots=True, kw_only=True)
class GradCAM:
    """Show evidence for and against the prediction: feature maps weighted by their mean gradient.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), linearly interpolated from the layer; signed: negative values are evidence
            against the target. Units: target units per layer position (gradient times activation)
    cost    one forward pass, and a backward pass that stops at the layer
    raises  UnsupportedError without gradients or without a layer that has a spatial map;
            InputError for an unknown layer, with the nearest name
    Source: Selvaraju et al. 2017 (arXiv 1610.02391), eq. 1 and 2. Differs: no ReLU, no rescaling, any
    number of spatial axes, the whole batch in one pass.

    layer   name of the layer; None: the last feature map through which all of the output passes
    """

    needs_gradients: ClassVar[bool] = True
    live: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    layer: str | None = None

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        return cam_map(question, self.layer, "gradcam", grad_cam)
