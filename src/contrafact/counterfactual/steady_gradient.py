"""The gradient of a model's score averaged over small perturbations that a reader would not notice.

A model's plain gradient also finds adversarial changes, which raise the score of this model and of no other.
Real evidence survives a shift by a pixel or two, a slight blur and faint noise; an adversarial change does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SHIFT = 0.0315  # share of the side: two pixels of 64
NOISE = 0.1  # standard deviation; images have a range of 2
VIEWS = 4
# Shifts of each view as functions of the greatest shift, for even and odd axes. Half of the views shift a
# checkerboard of single voxels onto its own negative, half do not, so that such a pattern averages to 0.
SHIFTS: tuple[tuple[Callable[[int], int], Callable[[int], int]], ...] = (
    (lambda far: far, lambda far: max(far - 1, 0)),
    (lambda far: -far, lambda far: -far),
    (lambda far: max(far - 1, 0), lambda far: -far),
    (lambda far: -far, lambda far: far),
)
FINE = 48  # least side in voxels at which a shift or a blur by one voxel is slight


def views_of(images: Tensor) -> list[Tensor]:
    """Return `VIEWS` perturbed copies of images (N, C, *S) in [-1, 1]: shifted, blurred, with noise.

    The copies are differentiable by the images. The perturbations are the same at every call, so that the steps
    of a search are comparable. Images with a side below 48 voxels are neither shifted nor blurred, since the
    change would not be small.
    """
    views = []
    for number in range(VIEWS):
        fine = min(images.shape[2:]) >= FINE
        greatest = [int(SHIFT * side) if fine else 0 for side in images.shape[2:]]
        view = shifted(images, [SHIFTS[number][axis % 2](step) for axis, step in enumerate(greatest)])
        if number in (1, 2) and fine:
            view = blurred(view)
        rng = torch.Generator().manual_seed(number)
        noise = torch.randn(view.shape[1:], generator=rng).to(view)
        views.append(view + NOISE * noise)
    return views


def shifted(images: Tensor, steps: Sequence[int]) -> Tensor:
    """Return images (N, C, *S) shifted by whole voxels along each axis; edge values are repeated."""
    for axis, step in enumerate(steps, start=2):
        length = images.shape[axis]
        index = (torch.arange(length, device=images.device) - step).clamp(0, length - 1)
        images = images.index_select(axis, index)
    return images


def blurred(images: Tensor) -> Tensor:
    """Return images (N, C, *S) averaged over 3 voxels along each axis; edge values are repeated."""
    axes = images.ndim - 2
    pool = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[axes]
    return pool(F.pad(images, (1, 1) * axes, mode="replicate"), 3, 1)


def steady(measure: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return a function that gives the mean of `measure`, scores (N,) of images in [-1, 1], over `VIEWS` views.

    cost  one pass of the model per call, of `VIEWS` times as many images
    """

    def mean(images: Tensor) -> Tensor:
        return measure(torch.cat(views_of(images))).reshape(VIEWS, len(images)).mean(dim=0)

    return mean
