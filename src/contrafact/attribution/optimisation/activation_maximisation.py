from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from contrafact.attribution.optimisation.ascent import (
    Reach,
    as_strip,
    as_strips,
    climb,
    noise_like,
    objective_of,
    roughness,
    steepness,
)
from contrafact.core import EXPLAINERS, Counterfactual, InputError, Question


@EXPLAINERS.register("activation-maximisation", aliases=("activation-maximization", "class-image"))
@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationMaximisation:
    """A picture, from noise, that drives one filter of a layer, or the target, as high as it goes.

    images  (N, C, *S): only their size and grey levels matter
    gives   a `Counterfactual` per image: from noise to the picture; scores are the filter's mean activation, or
            the target (class-specific image generation)
    cost    `iterations` forward and backward passes per image
    raises  UnsupportedError without gradients; InputError for an unknown layer or filter
    Source: Erhan et al. 2009 (Univ. Montreal TR 1341); for a class Simonyan et al. 2013 (arXiv
    1312.6034), sec. 2, and with total variation Mahendran & Vedaldi 2016 (arXiv 1512.02017). Differs:
    any number of axes; grey levels stay within the model's window.

    layer       its filters are driven; None: the target is
    channel     which filter; None with a layer: all of them
    weight      of the square of what departs from mid-grey, and smooth: of neighbours' differences;
                both 0 is generation without regularisation. In units of the objective's own slope, so
                that they weigh the same for a filter and a class
    rate        of a step, as a share of the grey levels
    iterations  steps of gradient ascent
    smooth      weight of the differences between neighbours
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
            raise InputError(f"expected iterations from 1 and rate above 0; got {self.iterations}, {self.rate}")

    def __call__(self, question: Question, rng: np.random.Generator) -> Sequence[Counterfactual]:
        ask = objective_of(question, self.layer, self.channel, "activation-maximisation")

        def one(image: Tensor, draws: np.random.Generator) -> Counterfactual:
            reach = Reach.of(question, image)

            def draw(values: Tensor) -> Tensor:
                return (reach.grey() + reach.size() * values).clamp(reach.low, reach.high)

            def penalty(picture: Tensor) -> Tensor:
                values = (picture - reach.grey()) / reach.size()
                return self.weight * values.square().mean() + self.smooth * roughness(values)

            start = 0.05 * noise_like(image, draws)
            size = steepness(start, lambda values: ask(draw(values)[None]))
            frames = climb(
                start,
                draw,
                lambda pictures: ask(pictures) / size,
                iterations=self.iterations,
                rate=self.rate,
                penalty=penalty,
            )
            return as_strip(question, frames, ask)

        return as_strips(question, rng, one)
