from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from contrafact.attribution.optimisation.ascent import (
    GreyLevels,
    Spectrum,
    as_counterfactual,
    climb,
    for_each_image,
    objective_of,
    random_transform,
)
from contrafact.core import EXPLAINERS, Counterfactual, InputError, Question


@EXPLAINERS.register("feature-visualisation", aliases=("feature-visualization", "lucent"))
@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureVisualisation:
    """Show a synthetic image that maximises a filter or the output, stable under small rotations and shifts.

    images  (N, C, *S): only their size and grey levels are used
    gives   a `Counterfactual` per image, from grey to the optimised image; scores are the filter's mean
            activation or the target, without random transforms
    cost    `iterations` forward and backward passes per image
    raises  UnsupportedError without gradients; InputError for an unknown layer or filter
    Source: Olah et al. 2017 (doi 10.23915/distill.00007), Fourier parameterisation and transformation
    robustness. Differs: any number of axes, so that volumes are rotated and scaled in three planes; any
    channels; colours are not decorrelated, because medical channels are not colours.

    layer, channel  layer and number of the filter; without a layer: the target
    shake           size of the random transforms, 0 to 1 (1: rotation by at most 5 degrees, scaling by a
                    tenth, a shift by a tenth of the side)
    iterations      steps of gradient ascent
    rate            step size
    """

    needs_gradients: ClassVar[bool] = True
    picture: ClassVar[bool] = True
    layer: str | None = None
    channel: int | None = None
    iterations: int = 128
    rate: float = 0.05
    shake: float = 1.0

    def __post_init__(self) -> None:
        if self.iterations < 1 or not 0 <= self.shake <= 1:
            raise InputError(
                f"expected at least 1 iteration and shake of 0 to 1; got {self.iterations}, {self.shake}"
            )

    def __call__(self, question: Question, rng: np.random.Generator) -> Sequence[Counterfactual]:
        objective = objective_of(question, self.layer, self.channel, "feature-visualisation")

        def optimised(image: Tensor, image_rng: np.random.Generator) -> Counterfactual:
            spectrum = Spectrum(image.shape, GreyLevels.of(question, image), image.device)
            frames = climb(
                spectrum.start(image_rng),
                spectrum.render,
                objective,
                iterations=self.iterations,
                rate=self.rate,
                change=random_transform(
                    image_rng, turn=0.09 * self.shake, scale=0.1 * self.shake, shift=0.1 * self.shake
                ),
            )
            return as_counterfactual(question, frames, objective)

        return for_each_image(question, rng, optimised)
