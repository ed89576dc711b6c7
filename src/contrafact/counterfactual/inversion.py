"""From a real image to a latent whose picture the model sees as the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from contrafact.core import Encoder, Generator
from contrafact.counterfactual.latents import LatentStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """A short optimisation of the latent, from where the encoder put it.

    steps   of Adam; 0: trust the encoder
    prior   weight of the squared Mahalanobis distance from the mean, divided by its length d
    guide   weight of the squared difference of the model's scores (0 for a black box)
    anatomy weight of the squared excess of the anatomy's own score, in units of the gap between the
            classes, for a generator with codes for findings: the finding belongs into its code
    Source: Karras et al. 2020 (arXiv 1912.04958), app. D (projection). Differs: starts at an
    encoder, has a latent prior and the model's score, no noise maps.
    """

    steps: int = 60
    rate: float = 0.03
    prior: float = 0.02
    guide: float = 0.02
    anatomy: float = 1.0


def invert(
    generator: Generator,
    encoder: Encoder,
    images: Tensor,
    *,
    statistics: LatentStatistics,
    refinement: Refinement,
    score: Callable[[Tensor], Tensor] | None = None,
    excess: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Latents (N, d) of images (N, C, *S) in [-1, 1].

    score  differentiable, images to (N,); None: only the picture counts
    excess differentiable, latents to (N,): how much of the finding is in the anatomy (`Bundle.excess`)
    cost   one encoder pass, then `steps` generator (and model) passes with gradients
    """
    with torch.no_grad():
        w = encoder(images)
        wanted = score(images) if score is not None else None
    if refinement.steps == 0:
        return w
    mean, precision = statistics.mean.to(w.device), statistics.precision.to(w.device)
    deviation = statistics.covariance.diagonal().clamp_min(1e-8).sqrt().to(w.device)
    start, move = w, torch.zeros_like(w, requires_grad=True)
    adam = torch.optim.Adam([move], lr=refinement.rate)
    for step in range(refinement.steps):
        # Fall to zero over the last half: the end point does not depend on where Adam swings.
        share = min(1.0, 2 * (1 - step / refinement.steps))
        adam.param_groups[0]["lr"] = refinement.rate * share
        with torch.enable_grad():
            now = start + move * deviation
            drawn = generator.decode(now)
            away = now - mean
            loss = _distance(drawn, images)
            prior = ((away @ precision) * away).mean(dim=1)
            loss = loss + refinement.prior * prior
            if score is not None and wanted is not None and refinement.guide:
                loss = loss + refinement.guide * (score(drawn) - wanted).square().to(loss)
            if excess is not None and refinement.anatomy:
                loss = loss + refinement.anatomy * excess(now).square().to(loss)
            (slope,) = torch.autograd.grad(loss.sum(), move)
        move.grad = slope
        adam.step()
    return (start + move * deviation).detach()


def carry_over(images: Tensor, change: Tensor) -> Tensor:
    """Images (N, C, *S) with a change that the generator drew; what it cannot draw stays as it is.

    Values are kept in the range that exists: -1 to 1, or the image's own where that is wider.
    """
    axes = tuple(range(1, images.ndim))
    low = images.amin(dim=axes, keepdim=True).clamp_max(-1.0)
    high = images.amax(dim=axes, keepdim=True).clamp_min(1.0)
    return torch.minimum(torch.maximum(images + change, low), high)


def _distance(drawn: Tensor, images: Tensor) -> Tensor:
    """Per image: squared difference of pixels and of 4 x 4 means, in units of the range."""
    small = tuple(max(1, side // 4) for side in images.shape[2:])
    axes = tuple(range(1, images.ndim))
    pool: Any = F.adaptive_avg_pool2d if images.ndim == 4 else F.adaptive_avg_pool3d
    fine = (drawn - images).square().mean(dim=axes)
    coarse = pool(drawn, small) - pool(images, small)
    return 4 * (fine + coarse.square().mean(dim=axes))
