"""From a real image to a latent whose picture the model sees as the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from contrafact.core import Encoder, Generator, InputError
from contrafact.counterfactual.latent_statistics import LatentStatistics

AWAY = 0.5  # standard deviations of sampled latents that a restart begins from the encoder's


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """A short optimisation of the latent, from where the encoder put it.

    steps   of Adam; 0: trust the encoder
    rate    of a step
    prior   weight of the squared Mahalanobis distance from the mean, divided by its length d
    guide   weight of the squared difference of the model's scores (0 for a black box)
    feature weight of the squared difference of what the model's last spatial layer gives, as a share of its
            mean square (0 for a model whose layers are hidden)
    anatomy weight of the squared excess of the anatomy's own score, in units of the gap between the
            classes, for a generator with codes for findings: the finding belongs into its code
    restarts   more optimisations, each from the encoder's latent displaced by half a standard deviation of
            sampled ones; the best of all is kept, image by image
    Source: Karras et al. 2020 (arXiv 1912.04958), app. D (projection). Differs: starts at an
    encoder, has a latent prior, the model's score and features, no noise maps.
    """

    steps: int = 60
    rate: float = 0.03
    prior: float = 0.02
    guide: float = 0.02
    feature: float = 0.0
    anatomy: float = 1.0
    restarts: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "prior", "guide", "feature", "anatomy", "restarts"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must be 0 or more; got {getattr(self, name)}")


Look = Callable[[Tensor], Tensor]


def invert(
    generator: Generator,
    encoder: Encoder,
    images: Tensor,
    *,
    statistics: LatentStatistics,
    refinement: Refinement,
    score: Look | None = None,
    features: Look | None = None,
    excess: Look | None = None,
) -> Tensor:
    """Latents (N, d) of images (N, C, *S) in [-1, 1].

    score     differentiable, images to (N,); None: only the picture counts
    features  differentiable, images to what the model makes of them (N, ...)
    excess    differentiable, latents to (N,): how much of the finding is in the anatomy (`Bundle.excess`)
    cost      one encoder pass, then `steps` generator (and model) passes with gradients, for each start
    """
    with torch.no_grad():
        w = encoder(images)
    if refinement.steps == 0:
        return w
    loss = _loss(generator, images, statistics, refinement, score=score, features=features, excess=excess)
    best, least = _refined(w, loss, statistics, refinement)
    for number in range(refinement.restarts):  # one displacement for all images: none depends on others
        noise = torch.randn(w.shape[1], generator=torch.Generator().manual_seed(number))
        away = AWAY * statistics.factor.to(w) @ noise.to(w)
        other, found = _refined(w + away, loss, statistics, refinement)
        better = found < least
        best, least = torch.where(better[:, None], other, best), torch.where(better, found, least)
    return best


def _loss(
    generator: Generator,
    images: Tensor,
    statistics: LatentStatistics,
    refinement: Refinement,
    *,
    score: Look | None,
    features: Look | None,
    excess: Look | None,
) -> Look:
    """Latents (N, d) to what is wrong with them (N,)."""
    mean, precision = statistics.mean.to(images.device), statistics.precision.to(images.device)
    with torch.no_grad():
        wanted = score(images) if score is not None else None
        seen = features(images).flatten(1) if features is not None and refinement.feature else None

    def loss(latents: Tensor) -> Tensor:
        drawn, away = generator.decode(latents), latents - mean
        total = _distance(drawn, images) + refinement.prior * ((away @ precision) * away).mean(dim=1)
        if score is not None and wanted is not None and refinement.guide:
            total = total + refinement.guide * (score(drawn) - wanted).square().to(total)
        if features is not None and seen is not None:
            off = (features(drawn).flatten(1) - seen).square().mean(dim=1)
            total = total + refinement.feature * (off / seen.square().mean(dim=1).clamp_min(1e-12)).to(total)
        if excess is not None and refinement.anatomy:
            total = total + refinement.anatomy * excess(latents).square().to(total)
        return total

    return loss


def _refined(
    start: Tensor, loss: Look, statistics: LatentStatistics, refinement: Refinement
) -> tuple[Tensor, Tensor]:
    """Latents (N, d) after the optimisation, and their loss (N,)."""
    deviation = statistics.covariance.diagonal().clamp_min(1e-8).sqrt().to(start.device)
    move = torch.zeros_like(start, requires_grad=True)
    adam = torch.optim.Adam([move], lr=refinement.rate)
    for step in range(refinement.steps):
        # Fall to zero over the last half: the end point does not depend on where Adam swings.
        share = min(1.0, 2 * (1 - step / refinement.steps))
        adam.param_groups[0]["lr"] = refinement.rate * share
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(loss(start + move * deviation).sum(), move)
        move.grad = slope
        adam.step()
    latents = (start + move * deviation).detach()
    if not refinement.restarts:
        return latents, latents.new_zeros(len(latents))
    with torch.no_grad():
        return latents, loss(latents)


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
