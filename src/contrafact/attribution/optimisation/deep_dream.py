from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from contrafact.attribution.optimisation.ascent import (
    GreyLevels,
    Objective,
    as_counterfactual,
    for_each_image,
    objective_of,
)
from contrafact.core import EXPLAINERS, Counterfactual, InputError, Question


@EXPLAINERS.register("deep-dream", aliases=("deepdream", "deep_dream"))
@dataclass(frozen=True, slots=True, kw_only=True)
class DeepDream:
    """Show the image with the patterns amplified that a layer detects in it, from coarse to fine.

    images  float32 (N, C, *S), any units
    gives   a `Counterfactual` per image, from the image to the amplified image; scores are the mean square of
            the layer's activations, the filter's mean, or the target
    cost    `octaves` x `iterations` forward and backward passes per image
    raises  UnsupportedError without gradients; InputError for an unknown layer or filter
    Source: Mordvintsev et al. 2015 (Inceptionism, research.google). Differs: starts from the image, in any
    number of axes; only the gradient is smoothed from coarse to fine, so that the image always has the size
    the network expects.

    layer, channel  layer and filter to amplify; without a layer: the target
    octaves         levels from coarse to fine; each halves the smoothing
    rate            step size, as a share of the grey-level range
    iterations      steps of gradient ascent in each octave
    """

    needs_gradients: ClassVar[bool] = True
    picture: ClassVar[bool] = True
    layer: str | None = None
    channel: int | None = None
    octaves: int = 3
    iterations: int = 12
    rate: float = 0.01

    def __post_init__(self) -> None:
        if self.octaves < 1 or self.iterations < 1:
            raise InputError(
                f"expected at least 1 octave and 1 iteration; got {self.octaves}, {self.iterations}"
            )

    def __call__(self, question: Question, rng: np.random.Generator) -> Sequence[Counterfactual]:
        objective = objective_of(question, self.layer, self.channel, "deep-dream")

        def optimised(image: Tensor, image_rng: np.random.Generator) -> Counterfactual:
            frames = self._dream(objective, image, GreyLevels.of(question, image), image_rng)
            return as_counterfactual(question, frames, objective)

        return for_each_image(question, rng, optimised)

    def _dream(
        self, objective: Objective, image: Tensor, levels: GreyLevels, rng: np.random.Generator
    ) -> list[Tensor]:
        """Return frames (C, *S) of the gradient ascent, the image first."""
        low, high = min(levels.low, float(image.min())), max(levels.high, float(image.max()))
        frames, axes = [image], tuple(range(1, image.ndim))
        for octave in reversed(range(self.octaves)):
            for step in range(self.iterations):
                shift = [int(rng.integers(-4, 5)) for _ in axes]
                rolled = image.roll(shift, axes)[None].detach().requires_grad_()
                with torch.enable_grad():
                    (slope,) = torch.autograd.grad(objective(rolled), rolled)
                slope = _coarse(slope, 2**octave)[0].roll([-s for s in shift], axes)
                # Every step has the same mean size; without a gradient the image does not change.
                size = slope.abs().mean()
                image = (image + self.rate * levels.size() * slope / size.clamp_min(1e-12)).clamp(low, high)
                if step == self.iterations // 2 or step == self.iterations - 1:
                    frames.append(image)
        return frames


def _coarse(slope: Tensor, factor: int) -> Tensor:
    """Return a gradient (1, C, *S) smoothed over `factor` voxels."""
    if factor == 1 or min(slope.shape[2:]) < factor:
        return slope
    pool = F.avg_pool2d if slope.ndim == 4 else F.avg_pool3d
    mode = "bilinear" if slope.ndim == 4 else "trilinear"
    return F.interpolate(pool(slope, factor), slope.shape[2:], mode=mode)
