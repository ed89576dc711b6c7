from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from contrafact.attribution.cam.class_activation import cam_map, x_grad_cam
from contrafact.core import EXPLAINERS, Question


@EXPLAINERS.register("xgradcam", aliases=("xgrad-cam",))
@dataclass(frozen=True, slots=True, kw_only=True)
class XGradCAM:
    """Show evidence for and against the prediction: feature maps weighted by gradients where active.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), linearly interpolated from the layer; signed, in target units; the weights make
            the sum of the map as close as possible to the score
    cost    one forward pass, and a backward pass that stops at the layer
    raises  UnsupportedError without gradients or without a layer that has a spatial map;
            InputError for an unknown layer, with the nearest name
    Source: Fu et al. 2020 (arXiv 2008.02312), eq. 7. Differs: no ReLU, no rescaling, any number of spatial
    axes.

    layer   name of the layer; None: the last feature map through which all of the output passes
    """

    needs_gradients: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    layer: str | None = None

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        return cam_map(question, self.layer, "xgradcam", x_grad_cam)
