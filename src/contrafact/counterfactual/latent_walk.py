from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from contrafact.core import EXPLAINERS, Counterfactual, InputError, Question, digest, fingerprint
from contrafact.core.contents import digest_of_content
from contrafact.counterfactual.bundle import Bundle
from contrafact.counterfactual.direction import Direction
from contrafact.counterfactual.inversion import Refinement, invert
from contrafact.counterfactual.latent_path import LatentPath
from contrafact.counterfactual.region import region_on_canvas
from contrafact.counterfactual.steady_gradient import steady

Measure = Callable[[Tensor], Tensor]


@EXPLAINERS.register("latent-walk", aliases=("latent_walk", "walk"))
@dataclass(frozen=True, slots=True, kw_only=True)
class LatentWalk:
    """The same image, changed along the model's direction until the model changes its mind.

    images  float32 (N, C, H, W) in the bundle's units, at least the bundle's size
    gives   one `Counterfactual` per image, on the bundle's grid over the same field of view: the image plus
            what the generator changes, G(w + d) - G(w), measured by the model frame by frame
    cost    one encoder pass, `refinement.steps` passes with gradients, 2 to 3 more per frame (on a
            straight line about 20 without gradients), and `frames` for the strip; images of a batch
            together
    raises  InputError without a bundle, for images outside the bundle's range, or a goal that is
            no probability
    Source: Schutte et al. 2021 (arXiv 2101.07563), sec. 2. Differs: the latent is refined; what the
    generator cannot draw is carried over; the step is the shortest one in latent space, its unit is a
    unit of the target, and it follows the model's own gradient (see `path`); the smallest step is
    searched per image, within a budget.

    goal      probability of the class to reach (0.9: at least, 0.1: at most), or the value itself
              for a regression or grade; None: the other side (0.9 when below one half, else 0.1)
    steps     a fixed row of steps in target units instead of a search
    levels    several goals, one frame each (KL grade 0, 1, 2, 3, 4), instead of a search
    hold      scores to leave as they are, to first order: other directions of the bundle, by
              PREDICTOR/TARGET (`cheat/class:1`)
    frames    how many frames a searched strip has
    budget    greatest length of a step, in standard deviations of synthetic images
    follow    share of the image's own gradient in the direction, from 0 to 1; 0, or a model without
              gradients: one straight line for all images
    steady    follow the gradient of the score under small shifts, blur and noise, and only as far as the plain
              gradient agrees with it: changes that fool one model are not steady
    blend     keep what the generator cannot draw; False: the frames are its drawings alone, the first one too
    tolerance drift above which the strip is flagged, in target units
    """

    strip: ClassVar[bool] = True
    needs_bundle: ClassVar[bool] = True
    needs_part: ClassVar[str] = "directions"
    goal: float | None = None
    steps: tuple[float, ...] | None = None
    levels: tuple[float, ...] | None = None
    hold: tuple[str, ...] = ()
    frames: int = 9
    budget: float = 5.0
    follow: float = 0.5
    steady: bool = True
    blend: bool = True
    tolerance: float = 1.0
    refinement: Refinement = field(default_factory=Refinement)

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise InputError(f"frames must be at least 2; got {self.frames}")
        if not self.budget > 0:
            raise InputError(f"budget must be above 0; got {self.budget}")
        if not 0 <= self.follow <= 1:
            raise InputError(f"follow must be from 0 to 1; got {self.follow}")
        if sum(x is not None for x in (self.goal, self.steps, self.levels)) > 1:
            raise InputError("expected one of goal, steps and levels; got several")

    def __call__(self, question: Question, rng: np.random.Generator) -> list[Counterfactual]:
        bundle = bundle_of(question, "latent-walk")
        direction = bundle.direction(question.predictor, question.target)
        if self.hold:
            direction = bundle.holding(direction, self.hold)
        return self.strips(question, bundle, direction)

    def strips(self, question: Question, bundle: Bundle, direction: Direction | None) -> list[Counterfactual]:
        """Along a direction, or (None) along each image's own gradient."""
        canvas, latents = inverted(question, bundle, self.refinement)
        walk = LatentSearch(self, question, bundle, direction, canvas, latents)
        if self.steps is not None:
            row = torch.tensor(sorted({0.0, *map(float, self.steps)}))
            asked = row.expand(len(canvas), -1)
            return walk.strips(asked, walk.moves(asked), ["steps"] * len(canvas), [None] * len(canvas))
        if self.levels is not None:
            return walk.level_strips(self.levels)
        goals = walk.goals()
        asked, moves, stopped = walk.search(goals, met=walk.satisfied(goals), frames=self.frames)
        return walk.strips(asked, moves, stopped, goals.tolist())


def bundle_of(question: Question, method: str) -> Bundle:
    """The question's bundle, or an error that says what it is for."""
    if not isinstance(question.bundle, Bundle):
        raise InputError(f"{method} needs a bundle (generator, encoder, directions); got none")
    return question.bundle


def inverted(question: Question, bundle: Bundle, refinement: Refinement) -> tuple[Tensor, Tensor]:
    """The question's images (N, C, R, R) as the generator has them, in [-1, 1], and their latents (N, d)."""
    canvas = bundle.to_canvas(torch.as_tensor(question.images).to(bundle.latent.statistics.mean.device))
    predictor, target, slopes = question.predictor, question.target, differentiable(question)
    # Found by its first three words (`living.asking`); several bundles may keep theirs in one place.
    asked = f"{digest(question.images)} {getattr(predictor, 'digest', '')} {target} "
    if bundle.found is not None:
        asked += fingerprint(bundle.digest, refinement, digest_of_content(target))
        if asked in bundle.found:
            question.notes["latents_kept"] = [1.0] * len(canvas)
            return canvas, bundle.found[asked].to(canvas.device)
    latents = invert(
        bundle.latent.generator,
        bundle.latent.encoder,
        canvas,
        statistics=bundle.latent.statistics,
        refinement=refinement,
        score=bundle.scorer(predictor, target) if slopes else None,
        features=_features(question, bundle) if slopes and refinement.feature else None,
        excess=bundle.excess(predictor, target) if slopes else None,
    )
    if bundle.found is not None:
        bundle.found[asked] = latents.cpu()
    return canvas, latents


def _features(question: Question, bundle: Bundle) -> Measure:
    """Images in [-1, 1] to what the model's last spatial layer gives."""
    predictor: Any = question.predictor
    if not getattr(predictor, "watchable", False):
        raise InputError("refinement.feature needs a model whose layers can be watched; set it to 0")

    layer = predictor.feature_layer(question.images)

    def features(images: Tensor) -> Tensor:
        with predictor.watch(layer.name) as seen:
            predictor(bundle.to_units(images))
        found: Tensor = seen[-1]
        return found

    return features


def differentiable(question: Question) -> bool:
    """Whether the model gives gradients."""
    return bool(getattr(question.predictor, "differentiable", True))


class LatentSearch:
    """One batch on its way: its latents, and the model's answers.

    canvas, latents  as `inverted` gives them
    direction        None: each image goes by its own gradient
    """

    def __init__(
        self,
        walk: LatentWalk,
        question: Question,
        bundle: Bundle,
        direction: Direction | None,
        canvas: Tensor,
        latents: Tensor,
    ) -> None:
        self.walk, self.bundle, self.question = walk, bundle, question
        measure: Measure = bundle.scorer(question.predictor, question.target)
        self.follows = differentiable(question) and walk.follow > 0
        with torch.no_grad():
            drawn = bundle.latent.generator.decode(latents)
            start = measure(canvas)
            # Of the whole image, as the model sees it without us: reducing it to the canvas may
            # move the model too.
            whole = question.target(question.predictor(question.images))
            self.drift = torch.maximum((measure(drawn) - whole).abs(), (start - whole).abs())
        self.start = start.cpu()
        self.walker = LatentPath(
            generator=bundle.latent.generator,
            statistics=bundle.latent.statistics,
            direction=direction,
            measure=measure,
            images=canvas,
            latents=latents,
            drawn=drawn,
            start=start.to(canvas),
            blend=walk.blend,
            steady=steady(measure) if walk.steady and self.follows else None,
            where=region_on_canvas(question, canvas),
        )

    @cached_property
    def line(self) -> Tensor:
        """(N, d): one unit asked, straight on."""
        return self.walker.line()

    @cached_property
    def ahead(self) -> Tensor:
        """(N, d): one unit asked, straight on the way on which this image sets out."""
        return self.walker.ahead(share=self.walk.follow) if self.follows else self.line

    def at_once(self, asked: float, *, bends: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Frames (N, C, *S) in [-1, 1], straight ahead or following the model, within the budget; their
        scores and lengths (N,).

        cost  one pass, the first time one with gradients; following up to 17 with gradients
        """
        if bends and self.follows:
            moves = self.moves(torch.full((len(self.start), 1), asked))[:, 0]
        else:
            moves = self.walker.within(asked * self.ahead, self.walk.budget)
        with torch.no_grad():
            frames = self.walker.frame(torch.arange(len(moves)), moves)
            return frames, self.walker.measure(frames).cpu(), self.bundle.latent.statistics.length(moves).cpu()

    @cached_property
    def reach(self) -> Tensor:
        """(N,) units that the budget allows on the straight line."""
        return (self.walk.budget / self.bundle.latent.statistics.length(self.line).clamp_min(1e-12)).cpu()

    def goals(self) -> Tensor:
        """(N,) the score to look for, in target units."""
        return torch.tensor([self.goal(float(s)) for s in self.start])

    def goal(self, start: float) -> float:
        """The score to look for, in target units."""
        to_score = getattr(self.question.target, "score_of", lambda value: value)
        if self.walk.goal is not None:
            return float(to_score(self.walk.goal))
        if not hasattr(self.question.target, "score_of"):
            raise InputError(f"expected a goal for target {self.question.target}; got none")
        return float(to_score(0.9 if start < 0 else 0.1))

    def moves(self, asked: Tensor) -> Tensor:
        """Moves (N, K, d) of the latents for steps asked (N, K)."""
        if self.follows:
            return self.walker.follow(asked, share=self.walk.follow, budget=self.walk.budget)
        return self._straight(asked)

    def _straight(self, asked: Tensor) -> Tensor:
        """Moves (N, K, d) on the straight line."""
        return asked[:, :, None].to(self.line) * self.line[:, None]

    def scores(self, rows: Tensor, steps: Tensor) -> Tensor:
        """Along the straight line."""
        return self.walker.scores(rows, steps[:, None].to(self.line) * self.line[rows]).cpu()

    def satisfied(self, goals: Tensor) -> Tensor:
        """Images (N,) that are as sure as was asked: at least 0.9, or at most 0.1."""
        start = self.start
        if not hasattr(self.question.target, "score_of"):
            return torch.zeros(len(start), dtype=torch.bool)
        return ((goals > 0) & (start >= goals)) | ((goals < 0) & (start <= goals))

    def search(
        self, goals: Tensor, *, met: Tensor | None = None, frames: int = 2
    ) -> tuple[Tensor, Tensor, list[str]]:
        """Steps (N, frames) from none to the smallest that reaches each goal, moves, and why it ended."""
        close = torch.isclose(self.start, goals, atol=1e-3)
        met = close if met is None else close | met
        shares = torch.linspace(0, 1, frames)
        if self.follows:
            ends, reached = torch.where(met, 0.0, goals - self.start), None
        else:
            ends, reached = self._least(goals, met)
        asked = ends[:, None] * shares
        moves = self.moves(asked)
        return asked, moves, self._why(ends, moves[:, -1], goals, met, reached)

    def _why(
        self, ends: Tensor, moves: Tensor, goals: Tensor, met: Tensor, reached: Tensor | None = None
    ) -> list[str]:
        """Why the search for each goal ended; `reached` as the last frames measure it, unless known."""
        final = self.walker.scores(torch.arange(len(ends)), moves).cpu()
        if reached is None:
            reached = (final - goals) * ends.sign() >= 0
        return reasons(reached, met, (final - self.start) / ends, self.spent(moves))

    def spent(self, moves: Tensor) -> Tensor:
        """Whether moves (N, d) are as long as the budget allows."""
        return self.bundle.latent.statistics.length(moves).cpu() > 0.98 * self.walk.budget

    def _least(self, goals: Tensor, met: Tensor) -> tuple[Tensor, Tensor]:
        """The smallest step (N,) on the straight line: bracketing by doubling, then bisection."""
        sign = torch.where(goals >= self.start, 1.0, -1.0)
        low, high = torch.zeros_like(goals), torch.zeros_like(goals)
        reached = met.clone()
        size = self.reach.to(goals).clamp_max(0.5)
        open_rows = (~met).nonzero()[:, 0]
        while len(open_rows):
            found = self._beyond(open_rows, size, sign, goals)
            high[open_rows] = size[open_rows]
            reached[open_rows[found]] = True
            missed = open_rows[~found]
            missed = missed[size[missed] < self.reach[missed]]
            low[missed] = size[missed]
            size[missed] = torch.minimum(size[missed] * 2, self.reach[missed])
            open_rows = missed
        rows = (reached & ~met).nonzero()[:, 0]
        for _ in range(10 if len(rows) else 0):
            middle = (low + high) / 2
            found = self._beyond(rows, middle, sign, goals)
            high[rows[found]] = middle[rows[found]]
            low[rows[~found]] = middle[rows[~found]]
        return sign * high, reached

    def _beyond(self, rows: Tensor, size: Tensor, sign: Tensor, goals: Tensor) -> Tensor:
        scores = self.scores(rows, sign[rows] * size[rows])
        return (scores - goals[rows]) * sign[rows] >= 0

    def level_strips(self, levels: Sequence[float]) -> list[Counterfactual]:
        """One frame per level and one for the image itself, in the order of their steps."""
        to_score = getattr(self.question.target, "score_of", float)
        goals = [torch.full_like(self.start, float(to_score(v))) for v in levels]
        if self.follows:
            asked = torch.stack([torch.zeros_like(self.start), *(g - self.start for g in goals)], dim=1)
            asked = torch.where(asked.abs() < 1e-3, 0.0, asked)
            moves = self.moves(asked)
            why = [
                self._why(asked[:, k], moves[:, k], goal, asked[:, k] == 0)
                for k, goal in enumerate(goals, start=1)
            ]
        else:
            found = [self.search(goal) for goal in goals]
            asked = torch.stack([torch.zeros_like(self.start), *(f[0][:, -1] for f in found)], dim=1)
            moves = self._straight(asked)
            why = [f[2] for f in found]
        missed = [[w[i] for w in why if w[i] not in ("reached", "already")] for i in range(len(asked))]
        stopped = [reasons[0] if reasons else "reached" for reasons in missed]
        order = asked.argsort(dim=1)
        moves = moves.gather(1, order[:, :, None].expand_as(moves).to(moves.device))
        return self.strips(asked.gather(1, order), moves, stopped, [None] * len(asked))

    def strips(
        self, asked: Tensor, moves: Tensor, stopped: list[str], goals: Sequence[float | None]
    ) -> list[Counterfactual]:
        """Draw and measure every frame; steps that are the same one are drawn once."""
        grid, walker = self.question.grid.resized(self.walker.images.shape[2:]), self.walker
        strips = []
        for i, row in enumerate(asked):
            keep = torch.cat([torch.ones(1, dtype=torch.bool), row.diff().abs() > 1e-6])
            steps, move = row[keep].double().numpy(), moves[i][keep.to(moves.device)]
            with torch.no_grad():
                frames = walker.frame(torch.full((len(steps),), i), move)
                origin = int(np.argmin(np.abs(steps)))
                if walker.blend:
                    frames[origin] = walker.images[i]
                scores = walker.measure(frames)
            drift = float(self.drift[i])
            strips.append(
                Counterfactual(
                    frames=self.bundle.to_units(frames).cpu().numpy(),
                    steps=steps,
                    scores=scores.double().cpu().numpy(),
                    lengths=self.bundle.latent.statistics.length(move).double().cpu().numpy(),
                    origin=origin,
                    drift=drift,
                    drifted=drift > self.walk.tolerance or not math.isfinite(drift),
                    stopped=stopped[i],
                    goal=goals[i],
                    reconstruction=self.bundle.to_units(walker.drawn[i]).cpu().numpy(),
                    grid=grid,
                )
            )
        return strips


def reasons(reached: Tensor, met: Tensor, moved: Tensor, spent: Tensor) -> list[str]:
    """Why each search ended; `moved` is what a unit asked has changed, `spent` whether the budget is."""
    reasons = []
    for i in range(len(met)):
        if met[i]:
            reasons.append("already")
        elif reached[i]:
            reasons.append("reached")
        else:
            reasons.append("no_change" if float(moved[i]) <= 0.05 else "budget" if spent[i] else "search")
    return reasons
