"""How steady a model's own gradient is: the same under small changes that mean nothing to a reader.

A model's gradient finds changes that raise its score and that no other model follows. Evidence that is there
survives a shift by a pixel or two, a slight blur and faint noise; a change that fools one model does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SHIFT = 0.0315  # of the side: two pixels of 64
NOISE = 0.1  # standard deviation; images have a range of 2
VIEWS = 4
# By the greatest shift along each axis, one axis of a pair after the other: half of the views move a pattern of
# single voxels onto its own negative, half do not, so that it leaves no mean.
MOVES: tuple[tuple[Callable[[int], int], Callable[[int], int]], ...] = (
    (lambda far: far, lambda far: max(far - 1, 0)),
    (lambda far: -far, lambda far: -far),
    (lambda far: max(far - 1, 0), lambda far: -far),
    (lambda far: -far, lambda far: far),
)
FINE = 48  # voxels a side from which a move or a blur by one voxel is slight


def views_of(images: Tensor) -> list[Tensor]:
    """The same images (N, C, *S) in [-1, 1], each moved another way, blurred or noisy; differentiable.

    The changes are the same at every call, so that steps of a search can be compared. Images of fewer than 48
    voxels a side are neither moved nor blurred: there it would be no small change.
    """
    found = []
    for number in range(VIEWS):
        fine = min(images.shape[2:]) >= FINE
        far = [int(SHIFT * side) if fine else 0 for side in images.shape[2:]]
        view = moved(images, [MOVES[number][axis % 2](step) for axis, step in enumerate(far)])
        if number in (1, 2) and fine:
            view = blurred(view)
        rng = torch.Generator().manual_seed(number)
        noise = torch.randn(view.shape[1:], generator=rng).to(view)
        found.append(view + NOISE * noise)
    return found


def moved(images: Tensor, steps: Sequence[int]) -> Tensor:
    """Images (N, C, *S) moved by whole voxels along each axis; the rim is repeated."""
    for axis, step in enumerate(steps, start=2):
        length = images.shape[axis]
        index = (torch.arange(length, device=images.device) - step).clamp(0, length - 1)
        images = images.index_select(axis, index)
    return images


def blurred(images: Tensor) -> Tensor:
    """Images (N, C, *S), each voxel the mean of itself and its neighbours; the rim is repeated."""
    axes = images.ndim - 2
    pool = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[axes]
    return pool(F.pad(images, (1, 1) * axes, mode="replicate"), 3, 1)


def steady(measure: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The mean score (N,) of `VIEWS` views of images, for a `measure` of images in [-1, 1].

    cost  `VIEWS` passes of the model
    """

    def mean(images: Tensor) -> Tensor:
        return torch.as_tensor(sum(measure(view) for view in views_of(images)) / VIEWS)

    return mean
