from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.attribution.gradients import as_map, feature_layer, needs_gradients
from contrafact.attribution.layer.layer_path import to_image
from contrafact.attribution.relevance.rescale import layer_deeplift
from contrafact.core import EXPLAINERS, Question
from contrafact.perturbation.fill import fill_values


@EXPLAINERS.register("layer-deeplift", aliases=("layer-deep-lift",))
@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDeepLIFT:
    """Show the contribution of each position of a layer to the output's change from a baseline (DeepLIFT).

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), target units per layer position, summed over filters and linearly interpolated;
            before interpolation it sums to f(image) - f(baseline) if the target depends on the image only
            through the layer
    cost    two forward and two backward passes of the image and its baseline
    raises  UnsupportedError as DeepLIFT, or without a layer with a spatial map
    Source: Shrikumar et al. 2017 (arXiv 1704.02685), rescale rule; computed by captum. Differs: as DeepLIFT;
    interpolated to the image's grid.

    layer     name of the layer; None: the last feature map through which all of the output passes
    baseline  "mean" (of the image), "min", "blur" or a number in image units
    """

    needs_gradients: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    layer: str | None = None
    baseline: str | float = "min"

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        predictor = needs_gradients(question, "layer-deeplift")
        images = torch.as_tensor(question.images).to(predictor.device)
        start = fill_values(images, self.baseline)
        layer = feature_layer(question, self.layer, "layer-deeplift", module=True)
        return as_map(to_image(layer, layer_deeplift(question, images, start, layer, "layer-deeplift")))
