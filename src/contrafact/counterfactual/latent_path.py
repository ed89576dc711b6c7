"""The latent path of an image: the latent offset for each requested change of its score.

Source: Schutte et al. 2021 (arXiv 2101.07563), sec. 2: one straight line for all images. Differs (the
default, `follow`): the direction is computed again at every step and for every image, half the global
direction and half the model's own gradient there, in Euler steps corrected by Newton steps; so the path
bends where the model does, and the achieved change equals the requested one.
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

LONGEST = 1.0  # greatest latent distance (SD) of a first Newton step: a gradient is valid no farther
SLACK = 0.04  # a requested change counts as achieved up to this share of a level beyond it


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

        share   weight of the image's own gradient in the direction; the global direction has the rest
        budget  greatest latent distance (SD) of an offset
        cost    2 to 5 passes with gradients per level, up to 17 for the greatest change of each sign
        """
        requested = requested.to(self.latents)
        offsets = self.latents.new_zeros(*requested.shape, self.latents.shape[1])
        slack = SLACK * requested.abs().amax(dim=1) / requested.shape[1]
        for sign in (-1.0, 1.0):
            side = (sign * requested).clamp_min(0)
            order = side.argsort(dim=1)
            here = torch.zeros_like(self.latents)
            for position, column in enumerate(order.t()):
                level = side.gather(1, column[:, None])[:, 0]
                tries = 16 if position == len(order[0]) - 1 else 4
                here = self._reach(here, sign, level, slack, tries=tries, share=share, budget=budget)
                offsets[torch.arange(len(offsets)), column] += here * (level > 0)[:, None]
        return offsets

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
        """Return offsets (N, d) after Newton steps from `here`, until each score lies at `level` or up to
        `slack` beyond it.

        The best offset is kept, but the next step starts from the last one, better or worse: the model's
        surface is rough, and accepting only improvements ends in the nearest local minimum. A step that brings
        less than half of what the gradient promised halves the greatest length of the next one; without this
        the steps of a rough surface amplify rounding errors until two equal images end in two different frames.
        """
        here, best = here.clone(), here.clone()
        gap, enough = torch.full_like(level, torch.inf), torch.full_like(level, torch.inf)
        longest = torch.full_like(level, LONGEST)
        rows = (level > 0).nonzero()[:, 0]
        for number in range(tries + 1):
            if not len(rows):
                break
            gradients = self._gradients(rows, here[rows])
            beyond = sign * (gradients.scores - self.start[rows]) - level[rows]
            distance = torch.maximum(-beyond, beyond - slack[rows]).clamp_min(0)
            closer = distance < gap[rows]
            best[rows[closer]], gap[rows[closer]] = here[rows[closer]], distance[closer]
            longest[rows[distance > enough[rows]]] /= 2
            missing = distance > 0
            rows, gradients, beyond = rows[missing], gradients.of(missing), beyond[missing]
            if number < tries and len(rows):
                required = sign * (slack[rows] / 2 - beyond)
                step = self._newton_step(gradients, required, longest[rows], share=share)
                promised = sign * (step * gradients.plain).sum(dim=1)
                enough[rows] = distance[missing] - promised.abs() / 2
                here[rows] = self.within(here[rows] + step, budget)
        return best

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
        return step * (longest / torch.maximum(self.statistics.length(step), longest))[:, None]

    def within(self, offsets: Tensor, budget: float) -> Tensor:
        """Return offsets (N, d), shortened to the budget where they are longer."""
        return offsets * (budget / self.statistics.length(offsets).clamp_min(budget))[:, None]

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
