"""The losses and regularisers of generator and discriminator, one function each.

Source: Goodfellow et al. 2014 (non-saturating loss); Mescheder et al. 2018 (R1);
Karras et al. 2020 (arXiv 1912.04958), sec. 3.1 (lazy regularisation) and 3.2 (path length).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Return the mean of softplus(-D(G(z)))."""
    return F.softplus(-fake_logits).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return the mean of softplus(D(G(z))) plus the mean of softplus(-D(x))."""
    return F.softplus(fake_logits).mean() + F.softplus(-real_logits).mean()


def r1_penalty(discriminator: Callable[[Tensor], Tensor], reals: Tensor, gamma: float) -> Tensor:
    """Return gamma/2 times the squared gradient norm of D at real images, averaged over the batch.

    The gradient is by the image before augmentation, through the augmentation.
    """
    reals = reals.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(reals).sum(), reals, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean() * (gamma / 2)


def path_lengths(decode: Callable[[Tensor], Tensor], ws: Tensor, rng: torch.Generator) -> Tensor:
    """Return the path lengths (N,) of ws (N, num_ws, w_dim): the change of the image per step in w; the result
    is differentiable."""
    images = decode(ws)
    shape, pixels = images.shape, math.prod(images.shape[2:])
    noise = torch.randn(shape, generator=rng).to(images.device) / math.sqrt(pixels)
    (gradient,) = torch.autograd.grad((images * noise).sum(), ws, create_graph=True)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()


def path_penalty(lengths: Tensor, mean: Tensor) -> Tensor:
    """Return twice the mean squared distance of lengths (N,) from their running mean; update the mean."""
    mean.lerp_(lengths.detach().mean(), 0.01)
    return 2 * (lengths - mean).square().mean()


def lazy_adam(parameters: Iterable[nn.Parameter], *, rate: float, interval: int) -> torch.optim.Adam:
    """Return Adam (beta 0, 0.99) corrected for a regulariser that runs every `interval` steps (0: never)."""
    c = interval / (interval + 1) if interval else 1.0
    return torch.optim.Adam(parameters, lr=rate * c, betas=(0.0, 0.99**c), eps=1e-8)


def clean_gradients(parameters: Iterable[nn.Parameter]) -> int:
    """Replace NaN by 0 and infinities by +-1e5 in the gradients; return the number of affected tensors."""
    broken = 0
    for parameter in parameters:
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
            broken += 1
            torch.nan_to_num(parameter.grad, nan=0.0, posinf=1e5, neginf=-1e5, out=parameter.grad)
    return broken


def total_variation(images: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbours in images (N, C, *S), summed over the axes."""
    differences = [images.diff(dim=axis).abs().mean() for axis in range(2, images.ndim)]
    return torch.stack(differences).sum()
