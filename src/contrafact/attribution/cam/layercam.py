from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from contrafact.attribution.cam.class_activation import cam_map, layer_cam
from contrafact.core import EXPLAINERS, Question


@EXPLAINERS.register("layercam", aliases=("layer-cam",))
@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCAM:
    """Show evidence for the prediction: activations weighted by their own positive gradients.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), linearly interpolated from the layer, also from early layers; only evidence
            for the target. Units: target units per layer position
    cost    one forward pass, and a backward pass that stops at the layer
    raises  UnsupportedError without gradients or without a layer that has a spatial map;
            InputError for an unknown layer, with the nearest name
    Source: Jiang et al. 2021 (IEEE TIP 30), eq. 5 and 6. Differs: no ReLU of the map, no rescaling, any
    number of spatial axes.

    layer   name of the layer; None: the last feature map through which all of the output passes
    """

    needs_gradients: ClassVar[bool] = True
    live: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    layer: str | None = None

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        return cam_map(question, self.layer, "layercam", layer_cam)
