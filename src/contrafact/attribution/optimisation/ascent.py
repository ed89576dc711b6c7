"""Gradient ascent on an image, shared by the methods that optimise an image for a network.

Each method computes an image from parameters (pixels, or a spectrum) and maximises an objective of the network.
The result is a `Counterfactual`: a few frames of the optimisation, and the objective of each.
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

Render = Callable[[Tensor], Tensor]
Objective = Callable[[Tensor], Tensor]
FRAMES = 7


@dataclass(frozen=True, slots=True)
class GreyLevels:
    """The range of grey levels of an optimised image: the window the model declares, or that of the image."""

    low: float
    high: float

    @staticmethod
    def of(question: Question, image: Tensor) -> GreyLevels:
        """Return the range for one image (C, *S)."""
        preprocessing = question.predictor.preprocessing
        window = None if preprocessing is None else preprocessing.window
        low, high = window or (float(image.min()), float(image.max()))
        return GreyLevels(low, max(high, low + 1e-6))

    def grey(self) -> float:
        """Return the middle of the range."""
        return (self.low + self.high) / 2

    def size(self) -> float:
        """Return the width of the range."""
        return self.high - self.low


def objective_of(question: Question, layer: str | None, channel: int | None, method: str) -> Objective:
    """Return the function of an image (1, C, *S) to maximise.

    With a layer and a channel it is the mean activation of that filter, with a layer alone the mean square of
    all activations, and without a layer the target.

    raises  UnsupportedError without gradients; InputError for an unknown layer or filter
    """
    needs_gradients(question, method)
    if layer is None:
        return lambda images: score(question, question.predictor(images)).sum()
    predictor = watchable(question, method)

    def activation(images: Tensor) -> Tensor:
        maps = layer_map(predictor, images, predictor.feature_layer(images, layer))
        return maps.square().mean() if channel is None else chosen_filter(maps, channel).mean()

    return activation


def climb(
    start: Tensor,
    render: Render,
    objective: Objective,
    *,
    iterations: int,
    rate: float,
    change: Callable[[Tensor], Tensor] = lambda images: images,
    penalty: Callable[[Tensor], Tensor] | None = None,
) -> list[Tensor]:
    """Return frames (C, *S) of the optimisation from `start`, by Adam on the parameters.

    render   function from parameters to an image (C, *S)
    change   transform of the image (1, C, *S) before the network sees it
    penalty  function of the image (C, *S) that is subtracted from the objective
    """
    parameters = start.detach().clone().requires_grad_()
    adam = torch.optim.Adam([parameters], lr=rate)
    keep = {round(k) for k in np.linspace(0, iterations, FRAMES)}
    frames = []
    for step in range(iterations + 1):
        with torch.enable_grad():
            image = render(parameters)
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


def gradient_size(start: Tensor, objective: Objective) -> float:
    """Return the sum of the absolute gradient of an objective at `start`, or 1 where the gradient is 0."""
    with torch.enable_grad():
        values = start.detach().requires_grad_()
        (slope,) = torch.autograd.grad(objective(values), values)
    return float(slope.abs().sum()) or 1.0


def as_counterfactual(question: Question, frames: Sequence[Tensor], objective: Objective) -> Counterfactual:
    """Return frames with the objective of each: `steps` is its change from the first frame, `lengths` the
    root-mean-square change of the image in standard deviations of the first frame."""
    with torch.enable_grad():  # an objective may require a gradient
        scores = np.array([objective(frame[None].requires_grad_()).item() for frame in frames])
    stack = torch.stack(list(frames)).float().cpu().numpy()
    moved = np.sqrt(np.square(stack - stack[0]).reshape(len(stack), -1).mean(axis=1))
    return Counterfactual(
        frames=stack,
        requested=scores - scores[0],
        scores=scores,
        latent_distance=moved / max(float(stack[0].std()), 1e-6),
        origin=0,
        reconstruction_error=0.0,
        above_tolerance=False,
        outcome="steps" if np.ptp(scores) > 0 else "no_change",
        goal=None,
        reconstruction=stack[-1],
        grid=question.grid,
    )


def noise_like(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Return standard normal values of an image's shape, the same on every device."""
    return torch.from_numpy(rng.standard_normal(tuple(image.shape), dtype=np.float32)).to(image)


class Spectrum:
    """An image (C, *S) parameterised by its Fourier coefficients, with damped high frequencies; a sigmoid maps
    it to a range of grey levels. Any number of axes."""

    def __init__(self, shape: Sequence[int], levels: GreyLevels, device: Any) -> None:
        self.size, self.levels = tuple(shape[1:]), levels
        waves: Tensor = torch.zeros((), device=device)
        for axis, side in enumerate(self.size):
            last = axis == len(self.size) - 1
            frequencies = (torch.fft.rfftfreq if last else torch.fft.fftfreq)(side, device=device)
            shape_of_axis = [-1 if i == axis else 1 for i in range(len(self.size))]
            waves = waves + frequencies.square().reshape(shape_of_axis)
        # 1 / f, as in natural images; the mean gets the weight of the lowest frequency.
        self.scale = 1 / waves.sqrt().clamp_min(1 / max(self.size))
        self.shape = (shape[0], *self.scale.shape, 2)

    def start(self, rng: np.random.Generator) -> Tensor:
        """Return small random coefficients."""
        return 0.01 * torch.from_numpy(rng.standard_normal(self.shape, dtype=np.float32)).to(self.scale)

    def render(self, parameters: Tensor) -> Tensor:
        """Return the image (C, *S) of these coefficients."""
        waves = torch.view_as_complex(parameters) * self.scale
        axes = tuple(range(1, len(self.size) + 1))
        values = torch.fft.irfftn(waves, s=self.size, dim=axes) * math.sqrt(math.prod(self.size)) / 4
        return self.levels.low + self.levels.size() * torch.sigmoid(values)


def random_transform(
    rng: np.random.Generator, *, turn: float = 0.09, scale: float = 0.1, shift: float = 0.1
) -> Render:
    """Return a function that rotates (radians), scales and shifts (share of the side) an image (1, C, *S) at
    random, anew at each call. An image that maximises the objective only at one exact position is noise."""

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
    """Return the mean absolute difference of neighbouring voxels of (C, *S), summed over axes (total variation
    per voxel)."""
    return torch.stack([image.diff(dim=axis).abs().mean() for axis in range(1, image.ndim)]).sum()


def for_each_image(
    question: Question,
    rng: np.random.Generator,
    optimised: Callable[[Tensor, np.random.Generator], Counterfactual],
) -> list[Counterfactual]:
    """Return `optimised(image, rng)` for every image, each with the same random numbers, so that a result does
    not depend on the other images."""
    seed = int(rng.integers(2**62))
    device = question.predictor.device
    images: NDArray[np.float32] = question.images
    return [optimised(torch.as_tensor(image).to(device), np.random.default_rng(seed)) for image in images]
