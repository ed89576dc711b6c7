from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from contrafact.attribution.optimisation.ascent import Objective, Reach, as_strip, as_strips, objective_of
from contrafact.core import EXPLAINERS, Counterfactual, InputError, Question


@EXPLAINERS.register("deep-dream", aliases=("deepdream", "deep_dream"))
@dataclass(frozen=True, slots=True, kw_only=True)
class DeepDream:
    """The patient's own image, with what a layer sees in it made stronger, from coarse to fine.

    images  float32 (N, C, *S), any units
    gives   a `Counterfactual` per image: from the image to the dream; scores are the mean square of the layer's
            activations, the filter's mean, or the target
    cost    `octaves` x `iterations` forward and backward passes per image
    raises  UnsupportedError without gradients; InputError for an unknown layer or filter
    Source: Mordvintsev et al. 2015 (Inceptionism, research.google). Differs: starts from the image, in any
    number of axes; only the gradient is smoothed from coarse to fine, so the network always sees its own
    size.

    layer, channel  what is made stronger; no layer: the target
    octaves         levels from coarse to fine; each halves the smoothing
    rate            of a step, as a share of the grey levels
    iterations      steps of gradient ascent on each octave
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
            raise InputError(f"expected 1 octave and iteration or more; got {self.octaves}, {self.iterations}")

    def __call__(self, question: Question, rng: np.random.Generator) -> Sequence[Counterfactual]:
        ask = objective_of(question, self.layer, self.channel, "deep-dream")

        def one(image: Tensor, draws: np.random.Generator) -> Counterfactual:
            frames = self._dream(ask, image, Reach.of(question, image), draws)
            return as_strip(question, frames, ask)

        return as_strips(question, rng, one)

    def _dream(self, ask: Objective, image: Tensor, reach: Reach, rng: np.random.Generator) -> list[Tensor]:
        low, high = min(reach.low, float(image.min())), max(reach.high, float(image.max()))
        frames, axes = [image], tuple(range(1, image.ndim))
        for octave in reversed(range(self.octaves)):
            for step in range(self.iterations):
                shift = [int(rng.integers(-4, 5)) for _ in axes]
                rolled = image.roll(shift, axes)[None].detach().requires_grad_()
                with torch.enable_grad():
                    (slope,) = torch.autograd.grad(ask(rolled), rolled)
                slope = _coarse(slope, 2**octave)[0].roll([-s for s in shift], axes)
                # A step has a fixed size; where the network does not answer there is none.
                size = slope.abs().mean()
                image = (image + self.rate * reach.size() * slope / size.clamp_min(1e-12)).clamp(low, high)
                if step == self.iterations // 2 or step == self.iterations - 1:
                    frames.append(image)
        return frames


def _coarse(slope: Tensor, factor: int) -> Tensor:
    """Only the waves longer than `factor` voxels, of (1, C, *S)."""
    if factor == 1 or min(slope.shape[2:]) < factor:
        return slope
    pool = F.avg_pool2d if slope.ndim == 4 else F.avg_pool3d
    mode = "bilinear" if slope.ndim == 4 else "trilinear"
    return F.interpolate(pool(slope, factor), slope.shape[2:], mode=mode)
