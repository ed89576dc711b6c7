"""Search for a finding that reaches the goal, by the model's gradient, where no sampled finding does.

Source: own work, as the latent walk that follows the model (docs/decisions/0009, 0016).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from contrafact.counterfactual.latent_path import LatentPath

STEPS, RATE = 30, 0.1  # of Adam; the rate bounds each coordinate's step, in its own standard deviations
FIRST = 0.8  # share of an added code at the start of the search, which leaves room to grow
MISSING, CHANGE = 2.0, 2.0  # weights of the missing change of the score, and of the mean change of a pixel
SLACK = 0.02  # share of the change of the score beyond the goal, so that rounding does not undo it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FindingSearch:
    """An optimisation of a finding's code, and at a price of the anatomy, towards the goal.

    path     the latent paths of the images
    code     the coordinates of the finding's code in a latent
    anatomy  (d,) whether a coordinate encodes anatomy
    length   norm of the code of a finding of strength 1
    budget   greatest strength of the code
    price    weight of an anatomical change of one standard deviation in every coordinate, where the whole
             missing change of the score has weight 2; None: the anatomy is kept constant
    """

    path: LatentPath
    code: slice
    anatomy: Tensor
    length: float
    budget: float
    price: float | None

    @staticmethod
    def of(
        path: LatentPath, generator: Any, *, finding: int, length: float, budget: float, price: float | None
    ) -> FindingSearch:
        """Return the search for one finding of a generator with codes for findings."""
        anatomy = torch.ones(path.latents.shape[1], dtype=torch.bool, device=path.latents.device)
        for number in range(generator.strength(path.latents[:1]).shape[1]):
            anatomy[generator.code(number)] = False
        code = generator.code(finding)
        return FindingSearch(path=path, code=code, anatomy=anatomy, length=length, budget=budget, price=price)

    @property
    def unit(self) -> Tensor:
        """Return the unit (d,) of each coordinate: one standard deviation of anatomy, strength 1 of a code."""
        spread = self.path.statistics.covariance.diagonal().to(self.path.latents)
        return torch.where(self.anatomy, spread.clamp_min(1e-8).sqrt(), self.length)

    def anatomy_distance(self, offsets: Tensor) -> Tensor:
        """Return the root mean square (N,) of the anatomical part of offsets (N, d), in standard deviations."""
        return (offsets / self.unit.to(offsets))[:, self.anatomy].square().mean(dim=1).sqrt()

    def __call__(self, rows: Tensor, offsets: Tensor, goals: Tensor, adds: Tensor, where: Tensor) -> Tensor:
        """Return offsets (M, d) of the images `rows`, optimised by the model's gradient towards the goals (M,);
        `where` (M, 1, *S) masks the changes.

        Where a finding is added (`adds`, (M,)), its code changes within the budget; where one is removed, its
        code keeps its end value, and the anatomy alone changes.
        cost  31 passes with gradients per offset
        """
        arguments = (rows, offsets, goals.to(offsets), adds.to(offsets.device), where)
        parts = [part.split(32) for part in arguments]
        return torch.cat([self._optimised(*part) for part in zip(*parts, strict=True)])

    def _optimised(self, rows: Tensor, offsets: Tensor, goals: Tensor, adds: Tensor, where: Tensor) -> Tensor:
        """Return the offsets of the smallest change that reaches the goal, else of the closest score."""
        unit, images = self.unit, self.path.images[rows]
        free = self.anatomy * (self.price is not None) + torch.zeros_like(offsets)
        free[:, self.code] = adds[:, None].to(free)
        initial = self._bounded(rows, offsets * torch.where(adds, FIRST, 1.0)[:, None])
        here = (initial / unit).requires_grad_(True)
        best, least = initial.clone(), goals.new_full((2, len(goals)), torch.inf)
        required = goals - self.path.start[rows]
        adam = torch.optim.Adam([here], lr=RATE)
        for step in range(STEPS + 1):
            adam.param_groups[0]["lr"] = RATE * min(1.0, 2 * (1 - step / (STEPS + 1)))
            with torch.enable_grad():
                frames = self.path.frame(rows, here * unit, where)
                missing = (goals - self.path.measure(frames)) / required
                change = (frames - images).abs().flatten(1).mean(dim=1)
                cost = MISSING * (missing + SLACK).clamp_min(0) + CHANGE * change
                cost = cost + (self.price or 0.0) * here[:, self.anatomy].square().mean(dim=1)
                (gradient,) = torch.autograd.grad(cost.sum(), here)
            found = torch.stack([missing.clamp_min(0), change]).detach()
            better = improves(found, least)
            best[better], least[:, better] = (here.detach() * unit)[better], found[:, better]
            here.grad = gradient * free
            adam.step()
            with torch.no_grad():
                here.copy_(self._bounded(rows, here * unit) / unit)
        return best

    def _bounded(self, rows: Tensor, offsets: Tensor) -> Tensor:
        """Return the offsets with codes limited to the budget's strength."""
        own, offsets = self.path.latents[rows][:, self.code], offsets.clone()
        code = own + offsets[:, self.code]
        length = code.norm(dim=1, keepdim=True).clamp_min(1e-12)
        most = torch.full_like(length, self.length * self.budget)
        limit = torch.maximum(own.norm(dim=1, keepdim=True), most)
        offsets[:, self.code] = torch.where(length > limit, code * limit / length - own, offsets[:, self.code])
        return offsets


def improves(found: Tensor, least: Tensor) -> Tensor:
    """Return where (N,) changes improve on earlier ones. Rows of both (2, N): the change of the score that is
    missing, and the mean change of a pixel, which decides between equals."""
    return (found[0] < least[0]) | ((found[0] == least[0]) & (found[1] < least[1]))
