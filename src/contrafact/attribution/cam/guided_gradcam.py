from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from contrafact.attribution.cam.class_activation import cam_map, grad_cam
from contrafact.attribution.gradient.rectified import rectified_slopes
from contrafact.attribution.gradients import as_map
from contrafact.core import EXPLAINERS, Question


@EXPLAINERS.register("guided-gradcam", aliases=("guided-grad-cam", "guided_grad_cam"))
@dataclass(frozen=True, slots=True, kw_only=True)
class GuidedGradCAM:
    """Show the fine image detail inside regions of positive Grad-CAM, by guided backpropagation.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), summed over channels; no unit. Like guided backpropagation, it depends little
            on the trained weights
    cost    two forward and two backward passes per image
    raises  UnsupportedError without gradients, without a ReLU, or without a layer with a spatial map
    Source: Selvaraju et al. 2017 (arXiv 1610.02391), sec. 3.2. Differs: any number of spatial axes.

    layer   name of the layer for Grad-CAM; None: the default of gradcam
    """

    needs_gradients: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    layer: str | None = None

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        where = np.maximum(cam_map(question, self.layer, "guided-gradcam", grad_cam), 0)
        slopes = rectified_slopes(question, "guided-gradcam", lambda inner, _: inner.clamp_min(0))
        return where * as_map(slopes.sum(dim=1))
