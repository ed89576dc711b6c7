"""Distances between generated and real images: Fréchet distance and kernel distance (KID) on the
features of any network."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrafact.core import InputError

Extractor = Callable[[Tensor], Tensor]


class RandomFeatures(nn.Module):
    """An untrained network with fixed weights: a feature extractor that needs no download.

    Images (N, C, *S) in [-1, 1], of 2 or 3 `axes`, to features (N, 256). Its distances rank generators of one
    data set; they are not comparable with published values.
    """

    def __init__(self, channels: int, *, axes: int = 2, seed: int = 0) -> None:
        super().__init__()
        self.convolve: Any = F.conv2d if axes == 2 else F.conv3d
        self.halve: Any = F.avg_pool2d if axes == 2 else F.avg_pool3d
        rng = torch.Generator().manual_seed(seed)
        widths = [channels, 32, 64, 128, 256]
        self.weights = nn.ParameterList(
            nn.Parameter(
                torch.randn(b, a, *(3,) * axes, generator=rng) * (2 / (3**axes * a)) ** 0.5,
                requires_grad=False,
            )
            for a, b in itertools.pairwise(widths)
        )

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for weight in self.weights:
            x = F.leaky_relu(self.convolve(x, weight, padding=1), 0.2)
            x = self.halve(x, 2) if min(x.shape[2:]) > 1 else x
        return x.flatten(2).mean(dim=2)


def kernel_distance(real: Tensor, fake: Tensor) -> float:
    """Return the kernel distance (KID) of features `real` (N, F) and `fake` (M, F).

    It is the unbiased squared maximum mean discrepancy with the kernel (xy/d + 1)^3.

    raises  InputError for fewer than 2 images on either side
    Source: Binkowski et al. 2018 (arXiv 1801.01401), sec. 4.
    """
    if min(len(real), len(fake)) < 2:
        raise InputError(f"KID needs at least 2 images on each side; got {len(real)} and {len(fake)}")
    x, y = real.double(), fake.double()

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.t() / a.shape[1] + 1) ** 3

    n, m = len(x), len(y)
    within_x = (kernel(x, x).sum() - kernel(x, x).diagonal().sum()) / (n * (n - 1))
    within_y = (kernel(y, y).sum() - kernel(y, y).diagonal().sum()) / (m * (m - 1))
    return float(within_x + within_y - 2 * kernel(x, y).mean())


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


def kernel_distance_interval(
    real: Tensor, fake: Tensor, *, rng: np.random.Generator, rounds: int = 100, subset: int = 400
) -> Estimate:
    """Return mean and 95 % interval of KID over random subsets without replacement, as in the paper."""
    size = min(subset, len(real), len(fake))
    values = []
    for _ in range(rounds):
        rows = rng.choice(len(real), size, replace=False)
        others = rng.choice(len(fake), size, replace=False)
        values.append(kernel_distance(real[rows], fake[others]))
    low, high = np.percentile(values, [2.5, 97.5])
    return Estimate(float(np.mean(values)), float(low), float(high))


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Return the squared Fréchet distance of Gaussians fitted to features `real` (N, F) and `fake` (M, F),
    |m - n|² + tr(A + B - 2 (A B)^½). Raise InputError for fewer than 2 images on either side.

    Differs: the trace of the root is that of the symmetric A^½ B A^½, by eigenvalues; MONAI 1.6 asks SciPy for
    the root of A B in a way that SciPy 1.18 refuses.
    """
    if min(len(real), len(fake)) < 2:
        raise InputError(f"FID needs at least 2 images on each side; got {len(real)} and {len(fake)}")
    first, second = real.double(), fake.double()
    a, b = torch.cov(first.T), torch.cov(second.T)
    values, vectors = torch.linalg.eigh(a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    shared = torch.linalg.eigvalsh(root @ b @ root).clamp(min=0).sqrt().sum()
    shift = (first.mean(dim=0) - second.mean(dim=0)).square().sum()
    return float(shift + a.trace() + b.trace() - 2 * shared)


def decoded(generator: Any, latents: Tensor) -> Tensor:
    """Return the images (N, C, *S) of latents, on the CPU; in batches that keep volumes within memory."""
    with torch.no_grad():
        parts = latents.split(batch_size(generator.image_shape[1:]))
        return torch.cat([generator.decode(part).cpu() for part in parts])


def batch_size(sides: Sequence[int]) -> int:
    """Return a batch size for images of that size: 100 for 64 x 64 pixels, and in proportion."""
    return max(1, 100 * 64 * 64 // math.prod(sides))
