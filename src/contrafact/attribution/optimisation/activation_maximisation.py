from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from contrafact.attribution.optimisation.ascent import (
    GreyLevels,
    as_counterfactual,
    climb,
    for_each_image,
    gradient_size,
    noise_like,
    objective_of,
    roughness,
)
from contrafact.core import EXPLAINERS, Counterfactual, InputError, Question


@EXPLAINERS.register("activation-maximisation", aliases=("activation-maximization", "class-image"))
@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationMaximisation:
    """Show a synthetic image that maximises one filter or the output, optimised from noise.

    images  (N, C, *S): only their size and grey levels are used
    gives   a `Counterfactual` per image, from noise to the optimised image; scores are the filter's mean
            activation, or the target (class-specific image generation)
    cost    `iterations` forward and backward passes per image
    raises  UnsupportedError without gradients; InputError for an unknown layer or filter
    Source: Erhan et al. 2009 (Univ. Montreal TR 1341); for a class Simonyan et al. 2013 (arXiv
    1312.6034), sec. 2, and with total variation Mahendran & Vedaldi 2016 (arXiv 1512.02017). Differs:
    any number of axes; grey levels stay within the model's window.

    layer       layer whose filters are maximised; None: maximise the target
    channel     number of the filter; None with a layer: all filters
    weight      weight of the squared difference from mid-grey; `weight` and `smooth` of 0 switch off the
                regularisation. Relative to the size of the objective's gradient, so that a filter and a
                class get the same regularisation
    rate        step size, as a share of the grey-level range
    iterations  steps of gradient ascent
    smooth      weight of the differences between neighbouring voxels
    """

    needs_gradients: ClassVar[bool] = True
    picture: ClassVar[bool] = True
    layer: str | None = None
    channel: int | None = None
    iterations: int = 128
    rate: float = 0.02
    weight: float = 0.5
    smooth: float = 0.5

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.rate <= 0:
            raise InputError(
                f"expected at least 1 iteration and a rate above 0; got {self.iterations}, {self.rate}"
            )

    def __call__(self, question: Question, rng: np.random.Generator) -> Sequence[Counterfactual]:
        objective = objective_of(question, self.layer, self.channel, "activation-maximisation")

        def optimised(image: Tensor, image_rng: np.random.Generator) -> Counterfactual:
            levels = GreyLevels.of(question, image)

            def render(values: Tensor) -> Tensor:
                return (levels.grey() + levels.size() * values).clamp(levels.low, levels.high)

            def penalty(picture: Tensor) -> Tensor:
                values = (picture - levels.grey()) / levels.size()
                return self.weight * values.square().mean() + self.smooth * roughness(values)

            start = 0.05 * noise_like(image, image_rng)
            size = gradient_size(start, lambda values: objective(render(values)[None]))
            frames = climb(
                start,
                render,
                lambda pictures: objective(pictures) / size,
                iterations=self.iterations,
                rate=self.rate,
                penalty=penalty,
            )
            return as_counterfactual(question, frames, objective)

        return for_each_image(question, rng, optimised)
