"""Inversion: the latent whose generated image reproduces a real image and its score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from contrafact.core import Encoder, Generator, InputError
from contrafact.counterfactual.latent_statistics import LatentStatistics

AWAY = 0.5  # distance of a restart from the encoder's latent, in standard deviations of sampled latents


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """Settings of the optimisation that refines the encoder's latent of an image.

    steps   number of Adam steps; 0: use the encoder's latent
    rate    learning rate
    prior   weight of the squared Mahalanobis distance from the mean, divided by the number of dimensions d
    guide   weight of the squared difference of the model's scores (0 for a black box)
    feature weight of the squared difference of the features of the model's last spatial layer, relative to
            their mean square (0 for a model whose layers are hidden)
    anatomy weight of the squared excess of the anatomy's own score, in units of the difference between the
            classes, for a generator with codes for findings; it keeps the finding in its code
    restarts   number of further optimisations, each from the encoder's latent displaced by half a standard
            deviation of sampled latents; the best latent of each image is kept
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
        if not self.rate > 0:
            raise InputError(f"rate must be above 0; got {self.rate}")


Measure = Callable[[Tensor], Tensor]


def invert(
    generator: Generator,
    encoder: Encoder,
    images: Tensor,
    *,
    statistics: LatentStatistics,
    refinement: Refinement,
    score: Measure | None = None,
    features: Measure | None = None,
    excess: Measure | None = None,
) -> Tensor:
    """Return the latents (N, d) of images (N, C, *S) in [-1, 1].

    score     differentiable function of images to scores (N,); None: the loss compares the pixels alone
    features  differentiable function of images to the model's features (N, ...)
    excess    differentiable function of latents to (N,), see `Bundle.excess`
    cost      one encoder pass, then `steps` generator (and model) passes with gradients, for each start
    """
    with torch.no_grad():
        w = encoder(images)
    if refinement.steps == 0:
        return w
    loss = _loss(generator, images, statistics, refinement, score=score, features=features, excess=excess)
    best, least = _refined(w, loss, statistics, refinement)
    for number in range(refinement.restarts):  # one displacement for all images: no result depends on the batch
        noise = torch.randn(w.shape[1], generator=torch.Generator().manual_seed(number))
        displacement = AWAY * statistics.factor.to(w) @ noise.to(w)
        other, losses = _refined(w + displacement, loss, statistics, refinement)
        better = losses < least
        best, least = torch.where(better[:, None], other, best), torch.where(better, losses, least)
    return best


def _loss(
    generator: Generator,
    images: Tensor,
    statistics: LatentStatistics,
    refinement: Refinement,
    *,
    score: Measure | None,
    features: Measure | None,
    excess: Measure | None,
) -> Measure:
    """Return the loss of the inversion, a function of latents (N, d) that gives (N,)."""
    mean, precision = statistics.mean.to(images.device), statistics.precision.to(images.device)
    with torch.no_grad():
        own_scores = score(images) if score is not None else None
        own_features = features(images).flatten(1) if features is not None and refinement.feature else None

    def loss(latents: Tensor) -> Tensor:
        reconstruction, deviation = generator.decode(latents), latents - mean
        total = _distance(reconstruction, images) + refinement.prior * (
            (deviation @ precision) * deviation
        ).mean(dim=1)
        if score is not None and own_scores is not None and refinement.guide:
            total = total + refinement.guide * (score(reconstruction) - own_scores).square().to(total)
        if features is not None and own_features is not None:
            difference = (features(reconstruction).flatten(1) - own_features).square().mean(dim=1)
            total = total + refinement.feature * (
                difference / own_features.square().mean(dim=1).clamp_min(1e-12)
            ).to(total)
        if excess is not None and refinement.anatomy:
            total = total + refinement.anatomy * excess(latents).square().to(total)
        return total

    return loss


def _refined(
    start: Tensor, loss: Measure, statistics: LatentStatistics, refinement: Refinement
) -> tuple[Tensor, Tensor]:
    """Return the latents (N, d) after the optimisation, and their loss (N,); the loss is 0 without restarts."""
    deviation = statistics.covariance.diagonal().clamp_min(1e-8).sqrt().to(start.device)
    offset = torch.zeros_like(start, requires_grad=True)
    adam = torch.optim.Adam([offset], lr=refinement.rate)
    for step in range(refinement.steps):
        # The learning rate falls to 0 over the second half, so that oscillations of Adam do not decide the end.
        share = min(1.0, 2 * (1 - step / refinement.steps))
        adam.param_groups[0]["lr"] = refinement.rate * share
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(loss(start + offset * deviation).sum(), offset)
        offset.grad = slope
        adam.step()
    latents = (start + offset * deviation).detach()
    if not refinement.restarts:
        return latents, latents.new_zeros(len(latents))
    with torch.no_grad():
        return latents, loss(latents)


def carry_over(images: Tensor, change: Tensor) -> Tensor:
    """Return images (N, C, *S) with a generated change added; details outside the generator's range remain.

    Values are clipped to [-1, 1], or to the image's own range where that is wider.
    """
    axes = tuple(range(1, images.ndim))
    low = images.amin(dim=axes, keepdim=True).clamp_max(-1.0)
    high = images.amax(dim=axes, keepdim=True).clamp_min(1.0)
    return torch.minimum(torch.maximum(images + change, low), high)


def _distance(generated: Tensor, images: Tensor) -> Tensor:
    """Return the reconstruction loss (N,): mean squared difference of pixels and of 4 x 4 means, as a share of
    the range of values."""
    small = tuple(max(1, side // 4) for side in images.shape[2:])
    axes = tuple(range(1, images.ndim))
    pool: Any = F.adaptive_avg_pool2d if images.ndim == 4 else F.adaptive_avg_pool3d
    fine = (generated - images).square().mean(dim=axes)
    coarse = pool(generated, small) - pool(images, small)
    return 4 * (fine + coarse.square().mean(dim=axes))
