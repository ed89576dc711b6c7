"""Images on the model's decision boundary: what it cannot tell apart.

Source: Dravid et al. 2022 (medXGAN, arXiv 2204.05376), whose code draws them to plot them.
Differs: logits, and a prior that keeps the latents among those that are drawn.
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
    """Latents (n, d) whose images the model gives probability one half.

    score   differentiable, images in [-1, 1] to log-odds (N,), which become 0
    prior   weight of the squared Mahalanobis distance from where a latent was drawn, divided by d
    cost    `steps` passes of generator and model with gradients, all n together
    raises  InputError for less than one image, or a score without gradients
    """
    if n < 1:
        raise InputError(f"expected at least 1 image of the boundary; got {n}")
    statistics = statistics or LatentStatistics.of(generator, rng)
    with torch.no_grad():
        start = generator.sample(n, rng)
    precision = statistics.precision.to(start)
    deviation = statistics.covariance.diagonal().clamp_min(1e-8).sqrt().to(start)
    move = torch.zeros_like(start, requires_grad=True)
    adam = torch.optim.Adam([move], lr=rate)
    for step in range(steps):
        adam.param_groups[0]["lr"] = rate * min(1.0, 2 * (1 - step / steps))
        with torch.enable_grad():
            away = move * deviation
            found = score(generator.decode(start + away))
            if not found.requires_grad:
                raise InputError("score must be differentiable; this model gives no gradients")
            far = ((away @ precision) * away).mean(dim=1)
            loss = torch.nn.functional.smooth_l1_loss(found, torch.zeros_like(found), reduction="sum")
            (move.grad,) = torch.autograd.grad(loss + prior * far.sum(), move)
        adam.step()
    return (start + move * deviation).detach()
