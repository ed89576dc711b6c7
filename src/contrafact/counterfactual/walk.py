from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from contrafact.core import EXPLAINERS, InputError, Question, Strip
from contrafact.counterfactual.bundle import Bundle
from contrafact.counterfactual.direction import Direction
from contrafact.counterfactual.inversion import Refinement, carry_over, invert

Measure = Callable[[Tensor], Tensor]


@EXPLAINERS.register("latent-walk", aliases=("latent_walk", "walk"))
@dataclass(frozen=True, slots=True, kw_only=True)
class LatentWalk:
    """The same image, changed along the model's direction until the model changes its mind.

    images  float32 (N, C, H, W) in the bundle's units, at least the bundle's size
    gives   one `Strip` per image, on the bundle's grid over the same field of view: the image plus
            what the generator changes, G(w + d) - G(w), measured by the model frame by frame
    cost    one encoder pass, `refinement.steps` passes with gradients, about 20 forward passes for
            the search and `frames` for the strip, all images of a batch together
    raises  InputError without a bundle, for images outside the bundle's range, or a goal that is
            no probability
    Source: Schutte et al. 2021 (arXiv 2101.07563), sec. 2. Differs: the latent is refined; what the
    generator cannot draw is carried over; the step is the shortest one in latent space and its unit
    is a unit of the target; the smallest step is searched per image, within a budget.

    goal      probability of the class to reach (0.9: at least, 0.1: at most), or the value itself
              for a regression or grade; None: the other side (0.9 when below one half, else 0.1)
    steps     a fixed row of steps in target units instead of a search
    levels    several goals, one frame each (KL grade 0, 1, 2, 3, 4), instead of a search
    frames    how many frames a searched strip has
    budget    greatest length of a step, in standard deviations of synthetic images
    tolerance drift above which the strip is flagged, in target units
    """

    goal: float | None = None
    steps: tuple[float, ...] | None = None
    levels: tuple[float, ...] | None = None
    frames: int = 9
    budget: float = 5.0
    tolerance: float = 1.0
    refinement: Refinement = field(default_factory=Refinement)

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise InputError(f"frames must be at least 2; got {self.frames}")
        if not self.budget > 0:
            raise InputError(f"budget must be above 0; got {self.budget}")
        if sum(x is not None for x in (self.goal, self.steps, self.levels)) > 1:
            raise InputError("expected one of goal, steps and levels; got several")

    def __call__(self, question: Question, rng: np.random.Generator) -> list[Strip]:
        bundle = question.bundle
        if not isinstance(bundle, Bundle):
            raise InputError("latent-walk needs a bundle (generator, encoder, directions); got none")
        direction = bundle.direction(question.predictor, question.target)
        device = bundle.statistics.mean.device
        canvas = bundle.to_canvas(torch.as_tensor(question.images).to(device))
        walker = _Walker(self, question, bundle, direction, canvas)
        if self.steps is not None:
            rows = [np.array(sorted({0.0, *map(float, self.steps)}))] * len(canvas)
            return walker.strips(rows, ["steps"] * len(canvas), [None] * len(canvas))
        if self.levels is not None:
            return walker.level_strips(self.levels)
        goals = [walker.goal(float(s)) for s in walker.start]
        ends, stopped = walker.search(torch.tensor(goals), met=walker.satisfied(goals))
        rows = [np.linspace(0.0, float(end), self.frames) for end in ends]
        return walker.strips(rows, stopped, goals)


class _Walker:
    """One batch on its way: the latents, what is carried over, and the model's answers."""

    def __init__(
        self, walk: LatentWalk, question: Question, bundle: Bundle, direction: Direction, canvas: Tensor
    ) -> None:
        self.walk, self.bundle, self.direction, self.question = walk, bundle, direction, question
        self.canvas = canvas
        self.measure: Measure = bundle.scorer(question.predictor, question.target)
        guided = self.measure if getattr(question.predictor, "differentiable", True) else None
        self.w = invert(
            bundle.generator,
            bundle.encoder,
            canvas,
            statistics=bundle.statistics,
            refinement=walk.refinement,
            score=guided,
        )
        with torch.no_grad():
            self.drawn = bundle.generator.decode(self.w)
            self.start = self.measure(canvas)
            # Of the whole image, as the model sees it without us: reducing it to the canvas may
            # move the model too.
            whole = question.target(question.predictor(question.images))
            redrawn = (self.measure(self.drawn) - whole).abs()
            self.drift = torch.maximum(redrawn, (self.start - whole).abs())
        self.reach = walk.budget * direction.deviation

    def goal(self, start: float) -> float:
        """The score to look for, in target units."""
        to_score = getattr(self.question.target, "score_of", lambda value: value)
        if self.walk.goal is not None:
            return float(to_score(self.walk.goal))
        if not hasattr(self.question.target, "score_of"):
            raise InputError(f"expected a goal for target {self.question.target}; got none")
        return float(to_score(0.9 if start < 0 else 0.1))

    def frame(self, rows: Tensor, steps: Tensor) -> Tensor:
        """The images `rows` changed by `steps`: what cannot be drawn is carried over."""
        moved = self.w[rows] + steps[:, None].to(self.w) * self.direction.step.to(self.w)
        change = self.bundle.generator.decode(moved) - self.drawn[rows]
        return carry_over(self.canvas[rows], change)

    def scores(self, rows: Tensor, steps: Tensor) -> Tensor:
        with torch.no_grad():
            parts = [
                self.measure(self.frame(r, s)) for r, s in zip(rows.split(64), steps.split(64), strict=True)
            ]
        return torch.cat(parts).cpu()

    def satisfied(self, goals: Sequence[float]) -> Tensor:
        """Images (N,) that are as sure as was asked: at least 0.9, or at most 0.1."""
        wanted, start = torch.tensor(goals), self.start.cpu()
        if not hasattr(self.question.target, "score_of"):
            return torch.zeros(len(start), dtype=torch.bool)
        return ((wanted > 0) & (start >= wanted)) | ((wanted < 0) & (start <= wanted))

    def search(self, goals: Tensor, *, met: Tensor | None = None) -> tuple[Tensor, list[str]]:
        """The smallest step (N,) that reaches each goal: bracketing by doubling, then bisection."""
        count, start = len(self.canvas), self.start.cpu()
        sign = torch.where(goals >= start, 1.0, -1.0)
        close = torch.isclose(start, goals, atol=1e-3)
        met = close if met is None else close | met
        low, high = torch.zeros(count), torch.zeros(count)
        reached = met.clone()
        size = torch.full((count,), min(0.5, self.reach))
        open_rows = (~met).nonzero()[:, 0]
        while len(open_rows):
            found = self._beyond(open_rows, size, sign, goals)
            high[open_rows] = size[open_rows]
            reached[open_rows[found]] = True
            missed = open_rows[~found]
            missed = missed[size[missed] < self.reach]
            low[missed] = size[missed]
            size[missed] = (size[missed] * 2).clamp_max(self.reach)
            open_rows = missed
        rows = (reached & ~met).nonzero()[:, 0]
        for _ in range(10 if len(rows) else 0):
            middle = (low + high) / 2
            found = self._beyond(rows, middle, sign, goals)
            high[rows[found]] = middle[rows[found]]
            low[rows[~found]] = middle[rows[~found]]
        return sign * high, self._reasons(reached, met, sign * high, goals)

    def _beyond(self, rows: Tensor, size: Tensor, sign: Tensor, goals: Tensor) -> Tensor:
        scores = self.scores(rows, sign[rows] * size[rows])
        return (scores - goals[rows]) * sign[rows] >= 0

    def _reasons(self, reached: Tensor, met: Tensor, ends: Tensor, goals: Tensor) -> list[str]:
        final = self.scores(torch.arange(len(ends)), ends)
        moved = ((final - self.start.cpu()) * ends.sign()) / ends.abs().clamp_min(1e-9)
        reasons = []
        for i in range(len(ends)):
            if met[i]:
                reasons.append("already")
            elif reached[i]:
                reasons.append("reached")
            else:
                reasons.append("budget" if float(moved[i]) > 0.05 else "no_change")
        return reasons

    def level_strips(self, levels: Sequence[float]) -> list[Strip]:
        """One frame per level and one for the image itself, in the order of their steps."""
        to_score = getattr(self.question.target, "score_of", float)
        found = [self.search(torch.full((len(self.canvas),), float(to_score(v)))) for v in levels]
        rows, stopped = [], []
        for i in range(len(self.canvas)):
            rows.append(np.array(sorted({0.0, *(float(ends[i]) for ends, _ in found)})))
            reasons = [why[i] for _, why in found]
            missed = [r for r in reasons if r not in ("reached", "already")]
            stopped.append(missed[0] if missed else "reached")
        return self.strips(rows, stopped, [None] * len(rows))

    def strips(self, rows: list[np.ndarray], stopped: list[str], goals: Sequence[float | None]) -> list[Strip]:
        """Draw and measure every frame."""
        grid = self.question.grid.resized(self.canvas.shape[2:])
        unit = 1 / self.direction.deviation
        strips = []
        for i, steps in enumerate(rows):
            wanted = torch.tensor(steps, dtype=torch.float32)
            which = torch.full((len(steps),), i)
            with torch.no_grad():
                frames = self.frame(which, wanted)
                origin = int(np.argmin(np.abs(steps)))
                frames[origin] = self.canvas[i]
                scores = self.measure(frames)
            drift = float(self.drift[i])
            strips.append(
                Strip(
                    frames=self.bundle.to_units(frames).cpu().numpy(),
                    steps=steps,
                    scores=scores.double().cpu().numpy(),
                    lengths=np.abs(steps) * unit,
                    origin=origin,
                    drift=drift,
                    drifted=drift > self.walk.tolerance or not math.isfinite(drift),
                    stopped=stopped[i],
                    goal=goals[i],
                    reconstruction=self.bundle.to_units(self.drawn[i]).cpu().numpy(),
                    grid=grid,
                )
            )
        return strips
