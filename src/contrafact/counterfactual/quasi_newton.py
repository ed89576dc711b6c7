"""Minimise a loss of latents, each row of a batch by itself, with the generator's curvature known before."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

KEPT = 8  # pairs of steps and slopes that correct the known curvature
SHRINK = 0.3  # of a step after which the loss is not lower
ENOUGH = 1e-4  # share of the decrease promised by the slope that a step must bring (Armijo)


class _Pair(NamedTuple):
    """Steps (N, d), changes of the slopes (N, d), and one over their products (N,); 0: it tells nothing."""

    step: Tensor
    change: Tensor
    weight: Tensor


def minimised(
    loss: Callable[[Tensor], Tensor],
    start: Tensor,
    inverse: Tensor,
    *,
    steps: int,
    longest: float,
    length: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """Return the best points (N, d) found from `start` (N, d), and their losses (N,).

    loss     differentiable function of points (N, d) to (N,)
    inverse  inverse of the expected curvature (d, d), positive definite
    longest  greatest length of a step; `length` gives those of steps (N, d)
    cost     `steps` + 1 passes with gradients; a point that is not better costs its row one of them
    Source: Nocedal and Wright 2006, algorithm 7.4 (L-BFGS). Differs: begins with a matrix, rows of a batch have
    their own step lengths, and a step is shortened instead of searched along its line.
    """
    best, at = start, start
    value, share = start.new_full((len(start),), torch.inf), start.new_ones(len(start))
    slope, step = torch.zeros_like(start), torch.zeros_like(start)
    pairs: list[_Pair] = []
    for _ in range(steps + 1):
        values, slopes = with_slope(loss, at)
        better = values < value + ENOUGH * (step * slope).sum(dim=1)
        if torch.isfinite(value).any():
            pairs = [*pairs, _pair(step, slopes - slope, better)][-KEPT:]
        better_ = better[:, None]
        best, slope = torch.where(better_, at, best), torch.where(better_, slopes, slope)
        value = torch.where(better, values, value)
        share = torch.where(better, 1.0, SHRINK * share)
        step = -_times_inverse(slope, pairs, inverse)
        limit = longest / length(step).clamp_min(longest)
        step = step * (share * limit)[:, None]
        at = best + step
    return best, value


def with_slope(loss: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    """Return the losses (N,) of points and their gradients (N, d)."""
    at = at.detach().requires_grad_(True)
    with torch.enable_grad():
        values = loss(at)
        (slopes,) = torch.autograd.grad(values.sum(), at)
    return values.detach(), slopes


def _pair(step: Tensor, change: Tensor, better: Tensor) -> _Pair:
    product = (step * change).sum(dim=1)
    told = better & (product > 1e-10 * (step.norm(dim=1) * change.norm(dim=1)))
    weight = torch.where(told, 1 / torch.where(told, product, 1.0), 0.0)
    told_ = told[:, None]  # a point without a value has a change of NaN
    return _Pair(torch.where(told_, step, 0.0), torch.where(told_, change, 0.0), weight)


def _times_inverse(slope: Tensor, pairs: list[_Pair], inverse: Tensor) -> Tensor:
    """Return slopes (N, d) times the inverse curvature: the expected one, scaled and corrected by `pairs`."""
    found, shares = slope, []
    for pair in reversed(pairs):
        shares.append(pair.weight * (pair.step * found).sum(dim=1))
        found = found - shares[-1][:, None] * pair.change
    found = (found @ inverse) * _scale(pairs, inverse, slope)[:, None]
    for pair, share in zip(pairs, reversed(shares), strict=True):
        back = pair.weight * (pair.change * found).sum(dim=1)
        found = found + (share - back)[:, None] * pair.step
    return found


def _scale(pairs: list[_Pair], inverse: Tensor, like: Tensor) -> Tensor:
    """Return the factors (N,) by which the last pairs say the expected inverse is too small."""
    scale = like.new_ones(len(like))
    for pair in pairs:
        expected = ((pair.change @ inverse) * pair.change).sum(dim=1)
        measured = (pair.step * pair.change).sum(dim=1)
        scale = torch.where(pair.weight > 0, measured / expected.clamp_min(1e-30), scale)
    return scale
