"""Rules that share the relevance of a linear step among its inputs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

RULES = ("epsilon", "gamma", "alpha1-beta0")
EPSILON = 1e-6

Linear = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]


def linear_share(
    run: Linear,
    weight: Tensor | None,
    bias: Tensor | None,
    relevance: Tensor,
    x: Tensor,
    rule: str,
    *,
    zero: Tensor | None = None,
) -> Tensor:
    """Return the relevance of the inputs of a linear step: input times weight, divided by the sum.

    epsilon       x w / (sum + bias): the bias keeps its share, so that no divisor is small while the output
                  is large
    gamma         terms with the sign of the sum count a quarter more, so that no divisor is near zero while
                  its terms are large
    alpha1-beta0  positive x w only, without the bias (also excitation backpropagation)

    zero  output of the step for zeros, for the gamma rule
    """
    if rule == "alpha1-beta0":
        return _positive_share(lambda v, w: run(v, w, None), weight, relevance, x)
    if rule == "gamma" and weight is not None and zero is not None:
        return _gamma_share(lambda v, w: run(v, w, bias) - zero, weight, zero, relevance, x)
    return ratio(lambda v: run(v, weight, bias), relevance, x)


def _gamma_share(
    run: Callable[[Tensor, Tensor], Tensor],
    weight: Tensor,
    zero: Tensor,
    relevance: Tensor,
    x: Tensor,
    gamma: float = 0.25,
) -> Tensor:
    """Return relevance by the generalised gamma rule: x w, plus gamma times the terms with the sign of the sum,
    divided by the sum of the same. The positive and the negative terms are two passes forward and two back,
    twice as many where inputs have both signs."""
    more, less = weight.clamp_min(0), weight.clamp_max(0)
    parts = [(x.clamp_min(0), more, less)]
    if bool((x < 0).any()):
        parts.append((x.clamp_max(0), less, more))
    with torch.enable_grad():
        inputs = [part.detach().requires_grad_() for part, _, _ in parts]
        plus = _added(run(v, w) for v, (_, w, _) in zip(inputs, parts, strict=True))
        minus = _added(run(v, w) for v, (_, _, w) in zip(inputs, parts, strict=True))
        z = plus + minus + zero
        more_of = torch.where(z >= 0, plus + zero.clamp_min(0), minus + zero.clamp_max(0))
        agreed = z + gamma * more_of
        share = relevance / (agreed + EPSILON * torch.where(z >= 0, 1.0, -1.0))
        slopes = torch.autograd.grad(agreed, inputs, share.detach())
    return _added(v.detach() * s for v, s in zip(inputs, slopes, strict=True))


def _added(values: Iterable[Tensor]) -> Tensor:
    return functools.reduce(torch.add, values)


def ratio(run: Callable[[Tensor], Tensor], relevance: Tensor, x: Tensor) -> Tensor:
    """Return relevance by the epsilon rule for a linear function."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        z = run(x)
        share = relevance / (z + EPSILON * torch.where(z >= 0, 1.0, -1.0))
        (slopes,) = torch.autograd.grad(z, x, share.detach())
    return (x * slopes).detach()


def _positive_share(
    run: Callable[[Tensor, Tensor | None], Tensor], weight: Tensor | None, relevance: Tensor, x: Tensor
) -> Tensor:
    """Return relevance by the alpha1-beta0 rule: shares of the positive terms."""
    parts = [(x.clamp_min(0), None if weight is None else weight.clamp_min(0))]
    if weight is not None and bool((x < 0).any()):
        parts.append((x.clamp_max(0), weight.clamp_max(0)))
    with torch.enable_grad():
        inputs = [v.detach().requires_grad_() for v, _ in parts]
        z = sum(run(v, w) for v, (_, w) in zip(inputs, parts, strict=True))
        z = torch.as_tensor(z)
        slopes = torch.autograd.grad(z, inputs, (relevance / (z + EPSILON)).detach())
    return torch.as_tensor(sum(v.detach() * s for v, s in zip(inputs, slopes, strict=True)))
