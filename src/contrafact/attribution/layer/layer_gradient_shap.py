from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.attribution.gradients import activations_at, as_map, feature_layer, layer_at, needs_gradients
from contrafact.attribution.layer.layer_path import to_image
from contrafact.core import EXPLAINERS, InputError, Question
from contrafact.perturbation.fill import fill_values


@EXPLAINERS.register("layer-gradient-shap", aliases=("layer_gradient_shap", "layer-grad-shap"))
@dataclass(frozen=True, slots=True, kw_only=True)
class LayerGradientSHAP:
    """Show the contribution of each position of a layer to the change from baselines, at random points.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), target units per layer position, summed over filters and linearly
            interpolated; signed
    cost    `samples` forward and backward passes per image, and one forward pass for the image and
            each baseline
    raises  UnsupportedError without gradients or without a layer with a spatial map; InputError for fewer
            than 1 sample or baseline
    Source: Lundberg & Lee 2017 (arXiv 1705.07874), as gradient SHAP. Differs: several baselines, never
    the image itself; interpolated to the image's grid.

    layer      name of the layer; None: the last feature map through which all of the output passes
    baselines  fills to sample from: "mean", "min", "blur" or numbers in image units
    samples    random points
    """

    needs_gradients: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    sampled: ClassVar[bool] = True
    layer: str | None = None
    samples: int = 32
    baselines: tuple[str | float, ...] = ("min", "mean", "blur")

    def __post_init__(self) -> None:
        if self.samples < 1 or not self.baselines:
            raise InputError(
                f"expected at least 1 sample and 1 baseline; got {self.samples}, {len(self.baselines)}"
            )

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        name = "layer-gradient-shap"
        predictor = needs_gradients(question, name)
        images = torch.as_tensor(question.images).to(predictor.device)
        layer = feature_layer(question, self.layer, name)
        fills = [fill_values(images, fill) for fill in self.baselines]
        end = activations_at(predictor, images, layer)
        starts = [activations_at(predictor, fill, layer) for fill in fills]
        shares = (np.arange(self.samples) + rng.random(self.samples)) / self.samples
        total = torch.zeros_like(end)
        for share, pick in zip(shares, rng.permutation(self.samples) % len(fills), strict=True):
            between = fills[pick] + float(share) * (images - fills[pick])
            total += layer_at(question, between, layer)[1] * (end - starts[pick])
        return as_map(to_image(layer, total / self.samples))
