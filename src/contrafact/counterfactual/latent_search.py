"""The search for the smallest latent change that brings a score to its goal, shared by the latent methods."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from contrafact.core import Counterfactual, InputError, Predictor, Question, Target, digest, fingerprint
from contrafact.core.contents import digest_of_content
from contrafact.core.protocols import input_size
from contrafact.core.results import tolerance_of
from contrafact.core.target_kinds import GoalTarget, OddsTarget, score_of_goal
from contrafact.counterfactual.bundle import Bundle
from contrafact.counterfactual.direction import Direction
from contrafact.counterfactual.inversion import Refinement, invert
from contrafact.counterfactual.latent_path import LatentPath
from contrafact.counterfactual.region import region_on_canvas
from contrafact.counterfactual.steady_gradient import steady

Measure = Callable[[Tensor], Tensor]


def bundle_of(question: Question, method: str) -> Bundle:
    """Return the question's bundle. Raise InputError where it has none."""
    if not isinstance(question.bundle, Bundle):
        given = "none" if question.bundle is None else type(question.bundle).__name__
        raise InputError(f"{method} needs a bundle (a name, a folder, or that of load_bundle); got {given}")
    return question.bundle


def inverted(question: Question, bundle: Bundle, refinement: Refinement) -> tuple[Tensor, Tensor]:
    """Return the question's images (N, C, R, R) in [-1, 1] at the generator's size, and their latents (N, d),
    at the cost of `invert`, or from the bundle's cache."""
    canvas = bundle.to_canvas(torch.as_tensor(question.images).to(bundle.latent.statistics.mean.device))
    predictor, target, has_gradients = question.predictor, question.target, differentiable(question)
    check_size(predictor, bundle, tuple(canvas.shape[2:]))
    # The first three words of a key identify the entries of an image; several bundles may share one cache.
    key = f"{digest(question.images)} {predictor.digest} {target} "
    if bundle.found is not None:
        key += fingerprint(bundle.digest, refinement, digest_of_content(target))
        if key in bundle.found:
            question.notes["latents_kept"] = [1.0] * len(canvas)
            return canvas, bundle.found[key].to(canvas.device)
    latents = invert(
        bundle.latent.generator,
        bundle.latent.encoder,
        canvas,
        statistics=bundle.latent.statistics,
        refinement=refinement,
        score=bundle.scorer(predictor, target) if has_gradients else None,
        features=_features(question, bundle) if has_gradients and refinement.feature else None,
        excess=bundle.excess(predictor, target) if has_gradients else None,
    )
    if bundle.found is not None:
        bundle.found[key] = latents.cpu()
    return canvas, latents


def check_size(predictor: Predictor, bundle: Bundle, size: tuple[int, ...]) -> None:
    """Raise InputError for a model that takes larger images than the generator makes."""
    least = input_size(predictor)
    if least and any(have < need for have, need in zip(size, least, strict=True)):
        own = bundle.for_latent_space().predictor
        names = [name for name, known in bundle.predictors.items() if known is own]
        have, need = (" x ".join(map(str, sides)) for sides in (size, least))
        raise InputError(
            f"the generator of bundle '{bundle.name}' makes images of {have}; expected a model of that size; "
            f"got one that takes {need}: use the bundle's predictor {', '.join(names)}, or the method translate"
        )


def _features(question: Question, bundle: Bundle) -> Measure:
    """Return a function of images in [-1, 1] that gives the features of the model's last spatial layer."""
    predictor: Any = question.predictor
    if not predictor.watchable:
        raise InputError("refinement.feature needs a model whose layers can be watched; set it to 0")

    layer = predictor.feature_layer(question.images)

    def features(images: Tensor) -> Tensor:
        with predictor.watch(layer.name) as outputs:
            predictor(bundle.to_units(images))
        last: Tensor = outputs[-1]
        return last

    return features


def check_requests(*, goal: Any, steps: Any, levels: Any, frames: Any) -> None:
    """Raise InputError for several of goal, steps and levels, rows that are not numbers, and too few frames."""
    if not isinstance(frames, Integral) or frames < 2:
        raise InputError(f"frames must be at least 2, a whole number; got {frames}")
    if sum(x is not None for x in (goal, steps, levels)) > 1:
        raise InputError("expected one of goal, steps and levels; got several")
    for name, row in (("steps", steps), ("levels", levels)):
        values = list(row) if isinstance(row, Iterable) else []
        if row is not None and not (values and all(isinstance(v, Real) and math.isfinite(v) for v in values)):
            raise InputError(f"{name} must be a list of finite numbers, such as [0.1, 0.5]; got {row!r:.60}")


def differentiable(question: Question) -> bool:
    """Whether the question's model gives gradients."""
    return question.predictor.differentiable


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """Parameters of a latent search, with the meanings of `LatentWalk`.

    raises  InputError for values out of range, or several of goal, steps and levels
    """

    goal: float | None = None
    steps: tuple[float, ...] | None = None
    levels: tuple[float, ...] | None = None
    frames: int = 9
    budget: float = 5.0
    follow: float = 0.5
    steady: bool = True
    blend: bool = True
    tolerance: float = 1.0

    def __post_init__(self) -> None:
        check_requests(goal=self.goal, steps=self.steps, levels=self.levels, frames=self.frames)
        if not self.budget > 0:
            raise InputError(f"budget must be above 0; got {self.budget}")
        if not 0 <= self.follow <= 1:
            raise InputError(f"follow must be from 0 to 1; got {self.follow}")


class LatentSearch:
    """The search for counterfactuals of one batch of images, along their latent paths.

    canvas, latents  as `inverted` returns them
    direction        the global direction; None: each image follows its own gradient
    """

    def __init__(
        self,
        settings: SearchSettings,
        question: Question,
        bundle: Bundle,
        direction: Direction | None,
        canvas: Tensor,
        latents: Tensor,
    ) -> None:
        self.settings, self.bundle, self.question = settings, bundle, question
        measure: Measure = bundle.scorer(question.predictor, question.target)
        self.follows = differentiable(question) and settings.follow > 0
        with torch.no_grad():
            reconstruction = bundle.latent.generator.decode(latents)
            start = measure(canvas)
            # Relative to the score of the original image: resampling to the canvas may change the score too.
            whole = question.target(question.predictor(question.images))
            changes = (measure(reconstruction) - whole).abs(), (start - whole).abs()
            self.reconstruction_error = torch.maximum(*changes)
        self.start = start.cpu()
        self.path = LatentPath(
            generator=bundle.latent.generator,
            statistics=bundle.latent.statistics,
            direction=direction,
            measure=measure,
            images=canvas,
            latents=latents,
            reconstruction=reconstruction,
            start=start.to(canvas),
            blend=settings.blend,
            steady=steady(measure) if settings.steady and self.follows else None,
            where=region_on_canvas(question, canvas),
        )

    def requested_strips(self) -> list[Counterfactual]:
        """Return the counterfactuals of the settings: a fixed row of steps, levels, or a search of the goal."""
        settings, count = self.settings, len(self.start)
        if settings.steps is not None:
            steps = torch.tensor(sorted({0.0, *map(float, settings.steps)}))
            requested = steps.expand(count, -1)
            return self.strips(requested, self.offsets(requested), ["steps"] * count, [None] * count)
        if settings.levels is not None:
            return self.level_strips(settings.levels)
        goals = self.goals()
        met = self.satisfied(goals)
        requested, offsets, outcomes = self.search(goals, met=met, frames=settings.frames)
        return self.strips(requested, offsets, outcomes, goals.tolist())

    @cached_property
    def line(self) -> Tensor:
        """Return the offsets (N, d) of one unit on the straight line."""
        return self.path.line()

    @cached_property
    def ahead(self) -> Tensor:
        """Return the offsets (N, d) of one unit, straight along the initial direction of the latent path."""
        return self.path.ahead(share=self.settings.follow) if self.follows else self.line

    def single_frames(self, requested: float, *, bends: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Return one frame per image, (N, C, *S) in [-1, 1], for a requested change within the budget, with its
        scores (N,) and latent distances (N,). `bends` follows the model, for up to 17 passes with gradients."""
        if bends and self.follows:
            offsets = self.offsets(torch.full((len(self.start), 1), requested))[:, 0]
        else:
            offsets = self.path.within(requested * self.ahead, self.settings.budget)
        with torch.no_grad():
            frames = self.path.frame(torch.arange(len(offsets)), offsets)
            distances = self.bundle.latent.statistics.length(offsets).cpu()
            return frames, self.path.measure(frames).cpu(), distances

    @cached_property
    def reach(self) -> Tensor:
        """Return the greatest change (N,) in target units that the budget allows on the straight line."""
        return (self.settings.budget / self.bundle.latent.statistics.length(self.line).clamp_min(1e-12)).cpu()

    def goals(self) -> Tensor:
        """Return the goal scores (N,) in target units."""
        return torch.tensor([self.goal(float(s)) for s in self.start])

    def goal(self, start: float) -> float:
        """Return the goal score, in target units, for an image of score `start`."""
        return goal_score(self.question.target, self.settings.goal, start)

    def _limit(self, row: int) -> float:
        return tolerance_of(str(self.question.target), self.settings.tolerance, float(self.start[row]))

    def offsets(self, requested: Tensor) -> Tensor:
        """Return the latent offsets (N, K, d) for requested changes (N, K)."""
        if self.follows:
            return self.path.follow(requested, share=self.settings.follow, budget=self.settings.budget)
        return self._straight(requested)

    def _straight(self, requested: Tensor) -> Tensor:
        """Return the latent offsets (N, K, d) for requested changes (N, K) on the straight line."""
        return requested[:, :, None].to(self.line) * self.line[:, None]

    def scores(self, rows: Tensor, steps: Tensor) -> Tensor:
        """Return the scores (M,) of the images `rows` after requested changes (M,) on the straight line."""
        return self.path.scores(rows, steps[:, None].to(self.line) * self.line[rows]).cpu()

    def satisfied(self, goals: Tensor) -> Tensor:
        """Whether the unchanged images (N,) meet their goals already; without a decision, never."""
        start = self.start
        if not isinstance(self.question.target, OddsTarget):
            return torch.zeros(len(start), dtype=torch.bool)
        return ((goals > 0) & (start >= goals)) | ((goals < 0) & (start <= goals))

    def search(
        self, goals: Tensor, *, met: Tensor | None = None, frames: int = 2
    ) -> tuple[Tensor, Tensor, list[str]]:
        """Return requested changes (N, frames) from 0 to the smallest that reaches each goal, the latent
        offsets (N, frames, d), and the outcomes; `met` marks images that need no change."""
        close = torch.isclose(self.start, goals, atol=1e-3)
        met = close if met is None else close | met
        fractions = torch.linspace(0, 1, frames)
        if self.follows:
            ends, reached = torch.where(met, 0.0, goals - self.start), None
        else:
            ends, reached = self._least(goals, met)
        requested = ends[:, None] * fractions
        offsets = self.offsets(requested)
        return requested, offsets, self._outcomes(ends, offsets[:, -1], goals, met, reached)

    def _outcomes(
        self, ends: Tensor, offsets: Tensor, goals: Tensor, met: Tensor, reached: Tensor | None = None
    ) -> list[str]:
        """Return the outcome of each search; without `reached`, the last frames decide whether it succeeded."""
        final = self.path.scores(torch.arange(len(ends)), offsets).cpu()
        if reached is None:
            reached = (final - goals) * ends.sign() >= 0
        return outcomes_of(reached, met, (final - self.start) / ends, self.spent(offsets))

    def spent(self, offsets: Tensor) -> Tensor:
        """Whether latent offsets (N, d) use up the budget."""
        return self.bundle.latent.statistics.length(offsets).cpu() > 0.98 * self.settings.budget

    def _least(self, goals: Tensor, met: Tensor) -> tuple[Tensor, Tensor]:
        """Return the smallest change (N,) on the straight line that reaches each goal, and whether one does;
        the search brackets it by doubling, then bisects."""
        sign = torch.where(goals >= self.start, 1.0, -1.0)
        low, high = torch.zeros_like(goals), torch.zeros_like(goals)
        reached = met.clone()
        size = self.reach.to(goals).clamp_max(0.5)
        open_rows = (~met).nonzero()[:, 0]
        while len(open_rows):
            enough = self._beyond(open_rows, size, sign, goals)
            high[open_rows] = size[open_rows]
            reached[open_rows[enough]] = True
            missed = open_rows[~enough]
            missed = missed[size[missed] < self.reach[missed]]
            low[missed] = size[missed]
            size[missed] = torch.minimum(size[missed] * 2, self.reach[missed])
            open_rows = missed
        rows = (reached & ~met).nonzero()[:, 0]
        for _ in range(10 if len(rows) else 0):
            middle = (low + high) / 2
            enough = self._beyond(rows, middle, sign, goals)
            high[rows[enough]] = middle[rows[enough]]
            low[rows[~enough]] = middle[rows[~enough]]
        return sign * high, reached

    def _beyond(self, rows: Tensor, size: Tensor, sign: Tensor, goals: Tensor) -> Tensor:
        """Whether changes of `size` on the straight line reach the goals of the images `rows`."""
        scores = self.scores(rows, sign[rows] * size[rows])
        return (scores - goals[rows]) * sign[rows] >= 0

    def level_strips(self, levels: Sequence[float]) -> list[Counterfactual]:
        """Return counterfactuals with one frame per level and one for the image, by requested change."""
        goals = [torch.full_like(self.start, score_of_goal(self.question.target, v)) for v in levels]
        if self.follows:
            requested = torch.stack([torch.zeros_like(self.start), *(g - self.start for g in goals)], dim=1)
            requested = torch.where(requested.abs() < 1e-3, 0.0, requested)
            offsets = self.offsets(requested)
            per_level = [
                self._outcomes(requested[:, k], offsets[:, k], goal, requested[:, k] == 0)
                for k, goal in enumerate(goals, start=1)
            ]
        else:
            searches = [self.search(goal) for goal in goals]
            requested = torch.stack([torch.zeros_like(self.start), *(f[0][:, -1] for f in searches)], dim=1)
            offsets = self._straight(requested)
            per_level = [f[2] for f in searches]
        rows = range(len(requested))
        missed = [[w[i] for w in per_level if w[i] not in ("reached", "already")] for i in rows]
        outcomes = [failures[0] if failures else "reached" for failures in missed]
        order = requested.argsort(dim=1)
        offsets = offsets.gather(1, order[:, :, None].expand_as(offsets).to(offsets.device))
        return self.strips(requested.gather(1, order), offsets, outcomes, [None] * len(requested))

    def strips(
        self, requested: Tensor, offsets: Tensor, outcomes: list[str], goals: Sequence[float | None]
    ) -> list[Counterfactual]:
        """Return the counterfactuals with every frame generated and scored; equal requests share one frame."""
        grid, path = self.question.grid.resized(self.path.images.shape[2:]), self.path
        strips = []
        for i, row in enumerate(requested):
            keep = torch.cat([torch.ones(1, dtype=torch.bool), row.diff().abs() > 1e-6])
            steps, kept = row[keep].double().numpy(), offsets[i][keep.to(offsets.device)]
            with torch.no_grad():
                frames = path.frame(torch.full((len(steps),), i), kept)
                origin = int(np.argmin(np.abs(steps)))
                if path.blend:
                    frames[origin] = path.images[i]
                scores = path.measure(frames)
            error = float(self.reconstruction_error[i])
            strips.append(
                Counterfactual(
                    frames=self.bundle.to_units(frames).cpu().numpy(),
                    requested=steps,
                    scores=scores.double().cpu().numpy(),
                    latent_distance=self.bundle.latent.statistics.length(kept).double().cpu().numpy(),
                    origin=origin,
                    reconstruction_error=error,
                    above_tolerance=not error <= self._limit(i),
                    outcome=outcomes[i],
                    goal=goals[i],
                    reconstruction=self.bundle.to_units(path.reconstruction[i]).cpu().numpy(),
                    grid=grid,
                )
            )
        return strips


def goal_score(target: Target, goal: float | None, start: float) -> float:
    """Return the score of a goal; None: the target's own goal, or the opposite side of the decision for an
    image of score `start`. Raise InputError where the target has no decision and there is no goal."""
    if goal is not None:
        return score_of_goal(target, goal)
    if not isinstance(target, OddsTarget):
        raise InputError(f"expected a goal for target {target}; got none")
    own = target.default_goal if isinstance(target, GoalTarget) else None
    return score_of_goal(target, own if own is not None else 0.9 if start < 0 else 0.1)


def outcomes_of(reached: Tensor, met: Tensor, achieved: Tensor, spent: Tensor) -> list[str]:
    """Return the outcome of each search, a value of `Counterfactual.outcome`.

    reached, met  (N,) whether the search reached the goal, and whether the unchanged image met it already
    achieved      (N,) achieved change per requested unit; `spent` (N,): whether the budget is used up
    """
    outcomes = []
    for i in range(len(met)):
        if met[i]:
            outcomes.append("already")
        elif reached[i]:
            outcomes.append("reached")
        else:
            outcomes.append("no_change" if float(achieved[i]) <= 0.05 else "budget" if spent[i] else "search")
    return outcomes
