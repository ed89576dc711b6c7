"""Where no drawn finding reaches the goal: codes that change the model's answer on the frame shown.

Source: own work, as the walk that follows the model (docs/decisions/0009, 0016).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from contrafact.counterfactual.latent_path import LatentPath

STEPS, RATE = 30, 0.1  # of Adam; a coordinate's step is at most the rate, in its own standard deviations
FIRST = 0.8  # share of an added code to start from: there is room to grow
MISSING, CHANGE = 2.0, 2.0  # prices of the way that is missing, and of the mean change of a pixel
SLACK = 0.02  # share of the way to go beyond the goal, so that rounding does not undo it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FindingSearch:
    """What may be moved, and what it costs.

    code     where the code of the finding stands in a latent
    anatomy  (d,) which coordinates are anatomy
    length   of the code of a finding of strength 1
    budget   greatest strength of the code
    price    of the anatomy: what one standard deviation in every coordinate costs, where the whole way to
             the goal costs 2; None: it stays as it is
    """

    walker: LatentPath
    code: slice
    anatomy: Tensor
    length: float
    budget: float
    price: float | None

    @staticmethod
    def of(
        walker: LatentPath, generator: Any, *, finding: int, length: float, budget: float, price: float | None
    ) -> FindingSearch:
        anatomy = torch.ones(walker.latents.shape[1], dtype=torch.bool, device=walker.latents.device)
        for number in range(generator.strength(walker.latents[:1]).shape[1]):
            anatomy[generator.code(number)] = False
        code = generator.code(finding)
        return FindingSearch(
            walker=walker, code=code, anatomy=anatomy, length=length, budget=budget, price=price
        )

    @property
    def unit(self) -> Tensor:
        """(d,) what a step of one is: a standard deviation of the anatomy, a strength of one of a code."""
        spread = self.walker.statistics.covariance.diagonal().to(self.walker.latents)
        return torch.where(self.anatomy, spread.clamp_min(1e-8).sqrt(), self.length)

    def moved(self, moves: Tensor) -> Tensor:
        """(N,) root mean square of the anatomy's part of moves (N, d), in standard deviations."""
        return (moves / self.unit.to(moves))[:, self.anatomy].square().mean(dim=1).sqrt()

    def __call__(self, rows: Tensor, moves: Tensor, goals: Tensor, adds: Tensor, where: Tensor) -> Tensor:
        """Moves (M, d) of the images `rows`, led on by the model's gradient to the goals (M,), with changes
        made where `where` (M, 1, *S) says.

        Where a finding is added (M,), its code turns and grows within the budget; where one is taken away,
        its code keeps the end it has, and the anatomy alone goes on.
        cost  31 passes with gradients per move
        """
        asked = (rows, moves, goals.to(moves), adds.to(moves.device), where)
        parts = [part.split(32) for part in asked]
        return torch.cat([self._led(*part) for part in zip(*parts, strict=True)])

    def _led(self, rows: Tensor, moves: Tensor, goals: Tensor, adds: Tensor, where: Tensor) -> Tensor:
        """The reached one of the smallest change, else the nearest one."""
        unit, images = self.unit, self.walker.images[rows]
        free = self.anatomy * (self.price is not None) + torch.zeros_like(moves)
        free[:, self.code] = adds[:, None].to(free)
        first = self._bounded(rows, moves * torch.where(adds, FIRST, 1.0)[:, None])
        here = (first / unit).requires_grad_(True)
        best, least = first.clone(), torch.full_like(goals, torch.inf)
        way = goals - self.walker.start[rows]
        adam = torch.optim.Adam([here], lr=RATE)
        for step in range(STEPS + 1):
            adam.param_groups[0]["lr"] = RATE * min(1.0, 2 * (1 - step / (STEPS + 1)))
            with torch.enable_grad():
                frames = self.walker.frame(rows, here * unit, where)
                missing = (goals - self.walker.measure(frames)) / way
                change = (frames - images).abs().flatten(1).mean(dim=1)
                cost = MISSING * (missing + SLACK).clamp_min(0) + CHANGE * change
                cost = cost + (self.price or 0.0) * here[:, self.anatomy].square().mean(dim=1)
                (slope,) = torch.autograd.grad(cost.sum(), here)
            worth = (change + 1000 * missing.clamp_min(0)).detach()
            better = worth < least
            best[better], least[better] = (here.detach() * unit)[better], worth[better]
            here.grad = slope * free
            adam.step()
            with torch.no_grad():
                here.copy_(self._bounded(rows, here * unit) / unit)
        return best

    def _bounded(self, rows: Tensor, moves: Tensor) -> Tensor:
        """The same moves with codes no stronger than the budget."""
        own, moves = self.walker.latents[rows][:, self.code], moves.clone()
        code = own + moves[:, self.code]
        length = code.norm(dim=1, keepdim=True).clamp_min(1e-12)
        most = torch.full_like(length, self.length * self.budget)
        limit = torch.maximum(own.norm(dim=1, keepdim=True), most)
        moves[:, self.code] = torch.where(length > limit, code * limit / length - own, moves[:, self.code])
        return moves
