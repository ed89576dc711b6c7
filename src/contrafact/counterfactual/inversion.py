"""Inversion: the latent whose generated image reproduces a real image and its score."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from contrafact.core import Encoder, Generator, InputError
from contrafact.counterfactual.latent_statistics import LatentStatistics
from contrafact.counterfactual.quasi_newton import SHRINK, minimised, with_slope

LONGEST = 2.0  # greatest latent distance (SD) of a step of the optimisation
SETTLING = 0.5  # the same of a step towards the image's score
UNKNOWN = 3  # times the steps for a generator whose curvature is unknown
AT_ONCE = 16  # latents in a pass of `mean_curvature`
AWAY = 0.5  # distance of a restart from the encoder's latent, in standard deviations of sampled latents


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """Settings of the optimisation that refines the encoder's latent of an image.

    steps   number of steps; 0: use the encoder's latent
    prior   weight of the squared Mahalanobis distance from the mean, divided by the number of dimensions d
    guide   weight of the squared difference of the model's scores (0 for a black box)
    feature weight of the squared difference of the features of the model's last spatial layer, relative to
            their mean square (0 for a model whose layers are hidden)
    anatomy weight of the squared excess of the anatomy's own score, in units of the difference between the
            classes, for a generator with codes for findings; it keeps the finding in its code
    restarts   number of further optimisations, each from the encoder's latent displaced by half a standard
            deviation of sampled latents; the best latent of each image is kept
    Source: Karras et al. 2020 (arXiv 1912.04958), app. D (projection). Differs: starts at an
    encoder, has a latent prior, the model's score and features, no noise maps; quasi-Newton steps from the mean
    curvature of the generator instead of Adam, a quarter of the passes for the same loss.
    """

    steps: int = 12
    prior: float = 0.02
    guide: float = 0.02
    feature: float = 0.0
    anatomy: float = 1.0
    restarts: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "prior", "guide", "feature", "anatomy", "restarts"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must be 0 or more; got {getattr(self, name)}")


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
    cost      one encoder pass, then `steps` + 1 generator (and model) passes with gradients, for each start,
              and three for the score; three times the steps for a generator whose curvature is unknown
    """
    with torch.no_grad():
        w = encoder(images)
    if refinement.steps == 0:
        return w
    inverse = _inverse_curvature(statistics, refinement).to(w)
    loss = _loss(generator, images, statistics, refinement, score=score, features=features, excess=excess)
    best, least = _refined(w, loss, inverse, statistics, refinement)
    for number in range(refinement.restarts):  # one displacement for all images: no result depends on the batch
        noise = torch.randn(w.shape[1], generator=torch.Generator().manual_seed(number))
        displacement = AWAY * statistics.factor.to(w) @ noise.to(w)
        other, losses = _refined(w + displacement, loss, inverse, statistics, refinement)
        better = losses < least
        best, least = torch.where(better[:, None], other, best), torch.where(better, losses, least)
    if score is not None and refinement.guide and excess is None:
        best = _with_score(best, generator, images, score, inverse, statistics)
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
        distance = ((deviation @ precision) * deviation).mean(dim=1)
        total = _residuals(reconstruction - images).square().sum(dim=1) + refinement.prior * distance
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


def mean_curvature(generator: Generator, rng: torch.Generator, *, probes: int | None = None) -> Tensor:
    """Return the mean curvature (d, d) of the reconstruction loss over sampled latents, where the image is met.

    It is that of Gauss and Newton, the mean of 2 J'J for the Jacobians J of `_residuals`, estimated from one
    random combination of the residuals for each sampled latent.

    probes  number of sampled latents; None: five for each dimension
    cost    `probes` generator passes with gradients
    """
    total: Tensor | None = None
    passes = math.ceil((5 * generator.latent_size if probes is None else probes) / AT_ONCE)
    for count in [AT_ONCE] * passes:
        latents = generator.sample(count, rng).detach().requires_grad_(True)
        with torch.enable_grad():
            found = _residuals(generator.decode(latents))
            signs = torch.randint(0, 2, found.shape, generator=rng).to(found) * 2 - 1
            (slopes,) = torch.autograd.grad((found * signs).sum(), latents)
        part = 2 * slopes.t() @ slopes / count
        total = part if total is None else total + part
    assert total is not None
    return total / passes


def _inverse_curvature(statistics: LatentStatistics, refinement: Refinement) -> Tensor:
    """Return the inverse (d, d) of the curvature that the loss is expected to have. Where that of the
    generator is unknown: such that a first step has about the size that the latents vary by."""
    if statistics.curvature is None:
        return statistics.covariance
    prior = 2 * refinement.prior / len(statistics.mean) * statistics.precision.double()
    values, vectors = torch.linalg.eigh(statistics.curvature.double() + prior)
    values = values.clamp_min(float(values.max()) * 1e-6)
    return ((vectors / values) @ vectors.t()).float()


def _refined(
    start: Tensor, loss: Measure, inverse: Tensor, statistics: LatentStatistics, refinement: Refinement
) -> tuple[Tensor, Tensor]:
    """Return the latents (N, d) after the optimisation, and their loss (N,)."""
    steps = refinement.steps * (1 if statistics.curvature is not None else UNKNOWN)
    return minimised(loss, start, inverse, steps=steps, longest=LONGEST, length=statistics.length)


def _with_score(
    latents: Tensor,
    generator: Generator,
    images: Tensor,
    score: Measure,
    inverse: Tensor,
    statistics: LatentStatistics,
) -> Tensor:
    """Return latents (N, d) moved by two Newton steps to where the reconstruction has the image's score, in the
    direction that costs least of the loss; a step that leads no closer is taken again, shorter."""
    with torch.no_grad():
        wanted = score(images)
    best, least, step = latents, torch.full_like(wanted, torch.inf), torch.zeros_like(latents)
    for _ in range(3):
        scores, slopes = with_slope(lambda at: score(generator.decode(at)), latents)
        missing = wanted - scores
        closer = missing.abs() < least
        best, least = torch.where(closer[:, None], latents, best), torch.where(closer, missing.abs(), least)
        ahead = slopes @ inverse
        rise = (ahead * slopes).sum(dim=1)
        newton = ahead * torch.where(rise > 0, missing.to(ahead) / rise, 0.0)[:, None]
        step = torch.where(closer[:, None], statistics.within(newton, SETTLING), SHRINK * step)
        latents = best + step
    return best


def carry_over(images: Tensor, change: Tensor) -> Tensor:
    """Return images (N, C, *S) with a generated change added; details outside the generator's range remain.

    Values are clipped to [-1, 1], or to the image's own range where that is wider.
    """
    axes = tuple(range(1, images.ndim))
    low = images.amin(dim=axes, keepdim=True).clamp_max(-1.0)
    high = images.amax(dim=axes, keepdim=True).clamp_min(1.0)
    return torch.minimum(torch.maximum(images + change, low), high)


def _residuals(images: Tensor) -> Tensor:
    """Return the residuals (N, M) of differences (N, C, *S) of images. Their sum of squares is the
    reconstruction loss: mean squared difference of pixels and of 4 x 4 means, as a share of the range of
    values."""
    small = tuple(max(1, side // 4) for side in images.shape[2:])
    pool: Any = F.adaptive_avg_pool2d if images.ndim == 4 else F.adaptive_avg_pool3d
    parts = [images.flatten(1), pool(images, small).flatten(1)]
    return torch.cat([2 * part / part.shape[1] ** 0.5 for part in parts], dim=1)
