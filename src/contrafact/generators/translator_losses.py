"""Losses of a translator's change, and the perturbations of its training images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from contrafact.core.errors import InputError


def huber(change: Tensor) -> Tensor:
    """Return the mean Huber loss of a change (N, C, *S): quadratic up to 0.1 (the range is 2), so that small
    changes have little weight."""
    return F.smooth_l1_loss(change, torch.zeros_like(change), beta=0.1)


def variation(change: Tensor) -> Tensor:
    """Return the Huber loss of the differences of neighbours, summed over the axes."""
    return torch.stack([huber(change.diff(dim=axis)) for axis in range(2, change.ndim)]).sum()


def shifted(images: Tensor, theta: Tensor) -> Tensor:
    """Return images (N, C, *S) resampled by affine maps (N, axes, axes + 1), with repeated edges."""
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid.to(images.dtype), padding_mode="border", align_corners=False)


def blurred(x: Tensor) -> Tensor:
    """Return x (N, C, *S) averaged over three voxels along every axis."""
    axes = x.ndim - 2
    padded = F.pad(x, (1, 1) * axes, mode="replicate")
    return F.avg_pool2d(padded, 3, 1) if axes == 2 else F.avg_pool3d(padded, 3, 1)


def recoloured(images: Tensor, mix: Tensor, contrast: Tensor, brightness: Tensor) -> Tensor:
    """Return images (N, C, *S) with other colours and another exposure: channels mixed by (N, C, C), multiplied
    by 1 + contrast (N, C), plus brightness (N, C)."""
    trailing = (1,) * (images.ndim - 2)
    mixed = torch.einsum("nij,nj...->ni...", mix.to(images), images)
    return mixed * (1 + contrast.to(images)).view(*contrast.shape, *trailing) + brightness.to(images).view(
        *brightness.shape, *trailing
    )


def in_units_of(scores: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Return gain and offset (targets,) of the least-squares line from scores (N, targets) to those of another
    model of the same images: others = gain · scores + offset.

    raises  InputError where the other model's scores do not rise with these
    """
    centred, mean = scores - scores.mean(dim=0), others.mean(dim=0)
    gain = (centred * (others - mean)).mean(dim=0) / centred.square().mean(dim=0)
    if not bool((gain > 0.05).all()):
        raise InputError(f"expected an ally whose scores rise with the model's; got slopes {gain.tolist()}")
    return gain, mean - gain * scores.mean(dim=0)


def otherwise_exposed(images: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Return images (N, C, *S) with random brightness, contrast and, of several channels, colours."""
    n, channels = images.shape[:2]
    mix = torch.eye(channels) + 0.5 * strength * torch.randn(n, channels, channels, generator=rng)
    mix = mix / mix.sum(dim=2, keepdim=True).clamp_min(0.3) if channels > 1 else torch.ones(n, 1, 1)
    contrast, brightness = strength * (torch.rand(2, n, channels, generator=rng) - 0.5)
    return recoloured(images, mix, contrast, brightness)
