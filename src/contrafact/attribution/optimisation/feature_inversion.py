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
from contrafact.attribution.optimisation.ascent import Reach, Spectrum, as_strip, as_strips, climb, roughness
from contrafact.core import EXPLAINERS, Counterfactual, InputError, Question


@EXPLAINERS.register("feature-inversion", aliases=("inverted-representation", "feature_inversion"))
@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureInversion:
    """What a layer still knows of the image: the picture, from grey, that gives the same activations.

    images  float32 (N, C, *S), any units
    gives   a `Counterfactual` per image: from grey to the picture; scores are the share of the layer's
            activations that is explained (1: the same), so that what the picture lacks, the layer threw away
    cost    `iterations` forward and backward passes per image
    raises  UnsupportedError without gradients or for a hidden layer; InputError for an unknown layer
    Source: Mahendran & Vedaldi 2015 (arXiv 1412.0035), eq. 1 and 2. Differs: drawn by its waves, any
    number of axes; the norm of the image is replaced by the model's window.

    layer       name of the layer; None: the last feature map through which all of the output passes
    smooth      weight of neighbours' differences
    iterations  steps of gradient descent
    rate        of a step
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
            raise InputError(f"iterations must be at least 1, smooth 0; got {self.iterations}, {self.smooth}")

    def __call__(self, question: Question, rng: np.random.Generator) -> Sequence[Counterfactual]:
        needs_gradients(question, "feature-inversion")
        predictor = watchable(question, "feature-inversion")
        layer = feature_layer(question, self.layer, "feature-inversion")

        def one(image: Tensor, draws: np.random.Generator) -> Counterfactual:
            wanted = activations_at(predictor, image[None], layer)
            spread = (wanted - wanted.mean()).square().mean().clamp_min(1e-12)

            def likeness(picture: Tensor) -> Tensor:
                found = layer_map(predictor, picture, layer)
                return 1 - (found - wanted).square().mean() / spread

            reach = Reach.of(question, image)
            waves = Spectrum(image.shape, reach, image.device)
            frames = climb(
                waves.start(draws),
                waves.draw,
                likeness,
                iterations=self.iterations,
                rate=self.rate,
                penalty=lambda picture: self.smooth * roughness(picture) / reach.size(),
            )
            return as_strip(question, frames, likeness)

        return as_strips(question, rng, one)
