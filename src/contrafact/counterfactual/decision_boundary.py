"""Generated images on the model's decision boundary, to which it gives probability one half.

Source: Dravid et al. 2022 (medXGAN, arXiv 2204.05376), whose code plots such images.
Differs: logits, and a prior that keeps the latents close to sampled ones.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from contrafact.core import Generator, InputError
from contrafact.counterfactual.latent_statistics import LatentStatistics


def decision_boundary(
    generator: Generator,
    score: Callable[[Tensor], Tensor],
    n: int,
    rng: torch.Generator,
    *,
    statistics: LatentStatistics | None = None,
    steps: int = 100,
    rate: float = 0.05,
    prior: float = 0.01,
) -> Tensor:
    """Return latents (n, d) of generated images to which the model gives probability one half.

    score   differentiable function of images in [-1, 1] to log-odds (N,); the optimisation brings them to 0
    prior   weight of the squared Mahalanobis distance from the sampled start, divided by d
    cost    `steps` passes of generator and model with gradients, all n images together
    raises  InputError for fewer than one image, or a score without gradients
    """
    if n < 1:
        raise InputError(f"expected at least 1 image on the boundary; got {n}")
    statistics = statistics or LatentStatistics.of(generator, rng)
    with torch.no_grad():
        start = generator.sample(n, rng)
    precision = statistics.precision.to(start)
    deviation = statistics.covariance.diagonal().clamp_min(1e-8).sqrt().to(start)
    offset = torch.zeros_like(start, requires_grad=True)
    adam = torch.optim.Adam([offset], lr=rate)
    for step in range(steps):
        adam.param_groups[0]["lr"] = rate * min(1.0, 2 * (1 - step / steps))
        with torch.enable_grad():
            displacement = offset * deviation
            scores = score(generator.decode(start + displacement))
            if not scores.requires_grad:
                raise InputError("score must be differentiable; this model gives no gradients")
            distance = ((displacement @ precision) * displacement).mean(dim=1)
            loss = torch.nn.functional.smooth_l1_loss(scores, torch.zeros_like(scores), reduction="sum")
            (offset.grad,) = torch.autograd.grad(loss + prior * distance.sum(), offset)
        adam.step()
    return (start + offset * deviation).detach()
