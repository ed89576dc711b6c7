from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from contrafact.attribution.gradients import (
    activations_at,
    feature_layer,
    layer_map,
    needs_gradients,
    watchable,
)
from contrafact.attribution.optimisation.ascent import (
    GreyLevels,
    Spectrum,
    as_counterfactual,
    climb,
    for_each_image,
    roughness,
)
from contrafact.core import EXPLAINERS, Counterfactual, InputError, Question


@EXPLAINERS.register("feature-inversion", aliases=("inverted-representation", "feature_inversion"))
@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureInversion:
    """Show which image content a layer preserves: an image, optimised from grey, with the same activations.

    images  float32 (N, C, *S), any units
    gives   a `Counterfactual` per image, from grey to the optimised image; scores are the share of the
            variance of the layer's activations that the optimised image reproduces (1: identical). Detail
            that is missing in the optimised image is not needed for these activations
    cost    `iterations` forward and backward passes per image
    raises  UnsupportedError without gradients or layers that can be read; InputError for an unknown layer
    Source: Mahendran & Vedaldi 2015 (arXiv 1412.0035), eq. 1 and 2. Differs: Fourier parameterisation, any
    number of axes; the norm of the image is replaced by the model's window.

    layer       name of the layer; None: the last feature map through which all of the output passes
    smooth      weight of the differences between neighbouring voxels
    iterations  steps of gradient ascent
    rate        step size
    """

    needs_gradients: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    picture: ClassVar[bool] = True
    layer: str | None = None
    iterations: int = 200
    rate: float = 0.05
    smooth: float = 0.05

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.smooth < 0:
            raise InputError(
                f"expected at least 1 iteration and smooth of 0 or more; got {self.iterations}, {self.smooth}"
            )

    def __call__(self, question: Question, rng: np.random.Generator) -> Sequence[Counterfactual]:
        needs_gradients(question, "feature-inversion")
        predictor = watchable(question, "feature-inversion")
        layer = feature_layer(question, self.layer, "feature-inversion")

        def optimised(image: Tensor, image_rng: np.random.Generator) -> Counterfactual:
            wanted = activations_at(predictor, image[None], layer)
            spread = (wanted - wanted.mean()).square().mean().clamp_min(1e-12)

            def similarity(picture: Tensor) -> Tensor:
                maps = layer_map(predictor, picture, layer)
                return 1 - (maps - wanted).square().mean() / spread

            levels = GreyLevels.of(question, image)
            spectrum = Spectrum(image.shape, levels, image.device)
            frames = climb(
                spectrum.start(image_rng),
                spectrum.render,
                similarity,
                iterations=self.iterations,
                rate=self.rate,
                penalty=lambda picture: self.smooth * roughness(picture) / levels.size(),
            )
            return as_counterfactual(question, frames, similarity)

        return for_each_image(question, rng, optimised)
