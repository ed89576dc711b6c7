"""Pictures that a network asks for: what the methods share that change pixels by gradient ascent.

Each draws an image from parameters (pixels, or a spectrum), asks an objective of the network, and climbs.
The way is kept as a `Counterfactual`: a few frames, and what the network said of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from contrafact.attribution.gradients import chosen_filter, layer_map, needs_gradients, score, watchable
from contrafact.core import Counterfactual, Question

Draw = Callable[[Tensor], Tensor]
Objective = Callable[[Tensor], Tensor]
FRAMES = 7


@dataclass(frozen=True, slots=True)
class Reach:
    """The grey levels a picture may take: those the model declares, or those of the image."""

    low: float
    high: float

    @staticmethod
    def of(question: Question, image: Tensor) -> Reach:
        window = getattr(getattr(question.predictor, "preprocessing", None), "window", None)
        low, high = window or (float(image.min()), float(image.max()))
        return Reach(low, max(high, low + 1e-6))

    def grey(self) -> float:
        return (self.low + self.high) / 2

    def size(self) -> float:
        return self.high - self.low


def objective_of(question: Question, layer: str | None, channel: int | None, method: str) -> Objective:
    """Images (1, C, *S) to one number: the mean of a filter's activations (of all filters, squared, where
    none is named); without a layer, the target."""
    needs_gradients(question, method)
    if layer is None:
        return lambda images: score(question, question.predictor(images)).sum()
    predictor = watchable(question, method)

    def ask(images: Tensor) -> Tensor:
        found = layer_map(predictor, images, predictor.feature_layer(images, layer))
        return found.square().mean() if channel is None else chosen_filter(found, channel).mean()

    return ask


def climb(
    start: Tensor,
    draw: Draw,
    objective: Objective,
    *,
    iterations: int,
    rate: float,
    change: Callable[[Tensor], Tensor] = lambda images: images,
    penalty: Callable[[Tensor], Tensor] | None = None,
) -> list[Tensor]:
    """Frames (C, *S) from `start` to the end of the way, by Adam on the parameters.

    draw     parameters to an image (C, *S); change: that image (1, C, *S) before the network sees it
    penalty  what is taken off the objective, of the image (C, *S)
    """
    parameters = start.detach().clone().requires_grad_()
    adam = torch.optim.Adam([parameters], lr=rate)
    keep = {round(k) for k in np.linspace(0, iterations, FRAMES)}
    frames = []
    for step in range(iterations + 1):
        with torch.enable_grad():
            image = draw(parameters)
            if step in keep:
                frames.append(image.detach().clone())
            if step == iterations:
                return frames
            loss = -objective(change(image[None]))
            if penalty is not None:
                loss = loss + penalty(image)
            (parameters.grad,) = torch.autograd.grad(loss, [parameters])
        adam.step()
    return frames


def steepness(start: Tensor, ask: Objective) -> float:
    """Sum of the sizes of an objective's slopes at `start`; 1 where it has none."""
    with torch.enable_grad():
        values = start.detach().requires_grad_()
        (slope,) = torch.autograd.grad(ask(values), values)
    return float(slope.abs().sum()) or 1.0


def as_strip(question: Question, frames: Sequence[Tensor], objective: Objective) -> Counterfactual:
    """Frames with the objective measured on each: `steps` say by how much it has changed, `lengths` by how
    many standard deviations of the first frame the picture has moved."""
    with torch.enable_grad():  # an objective may insist on a gradient
        scores = np.array([objective(frame[None].requires_grad_()).item() for frame in frames])
    stack = torch.stack(list(frames)).float().cpu().numpy()
    moved = np.sqrt(np.square(stack - stack[0]).reshape(len(stack), -1).mean(axis=1))
    return Counterfactual(
        frames=stack,
        steps=scores - scores[0],
        scores=scores,
        lengths=moved / max(float(stack[0].std()), 1e-6),
        origin=0,
        drift=0.0,
        drifted=False,
        stopped="steps" if np.ptp(scores) > 0 else "no_change",
        goal=None,
        reconstruction=stack[-1],
        grid=question.grid,
    )


def noise_like(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Standard normal values of an image's shape, the same on every device."""
    return torch.from_numpy(rng.standard_normal(tuple(image.shape), dtype=np.float32)).to(image)


class Spectrum:
    """An image drawn from its Fourier coefficients, high frequencies held back: (C, *S) through a
    sigmoid into a reach. Any number of axes."""

    def __init__(self, shape: Sequence[int], reach: Reach, device: Any) -> None:
        self.size, self.reach = tuple(shape[1:]), reach
        waves: Tensor = torch.zeros((), device=device)
        for axis, side in enumerate(self.size):
            last = axis == len(self.size) - 1
            one = torch.fft.rfftfreq(side, device=device) if last else torch.fft.fftfreq(side, device=device)
            waves = waves + one.square().reshape([-1 if i == axis else 1 for i in range(len(self.size))])
        # 1 / f, as in natural images; the mean is as free as the slowest wave.
        self.scale = 1 / waves.sqrt().clamp_min(1 / max(self.size))
        self.shape = (shape[0], *self.scale.shape, 2)

    def start(self, rng: np.random.Generator) -> Tensor:
        return 0.01 * torch.from_numpy(rng.standard_normal(self.shape, dtype=np.float32)).to(self.scale)

    def draw(self, parameters: Tensor) -> Tensor:
        waves = torch.view_as_complex(parameters) * self.scale
        axes = tuple(range(1, len(self.size) + 1))
        values = torch.fft.irfftn(waves, s=self.size, dim=axes) * math.sqrt(math.prod(self.size)) / 4
        return self.reach.low + self.reach.size() * torch.sigmoid(values)


def shaken(rng: np.random.Generator, *, turn: float = 0.09, scale: float = 0.1, shift: float = 0.1) -> Draw:
    """Images (1, C, *S) turned (radians), scaled and shifted (share of the side) at random, anew each call:
    a picture that pleases the network only at one place, to the pixel, is noise."""

    def change(images: Tensor) -> Tensor:
        axes = images.ndim - 2
        matrix = np.eye(axes) * rng.uniform(1 - scale, 1 + scale)
        for first in range(axes - 1):
            for second in range(first + 1, axes):
                angle, plane = rng.uniform(-turn, turn), np.eye(axes)
                plane[[first, second], [first, second]] = math.cos(angle)
                plane[first, second], plane[second, first] = -math.sin(angle), math.sin(angle)
                matrix = matrix @ plane
        move = rng.uniform(-2 * shift, 2 * shift, size=(axes, 1))
        theta = torch.as_tensor(np.hstack([matrix, move]), dtype=images.dtype, device=images.device)
        grid = F.affine_grid(theta[None], list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    return change


def roughness(image: Tensor) -> Tensor:
    """Mean absolute difference of neighbours of (C, *S), over every axis (total variation per voxel)."""
    return torch.stack([image.diff(dim=axis).abs().mean() for axis in range(1, image.ndim)]).sum()


def as_strips(
    question: Question, rng: np.random.Generator, one: Callable[[Tensor, np.random.Generator], Counterfactual]
) -> list[Counterfactual]:
    """`one` of every image, each with the same draws: a strip does not depend on its neighbours."""
    seed = int(rng.integers(2**62))
    device = getattr(question.predictor, "device", "cpu")
    images: NDArray[np.float32] = question.images
    return [one(torch.as_tensor(image).to(device), np.random.default_rng(seed)) for image in images]
