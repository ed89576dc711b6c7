"""The way from an image to the goal: which change of the latent to make for which step asked.

Source: Schutte et al. 2021 (arXiv 2101.07563), sec. 2: one straight line for all images. Differs (the
default, `follow`): the direction is asked again at every step and for every image, half the cohort's
and half the model's own gradient there, as an Euler walk corrected by Newton steps; so the way bends
where the model does, and a step asked is a step measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from contrafact.core import Generator
from contrafact.counterfactual.direction import Direction
from contrafact.counterfactual.inversion import carry_over
from contrafact.counterfactual.latent_statistics import LatentStatistics

LONGEST = 1.0  # of one correction, in standard deviations: beyond it a gradient tells nothing
SLACK = 0.04  # a level is reached when at most this share of a level too far


class Slopes(NamedTuple):
    """Scores (M,) of frames, and gradients (M, d) by the latent: of the plain score, of the score that decides
    where to go, and how far both agree (M,), 0 to 1."""

    scores: Tensor
    plain: Tensor
    own: Tensor
    agreement: Tensor

    def of(self, rows: Tensor) -> Slopes:
        """Some of them."""
        return Slopes(*(column[rows] for column in self))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LatentPath:
    """A batch of images on its way.

    images, drawn  (N, C, R, R) in [-1, 1]: as given, and as the generator draws their latents (N, d)
    start          (N,) scores of the images
    measure        images in [-1, 1] to scores (N,)
    direction      of the cohort; None: every image goes by its own gradient alone
    blend          what the generator cannot draw is kept; False: a frame is what it draws, and no more
    where          (N, 1, *S) the share of a change that is made at each pixel; None: all of it
    steady         images in [-1, 1] to scores (N,) under small changes; the own gradient is then that of
                   these scores, and it counts as far as both gradients agree. None: the plain one, in full
    """

    generator: Generator
    statistics: LatentStatistics
    direction: Direction | None
    measure: Callable[[Tensor], Tensor]
    images: Tensor
    latents: Tensor
    drawn: Tensor
    start: Tensor
    blend: bool = True
    where: Tensor | None = None
    steady: Callable[[Tensor], Tensor] | None = None

    def frame(self, rows: Tensor, moves: Tensor, where: Tensor | None = None) -> Tensor:
        """Images `rows` with their latents moved by `moves` (M, d); `where` (M, 1, *S) for these moves."""
        moved = self.generator.decode(self.latents[rows] + moves)
        if not self.blend:
            return moved.clamp(-1, 1)
        if where is None and self.where is not None:
            where = self.where[rows]
        change = moved - self.drawn[rows]
        return carry_over(self.images[rows], change if where is None else where * change)

    def scores(self, rows: Tensor, moves: Tensor, where: Tensor | None = None) -> Tensor:
        """The model's answer (M,) to those frames."""
        found = []
        with torch.no_grad():
            for part in torch.arange(len(rows)).split(64):
                here = None if where is None else where[part]
                found.append(self.measure(self.frame(rows[part], moves[part], here)))
        return torch.cat(found)

    def line(self) -> Tensor:
        """Moves (N, d) that ask for one unit, straight on: the cohort's, or each image's own gradient where
        it stands."""
        if self.direction is not None:
            return self.direction.step.to(self.latents).expand_as(self.latents)
        rows = torch.arange(len(self.latents))
        return self._unit(self._slopes(rows, torch.zeros_like(self.latents)).plain)

    def ahead(self, *, share: float) -> Tensor:
        """Moves (N, d) that ask for one unit, straight on the way that `follow` sets out on."""
        rows = torch.arange(len(self.latents))
        slopes = self._slopes(rows, torch.zeros_like(self.latents))
        unit = self._towards(slopes, share)
        return unit / (unit * slopes.plain).sum(dim=1).clamp_min(0.2)[:, None]

    def follow(self, asked: Tensor, *, share: float, budget: float) -> Tensor:
        """Moves (N, K, d) after which the scores have changed by `asked` (N, K), where they can.

        share   of the image's own gradient in the direction; the cohort's has the rest
        budget  greatest length of a move, in standard deviations
        cost    2 to 5 passes with gradients per level, up to 17 for the farthest of each side
        """
        asked = asked.to(self.latents)
        moves = self.latents.new_zeros(*asked.shape, self.latents.shape[1])
        slack = SLACK * asked.abs().amax(dim=1) / asked.shape[1]
        for sign in (-1.0, 1.0):
            side = (sign * asked).clamp_min(0)
            order = side.argsort(dim=1)
            here = torch.zeros_like(self.latents)
            for number, column in enumerate(order.t()):
                level = side.gather(1, column[:, None])[:, 0]
                tries = 16 if number == len(order[0]) - 1 else 4
                here = self._reach(here, sign, level, slack, tries=tries, share=share, budget=budget)
                moves[torch.arange(len(moves)), column] += here * (level > 0)[:, None]
        return moves

    def _reach(
        self,
        here: Tensor,
        sign: float,
        level: Tensor,
        slack: Tensor,
        *,
        tries: int,
        share: float,
        budget: float,
    ) -> Tensor:
        """Newton steps from `here` until each score lies at `level` or up to `slack` beyond it.

        The nearest move is kept, but the next step starts from the last one, better or worse: the
        model's surface is rough, and going down by its nearest slope ends in the nearest dent.
        """
        here, best = here.clone(), here.clone()
        gap = torch.full_like(level, torch.inf)
        rows = (level > 0).nonzero()[:, 0]
        for number in range(tries + 1):
            if not len(rows):
                break
            slopes = self._slopes(rows, here[rows])
            beyond = sign * (slopes.scores - self.start[rows]) - level[rows]
            away = torch.maximum(-beyond, beyond - slack[rows]).clamp_min(0)
            nearer = away < gap[rows]
            best[rows[nearer]], gap[rows[nearer]] = here[rows[nearer]], away[nearer]
            missing = away > 0
            rows, slopes, beyond = rows[missing], slopes.of(missing), beyond[missing]
            if number < tries and len(rows):
                wanted = sign * (slack[rows] / 2 - beyond)
                here[rows] = self._moved(here[rows], slopes, wanted, share=share, budget=budget)
        return best

    def _slopes(self, rows: Tensor, moves: Tensor) -> Slopes:
        """Scores (M,) and their gradients (M, d) by the latent."""
        found = []
        for part, at in zip(rows.split(32), moves.split(32), strict=True):
            at = at.detach().requires_grad_(True)
            with torch.enable_grad():
                frames = self.frame(part, at)
                scores = self.measure(frames)
                (plain,) = torch.autograd.grad(scores.sum(), at, retain_graph=self.steady is not None)
                own = plain if self.steady is None else torch.autograd.grad(self.steady(frames).sum(), at)[0]
            found.append((scores.detach(), plain, own))
        scores, plain, own = (torch.cat(column) for column in zip(*found, strict=True))
        return Slopes(scores, plain, own, self._agreement(plain, own))

    def _agreement(self, a: Tensor, b: Tensor) -> Tensor:
        """Cosines (M,) of gradients (M, d), measured where latents lie; below 0 counts as 0."""
        if a is b:
            return a.new_ones(len(a))
        spread = b @ self.statistics.covariance.to(b)
        sizes = ((a @ self.statistics.covariance.to(a)) * a).sum(dim=1) * (spread * b).sum(dim=1)
        return ((a * spread).sum(dim=1) / sizes.sqrt().clamp_min(1e-12)).clamp_min(0.0)

    def _moved(self, here: Tensor, slopes: Slopes, wanted: Tensor, *, share: float, budget: float) -> Tensor:
        """One step of least length that should change the scores by `wanted`, within the budget."""
        unit = self._towards(slopes, share)
        move = unit * (wanted / (unit * slopes.plain).sum(dim=1).clamp_min(0.2))[:, None]
        there = here + move * (LONGEST / self.statistics.length(move).clamp_min(LONGEST))[:, None]
        return self.within(there, budget)

    def within(self, moves: Tensor, budget: float) -> Tensor:
        """Moves (N, d), those that are too long cut to the budget."""
        return moves * (budget / self.statistics.length(moves).clamp_min(budget))[:, None]

    def _towards(self, slopes: Slopes, share: float) -> Tensor:
        """Where to go (N, d) from where the scores have these slopes."""
        unit = self._unit(self._mixed(slopes, share))
        # The mixture chooses the direction; how far to go is the model's own slope along it. Where the
        # cohort points the wrong way for this image, its own gradient decides.
        rise = (unit * slopes.plain).sum(dim=1)
        return torch.where((rise < 0.2)[:, None], self._unit(slopes.own), unit)

    def _mixed(self, slopes: Slopes, share: float) -> Tensor:
        """The images' own slopes (N, d) with the cohort's, both for a step of one unit; the own ones as far as
        they are steady."""
        if self.direction is None:
            return slopes.own
        step = self.direction.step.to(slopes.own)
        common = self.statistics.precision.to(slopes.own) @ step
        shares = (share * slopes.agreement)[:, None]
        return shares * slopes.own + (1 - shares) * common / (common @ step)

    def _unit(self, slopes: Tensor) -> Tensor:
        """The shortest moves (N, d) that change a score of these slopes by one, and nothing that is held."""
        probes = slopes[:, None]
        if self.direction is not None:
            held = self.direction.held.to(slopes).expand(len(slopes), -1, -1)
            probes = torch.cat([probes, held], dim=1)
        spread = probes @ self.statistics.covariance.to(slopes)
        gram = spread @ probes.transpose(1, 2)
        ridge = 1e-6 * gram.diagonal(dim1=1, dim2=2).mean(dim=1).clamp_min(1e-12)
        gram = gram + ridge[:, None, None] * torch.eye(gram.shape[1], device=slopes.device)
        first = torch.zeros_like(probes[:, :, 0])
        first[:, 0] = 1.0
        return (torch.linalg.solve(gram, first)[:, None] @ spread)[:, 0]
