from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from contrafact.attribution.cam.class_activation import cam_map, grad_cam_plus_plus
from contrafact.core import EXPLAINERS, Question


@EXPLAINERS.register("gradcam++", aliases=("grad-cam++", "gradcam-plus-plus"))
@dataclass(frozen=True, slots=True, kw_only=True)
class GradCAMPlusPlus:
    """Show evidence for the prediction like Grad-CAM, with weights that favour several small regions.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), linearly interpolated from the layer; the weights are not negative, but the
            activations may be; no unit
    cost    one forward pass, and a backward pass that stops at the layer
    raises  UnsupportedError without gradients or without a layer that has a spatial map;
            InputError for an unknown layer, with the nearest name
    Source: Chattopadhyay et al. 2018 (arXiv 1710.11063), eq. 19. Differs: no ReLU of the map, no rescaling,
    any number of spatial axes.

    layer   name of the layer; None: the last feature map through which all of the output passes
    """

    needs_gradients: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    layer: str | None = None

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        return cam_map(question, self.layer, "gradcam++", grad_cam_plus_plus)
