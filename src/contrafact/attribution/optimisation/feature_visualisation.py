from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from contrafact.attribution.optimisation.ascent import (
    Reach,
    Spectrum,
    as_strip,
    as_strips,
    climb,
    objective_of,
    shaken,
)
from contrafact.core import EXPLAINERS, Counterfactual, InputError, Question


@EXPLAINERS.register("feature-visualisation", aliases=("feature-visualization", "lucent"))
@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureVisualisation:
    """What a filter, or a class, looks for: a picture drawn by its waves, that stands shaking.

    images  (N, C, *S): only their size and grey levels matter
    gives   a `Counterfactual` per image: from grey to the picture; scores are the filter's mean activation or
            the target, unshaken
    cost    `iterations` forward and backward passes per image
    raises  UnsupportedError without gradients; InputError for an unknown layer or filter
    Source: Olah et al. 2017 (doi 10.23915/distill.00007), Fourier parameterisation and transformation
    robustness. Differs: any number of axes, so volumes are turned and scaled in three planes; any
    channels; colours are not decorrelated, since medical channels are not colours.

    layer, channel  the filter; None: the target
    shake           how far the picture is turned, scaled and shifted at most, 0 to 1 (1: 5 degrees, a
                    tenth, a tenth of the side)
    iterations      steps of gradient ascent
    rate            of a step
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
                f"iterations must be at least 1, shake 0 to 1; got {self.iterations}, {self.shake}"
            )

    def __call__(self, question: Question, rng: np.random.Generator) -> Sequence[Counterfactual]:
        ask = objective_of(question, self.layer, self.channel, "feature-visualisation")

        def one(image: Tensor, draws: np.random.Generator) -> Counterfactual:
            waves = Spectrum(image.shape, Reach.of(question, image), image.device)
            move = shaken(draws, turn=0.09 * self.shake, scale=0.1 * self.shake, shift=0.1 * self.shake)
            frames = climb(
                waves.start(draws), waves.draw, ask, iterations=self.iterations, rate=self.rate, change=move
            )
            return as_strip(question, frames, ask)

        return as_strips(question, rng, one)
