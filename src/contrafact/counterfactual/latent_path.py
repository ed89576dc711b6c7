"""The latent path of an image: the latent offset for each requested change of its score.

Source: Schutte et al. 2021 (arXiv 2101.07563), sec. 2: one straight line for all images. Differs (the
default, `follow`): the direction is computed again at every step and for every image, half the global
direction and half the model's own gradient there, in Euler steps; so the path bends where the model does. A
request is found on it by scores, so that the achieved change equals the requested one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from contrafact.core import Generator
from contrafact.counterfactual.direction import Direction
from contrafact.counterfactual.inversion import carry_over
from contrafact.counterfactual.latent_statistics import LatentStatistics

LONGEST = 1.0  # greatest latent distance (SD) of a first Newton step: a gradient is valid no farther
POINTS = 8  # pieces in which a path is to reach its greatest request
MOST = 20  # pieces that it may have
CUTS = 9  # scores by which a request is found on its piece
SLACK = 0.02  # a requested change counts as achieved up to this share of a level beyond it


class Gradients(NamedTuple):
    """Scores of frames and their gradients by the latent.

    scores     (M,) of the frames
    plain      (M, d) gradients of the scores
    own        (M, d) gradients that decide the direction: of the smoothed score (`LatentPath.steady`), or
               `plain`
    agreement  (M,) cosine of both gradients, from 0 to 1
    """

    scores: Tensor
    plain: Tensor
    own: Tensor
    agreement: Tensor

    def of(self, rows: Tensor) -> Gradients:
        """Return the selected rows."""
        return Gradients(*(column[rows] for column in self))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LatentPath:
    """The latent paths of a batch of images.

    images         (N, C, R, R) in [-1, 1]
    latents        (N, d) of the images; `reconstruction` (N, C, R, R): the images that they generate
    start          (N,) scores of the images
    measure        function of images in [-1, 1] to scores (N,)
    direction      the global direction; None: every image follows its own gradient alone
    blend          add the generated change to the image; False: a frame is the generated image alone
    where          mask (N, 1, *S): the share of a change that is applied at each pixel; None: all of it
    steady         function of images in [-1, 1] to scores (N,) averaged over small perturbations; the own
                   gradient is then that of these scores, weighted by its agreement with the plain gradient.
                   None: the plain gradient, with full weight
    """

    generator: Generator
    statistics: LatentStatistics
    direction: Direction | None
    measure: Callable[[Tensor], Tensor]
    images: Tensor
    latents: Tensor
    reconstruction: Tensor
    start: Tensor
    blend: bool = True
    where: Tensor | None = None
    steady: Callable[[Tensor], Tensor] | None = None

    def frame(self, rows: Tensor, offsets: Tensor, where: Tensor | None = None) -> Tensor:
        """Return frames (M, C, *S): the images `rows` with offsets (M, d) added to their latents; `where`
        (M, 1, *S) masks the changes."""
        generated = self.generator.decode(self.latents[rows] + offsets)
        if not self.blend:
            return generated.clamp(-1, 1)
        if where is None and self.where is not None:
            where = self.where[rows]
        change = generated - self.reconstruction[rows]
        return carry_over(self.images[rows], change if where is None else where * change)

    def scores(self, rows: Tensor, offsets: Tensor, where: Tensor | None = None) -> Tensor:
        """Return the model's scores (M,) of those frames."""
        parts = []
        with torch.no_grad():
            for part in torch.arange(len(rows)).split(64):
                here = None if where is None else where[part]
                parts.append(self.measure(self.frame(rows[part], offsets[part], here)))
        return torch.cat(parts)

    def line(self) -> Tensor:
        """Return straight offsets (N, d) for a requested change of one unit: of the global direction, or of
        each image's own gradient."""
        if self.direction is not None:
            return self.direction.step.to(self.latents).expand_as(self.latents)
        rows = torch.arange(len(self.latents))
        return self._least_offset(self._gradients(rows, torch.zeros_like(self.latents)).plain)

    def ahead(self, *, share: float) -> Tensor:
        """Return straight offsets (N, d) for a requested change of one unit, along the first step of `follow`
        with the same share."""
        rows = torch.arange(len(self.latents))
        gradients = self._gradients(rows, torch.zeros_like(self.latents))
        unit = self._unit_offset(gradients, share)
        return unit / (unit * gradients.plain).sum(dim=1).clamp_min(0.2)[:, None]

    def follow(self, requested: Tensor, *, share: float, budget: float) -> Tensor:
        """Return offsets (N, K, d) that change the scores by `requested` (N, K), as far as the budget allows.

        The path is drawn once in straight pieces, each along the direction at its beginning, until the score
        has changed by the greatest request of a sign; each request is then found on its piece by scores alone.

        share   weight of the image's own gradient in the direction; the global direction has the rest
        budget  greatest latent distance (SD) of an offset
        cost    about 9 passes with gradients for each sign, up to 21 where the model's surface is rough, and
                3 to 9 passes without gradients per request
        """
        requested = requested.to(self.latents)
        path, missing = self, requested
        if not self.blend:  # the path begins at the generated image, whose score is another one
            begin = self.scores(torch.arange(len(self.latents)), torch.zeros_like(self.latents))
            path = dataclasses.replace(self, start=begin)
            missing = torch.where(requested == 0, 0.0, requested - (begin - self.start)[:, None])
        offsets = self.latents.new_zeros(*requested.shape, self.latents.shape[1])
        slack = SLACK * requested.abs().amax(dim=1) / requested.shape[1]
        for sign in (-1.0, 1.0):
            levels = (sign * missing).clamp_min(0)
            if bool((levels > 0).any()):
                corners, heights = path._pieces(sign, levels.amax(dim=1), slack, share=share, budget=budget)
                offsets += path._cut(sign, corners, heights, levels, slack)
        return offsets

    def _pieces(
        self, sign: float, far: Tensor, slack: Tensor, *, share: float, budget: float
    ) -> tuple[Tensor, Tensor]:
        """Return the corners (P, N, d) of each image's path, and how far the score has moved (P, N) at each.

        A piece that brings less than half of what the gradient promised halves the greatest length of the next
        one, since the model's surface is rough there; one that brings more doubles it again.
        """
        here = torch.zeros_like(self.latents)
        longest, enough = torch.full_like(far, LONGEST), torch.full_like(far, -torch.inf)
        corners: list[Tensor] = []
        heights: list[Tensor] = []
        rows = (far > 0).nonzero()[:, 0]
        for number in range(MOST + 1):
            gradients = self._gradients(rows, here[rows])
            height = heights[-1].clone() if heights else torch.zeros_like(far)
            height[rows] = sign * (gradients.scores - self.start[rows])
            corners.append(here.clone())
            heights.append(height)
            poor = height[rows] < enough[rows]
            longest[rows] = torch.where(poor, longest[rows] / 2, (2 * longest[rows]).clamp_max(LONGEST))
            missing = height[rows] < far[rows]
            rows, gradients = rows[missing], gradients.of(missing)
            if number == MOST or not len(rows):
                break
            remaining = far[rows] + slack[rows] - height[rows]
            step = self._newton_step(
                gradients, sign * remaining / max(POINTS - number, 1), longest[rows], share=share
            )
            enough[rows] = height[rows] + sign * (step * gradients.plain).sum(dim=1) / 2
            here[rows] = self.within(here[rows] + step, budget)
        return torch.stack(corners), torch.stack(heights)

    def _cut(self, sign: float, corners: Tensor, heights: Tensor, levels: Tensor, slack: Tensor) -> Tensor:
        """Return the offsets (N, K, d) on the paths at which the scores first reach `levels` (N, K), or up to
        `slack` (N,) beyond; 0 for levels of 0, and the highest corner where the path does not reach a level.

        Two secants, then a halving, and so on, in a bracket that always holds the level.
        """
        rows = torch.arange(len(levels), device=levels.device)[:, None].expand_as(levels)
        above = heights[:, :, None] >= levels  # (P, N, K)
        known = torch.where(heights.isnan(), -torch.inf, heights)  # a path ends where the model has no score
        highest = known.argmax(dim=0)[:, None].expand_as(levels)
        after = torch.where(above.any(dim=0), above.int().argmax(dim=0), highest)
        offsets = torch.where((levels > 0)[:, :, None], corners[after, rows], 0.0)
        n, k = (above.any(dim=0) & (levels > 0) & (after > 0)).nonzero(as_tuple=True)
        if not len(n):
            return offsets
        last = after[n, k]
        begin, piece = corners[last - 1, n], corners[last, n] - corners[last - 1, n]
        aim, within = levels[n, k] + slack[n] / 2, slack[n] / 2
        low, high = torch.zeros_like(aim), torch.ones_like(aim)  # shares of the piece
        below, beyond = heights[last - 1, n] - aim, heights[last, n] - aim
        for number in range(CUTS):
            rest = (beyond > within).nonzero()[:, 0]
            if not len(rest):
                break
            a, b = below[rest], beyond[rest]
            weight = (a / (a - b)).clamp(0.05, 0.95) if number % 3 < 2 else torch.full_like(a, 0.5)
            share = low[rest] + weight * (high - low)[rest]
            scores = self.scores(n[rest], begin[rest] + share[:, None] * piece[rest])
            off = sign * (scores - self.start[n[rest]]) - aim[rest]
            over = off >= -within[rest]
            high[rest[over]], beyond[rest[over]] = share[over], off[over]
            low[rest[~over]], below[rest[~over]] = share[~over], off[~over]
        offsets[n, k] = begin + high[:, None] * piece
        return offsets

    def _gradients(self, rows: Tensor, offsets: Tensor) -> Gradients:
        """Return scores and gradients by the latent of the frames at `offsets` (M, d) of the images `rows`."""
        parts = []
        for part, at in zip(rows.split(32), offsets.split(32), strict=True):
            at = at.detach().requires_grad_(True)
            with torch.enable_grad():
                frames = self.frame(part, at)
                scores = self.measure(frames)
                (plain,) = torch.autograd.grad(scores.sum(), at, retain_graph=self.steady is not None)
                own = plain if self.steady is None else torch.autograd.grad(self.steady(frames).sum(), at)[0]
            parts.append((scores.detach(), plain, own))
        scores, plain, own = (torch.cat(column) for column in zip(*parts, strict=True))
        return Gradients(scores, plain, own, self._agreement(plain, own))

    def _agreement(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the cosines (M,) of gradients (M, d) in the metric of the latents' covariance; at least 0."""
        if a is b:
            return a.new_ones(len(a))
        spread = b @ self.statistics.covariance.to(b)
        sizes = ((a @ self.statistics.covariance.to(a)) * a).sum(dim=1) * (spread * b).sum(dim=1)
        return ((a * spread).sum(dim=1) / sizes.sqrt().clamp_min(1e-12)).clamp_min(0.0)

    def _newton_step(self, gradients: Gradients, required: Tensor, longest: Tensor, *, share: float) -> Tensor:
        """Return the steps (M, d) of least length that should change the scores by `required`, shortened to
        `longest` (M,) where they are longer."""
        unit = self._unit_offset(gradients, share)
        step = unit * (required / (unit * gradients.plain).sum(dim=1).clamp_min(0.2))[:, None]
        return self.statistics.within(step, longest)

    def within(self, offsets: Tensor, budget: float) -> Tensor:
        """Return offsets (N, d), shortened to the budget where they are longer."""
        return self.statistics.within(offsets, budget)

    def _unit_offset(self, gradients: Gradients, share: float) -> Tensor:
        """Return the offsets (N, d) of one unit for gradients mixed with the global direction."""
        unit = self._least_offset(self._mixed_gradient(gradients, share))
        # The mixture decides the direction, the model's own gradient along it the length. Where the global
        # direction lowers the score of this image, its own gradient decides both.
        rise = (unit * gradients.plain).sum(dim=1)
        return torch.where((rise < 0.2)[:, None], self._least_offset(gradients.own), unit)

    def _mixed_gradient(self, gradients: Gradients, share: float) -> Tensor:
        """Return the images' own gradients (N, d) mixed with the global direction's, both for one unit; the
        weight of the own ones is `share` times their agreement."""
        if self.direction is None:
            return gradients.own
        step = self.direction.step.to(gradients.own)
        common = self.statistics.precision.to(gradients.own) @ step
        shares = (share * gradients.agreement)[:, None]
        return shares * gradients.own + (1 - shares) * common / (common @ step)

    def _least_offset(self, gradients: Tensor) -> Tensor:
        """Return the shortest offsets (N, d) that change a score of these gradients by one, and no score that
        is kept constant."""
        probes = gradients[:, None]
        if self.direction is not None:
            held = self.direction.held.to(gradients).expand(len(gradients), -1, -1)
            probes = torch.cat([probes, held], dim=1)
        spread = probes @ self.statistics.covariance.to(gradients)
        gram = spread @ probes.transpose(1, 2)
        ridge = 1e-6 * gram.diagonal(dim1=1, dim2=2).mean(dim=1).clamp_min(1e-12)
        gram = gram + ridge[:, None, None] * torch.eye(gram.shape[1], device=gradients.device)
        first = torch.zeros_like(probes[:, :, 0])
        first[:, 0] = 1.0
        return (torch.linalg.solve(gram, first)[:, None] @ spread)[:, 0]
