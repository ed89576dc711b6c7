"""Counterfactuals by a translator, a network that generates the image at another score in one pass."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from contrafact.core import EXPLAINERS, Counterfactual, EncodedImages, ImageTranslator, InputError, Question
from contrafact.core.places import ADD, REMOVE, smallest_place
from contrafact.core.results import tolerance_of
from contrafact.core.target_kinds import OddsTarget, score_of_goal
from contrafact.counterfactual.bundle import Bundle
from contrafact.counterfactual.latent_search import (
    Measure,
    bundle_of,
    check_requests,
    goal_score,
    outcomes_of,
)
from contrafact.counterfactual.local_change import places_in, scores_in_places
from contrafact.counterfactual.region import region_on_canvas

GRID, HALVINGS = 8, 5  # grid points between the image's own score and the farthest, then bisections
BEYOND = 0.5  # share of the trained range of scores by which a requested score may exceed it


@EXPLAINERS.register("translate", aliases=("translator",))
@dataclass(frozen=True, slots=True, kw_only=True)
class Translate:
    """Translate the image to another score of the model, by one pass of a network.

    images  float32 (N, C, *S) in the bundle's units, at least the bundle's size
    gives   one `Counterfactual` per image, on the bundle's grid over the same field of view; the model scores
            every frame; `lengths` are 0, since there is no latent space; `reconstruction` is the translation
            to the image's own score
    cost    one encoding, 15 decodings and 17 passes of the model without gradients for the search, and
            `frames` of both for the result; images of a batch together. Where the translator was trained for a
            local finding, each of its `places` is tried first: an encoding, a decoding and a pass of the model
            each, in one batch per image
    raises  InputError without a bundle that has a translator for the target, for images outside the bundle's
            range, or a goal that is no probability
    Source: Singla et al. 2020 (arXiv 1911.00483), 2023 (arXiv 2101.04230). Differs: see
    `generators.translator`; the score requested of the network is searched until the model's score reaches
    the goal.

    goal      probability of the class to reach (0.9: at least, 0.1: at most), or the value itself for a
              regression or grade; None: the opposite side (0.9 when below one half, else 0.1)
    steps     fixed requested changes in target units, passed to the network unchanged, instead of a search; not
              for a target by the score of another (a grade by log-odds)
    levels    several goals, one frame each (KL grade 0, 1, 2, 3, 4), instead of a search
    frames    number of frames of a searched counterfactual
    tolerance reconstruction error of the score above which the result is flagged, in target units
    """

    strip: ClassVar[bool] = True
    needs_bundle: ClassVar[bool] = True
    needs_part: ClassVar[str] = "translations"
    live: ClassVar[bool] = True
    goal: float | None = None
    steps: tuple[float, ...] | None = None
    levels: tuple[float, ...] | None = None
    frames: int = 9
    tolerance: float = 1.0

    def __post_init__(self) -> None:
        check_requests(goal=self.goal, steps=self.steps, levels=self.levels, frames=self.frames)

    def __call__(self, question: Question, rng: np.random.Generator) -> list[Counterfactual]:
        bundle = bundle_of(question, "translate")
        search = TranslationSearch.of(question, bundle)
        if self.steps is not None:
            search.check_own_score()
            requested = torch.tensor(sorted({0.0, *map(float, self.steps)})).expand(len(search.start), -1)
            conditions = search.conditions[:, None] + search.sign * requested
            return self._strips(
                search, requested, conditions, ["steps"] * len(requested), [None] * len(requested)
            )
        if self.levels is not None:
            return self._level_strips(search)
        goals = search.goals(self.goal)
        met = search.satisfied(goals)
        ends, reached = search.find(goals)
        ends = torch.where(met, search.conditions, ends)
        fractions = torch.linspace(0, 1, self.frames)
        conditions = search.conditions[:, None] + (ends - search.conditions)[:, None] * fractions
        requested = torch.where(met, 0.0, goals - search.start)[:, None] * fractions + 0.0  # no -0
        outcomes = search.outcomes(ends, goals, met, reached)
        return self._strips(search, requested, conditions, outcomes, goals.tolist())

    def _level_strips(self, search: TranslationSearch) -> list[Counterfactual]:
        """Return counterfactuals with one frame per level and one for the image, by requested change."""
        goals = torch.tensor([score_of_goal(search.question.target, level) for level in self.levels or ()])
        ends, missed = [], [list[str]() for _ in search.start]
        for goal in goals.tolist():
            level_goals = torch.full_like(search.start, goal)
            end, reached = search.find(level_goals)
            met = torch.isclose(search.start, level_goals, atol=1e-3)
            ends.append(torch.where(met, search.conditions, end))
            for failures, outcome in zip(
                missed, search.outcomes(ends[-1], level_goals, met, reached), strict=True
            ):
                failures += [outcome] if outcome not in ("reached", "already") else []
        conditions = torch.stack([search.conditions, *ends], dim=1)
        requested = torch.cat([torch.zeros(len(conditions), 1), goals[None] - search.start[:, None]], dim=1)
        order = requested.argsort(dim=1)
        requested, conditions = requested.gather(1, order), conditions.gather(1, order)
        outcomes = [failures[0] if failures else "reached" for failures in missed]
        return self._strips(search, requested, conditions, outcomes, [None] * len(conditions))

    def _strips(
        self,
        search: TranslationSearch,
        requested: Tensor,
        conditions: Tensor,
        outcomes: Sequence[str],
        goals: Sequence[float | None],
    ) -> list[Counterfactual]:
        """Return the counterfactuals with every frame generated and scored; equal requests share one frame."""
        bundle, question = search.bundle, search.question
        grid = question.grid.resized(search.canvas.shape[2:])
        with torch.no_grad():
            reconstruction = search.translator.translate(search.encoded, search.conditions)
            error = torch.maximum(
                (search.measure(reconstruction) - search.whole).abs(), (search.start - search.whole).abs()
            )
        strips = []
        for i, row in enumerate(requested):
            keep = torch.cat([torch.ones(1, dtype=torch.bool), row.diff().abs() > 1e-6])
            steps, kept = row[keep], conditions[i][keep]
            origin = int(steps.abs().argmin())
            frames = search.frames(torch.full((len(steps),), i), kept)
            frames[origin] = search.canvas[i]
            with torch.no_grad():
                scores = search.measure(frames)
            strips.append(
                Counterfactual(
                    frames=bundle.to_units(frames).cpu().numpy(),
                    requested=steps.double().numpy(),
                    scores=scores.double().cpu().numpy(),
                    latent_distance=np.zeros(len(steps)),
                    origin=origin,
                    reconstruction_error=float(error[i]),
                    above_tolerance=not float(error[i]) <= self._limit(search, i),
                    outcome=outcomes[i],
                    goal=goals[i],
                    reconstruction=bundle.to_units(reconstruction[i]).cpu().numpy(),
                    grid=grid,
                )
            )
        return strips

    def _limit(self, search: TranslationSearch, row: int) -> float:
        return tolerance_of(str(search.question.target), self.tolerance, float(search.start[row]))


@dataclass(frozen=True, eq=False, kw_only=True)  # no slots: the encoding at the best place is kept
class TranslationSearch:
    """The search for the score that makes the translator reach a goal, for a batch of images encoded once.

    canvas      images (N, C, *S) in [-1, 1] at the translator's size; `start` (N,): the model's scores of the
                canvas, `whole` (N,) of the original images
    conditions  (N,) the scores of the canvas that condition the translator; scores of another target where the
                translator was trained on that one (a grade by the logit of one of its thresholds)
    sign        1, or -1 where the target is the opposite of two classes
    by          the other target whose scores are the conditions; empty: the target's own
    places      regions (P, 1, *S) in which a local change is tried; None: only `encoded`
    """

    question: Question
    bundle: Bundle
    translator: ImageTranslator
    canvas: Tensor
    encoded: EncodedImages
    measure: Measure
    start: Tensor
    whole: Tensor
    conditions: Tensor
    sign: float
    by: str = ""
    places: Tensor | None = None

    @classmethod
    def of(cls, question: Question, bundle: Bundle) -> TranslationSearch:
        """Encode the images of a question, and return their search. Raise InputError where the bundle has no
        translator for the target."""
        translation, sign = bundle.translation(question.predictor, question.target)
        translator = bundle.translator
        assert translator is not None  # `translation` raises where there is none
        canvas = bundle.to_canvas(
            torch.as_tensor(question.images).to(translator.low.device), translator.image_shape
        )
        measure = bundle.scorer(question.predictor, question.target)
        with torch.no_grad():
            start = measure(canvas).float().cpu()
            whole = question.target(question.predictor(question.images)).float().cpu()
            conditions = sign * start
            if translation.by is not None:
                predictor = bundle.predictor_of(translation.by[0])
                with predictor.frozen():
                    by = bundle.scorer(predictor, predictor.target(translation.by[1]))
                    conditions = by(canvas).float().cpu()
            which = torch.full((len(canvas),), translation.number, device=canvas.device)
            region = region_on_canvas(question, canvas)
            encoded = translator.encode(canvas, conditions.to(canvas), which=which, region=region)
        return cls(
            question=question,
            bundle=bundle,
            translator=translator,
            canvas=canvas,
            encoded=encoded,
            measure=measure,
            start=start,
            whole=whole,
            conditions=conditions,
            sign=sign if translation.by is None else 1.0,
            by="" if translation.by is None else translation.by[1],
            places=places_in(region, translator.places),
        )

    @functools.cached_property
    def lowered(self) -> EncodedImages:
        """Return the images encoded with the place for a lower condition, which removes the finding."""
        return self._placed(self.translator.low, -self.sign, REMOVE)

    @functools.cached_property
    def raised(self) -> EncodedImages:
        """Return the images encoded with the place for a higher condition, which adds the finding."""
        return self._placed(self.translator.high, self.sign, ADD)

    def _placed(self, end: Tensor, way: float, share: float) -> EncodedImages:
        """Return each image encoded with the smallest place in which the condition `end` has that share of the
        greatest effect, in the direction `way`."""
        assert self.places is not None
        which, own = self.encoded.which, self.conditions.to(self.canvas)
        to, places = end[which], self.places.to(self.canvas)
        with torch.no_grad():
            scores = scores_in_places(
                self.translator, self.canvas, own, to, places=places, which=which, score=self.measure
            )
            effects = way * (scores.float().cpu() - self.start)
            best = torch.from_numpy(smallest_place(effects.numpy(), share)).to(places.device)
            return self.translator.encode(self.canvas, own, which=which, region=places[best])

    def check_own_score(self) -> None:
        """Raise InputError where the translator is conditioned by another score, so that a fixed change of this
        one cannot be passed to it."""
        if self.by:
            raise InputError(
                f"expected a goal or levels for target {self.question.target}, since the translator of bundle "
                f"'{self.bundle.name}' is conditioned by {self.by}; got steps"
            )

    def goals(self, goal: float | None) -> Tensor:
        """Return the goal scores (N,) in target units; None: the opposite side of each image's decision."""
        return torch.tensor([goal_score(self.question.target, goal, float(start)) for start in self.start])

    def satisfied(self, goals: Tensor) -> Tensor:
        """Whether the unchanged images (N,) meet their goals already."""
        equal = torch.isclose(self.start, goals, atol=1e-3)
        if not isinstance(self.question.target, OddsTarget):
            return equal
        return equal | ((goals > 0) & (self.start >= goals)) | ((goals < 0) & (self.start <= goals))

    def frames(self, rows: Tensor, conditions: Tensor) -> Tensor:
        """Return the frames (M, C, *S) in [-1, 1] of the images `rows` (M,) at conditions (M,)."""
        if self.places is None:
            return self._translated(self.encoded, rows, conditions)
        change = conditions - self.conditions[rows]
        frames = torch.empty_like(self.canvas[rows.to(self.canvas.device)])

        def fill(encoded: EncodedImages, chosen: Tensor) -> None:
            frames[chosen.to(frames.device)] = self._translated(encoded, rows[chosen], conditions[chosen])

        if bool((falls := change < -1e-6).any()):
            fill(self.lowered, falls)
        if bool((rises := change > 1e-6).any()):
            fill(self.raised, rises)
        fill(self.encoded, ~falls & ~rises)
        return frames

    def _translated(self, encoded: EncodedImages, rows: Tensor, conditions: Tensor) -> Tensor:
        with torch.no_grad():
            selected = encoded.rows(rows.to(self.canvas.device))
            generated: Tensor = self.translator.translate(selected, conditions.to(self.canvas))
            return generated

    def scores(self, rows: Tensor, conditions: Tensor) -> Tensor:
        """Return the model's scores (M,) of those frames."""
        with torch.no_grad():
            scores: Tensor = self.measure(self.frames(rows, conditions)).float().cpu()
            return scores

    def find(self, goals: Tensor) -> tuple[Tensor, Tensor]:
        """Return the nearest condition (N,) at which the model's score reaches each goal, and whether one does.

        The search tries a grid of conditions between the nearest and the farthest, then bisects. Where no
        condition reaches the goal, the result is the one with the closest score.
        """
        number = int(self.encoded.which[0])
        low, high = float(self.translator.low[number]), float(self.translator.high[number])
        reach = BEYOND * (high - low)
        rises = goals >= self.start
        far = torch.where(rises == (self.sign > 0), high + reach, low - reach)
        far = torch.where(
            (far - self.conditions) * (far - (high + low) / 2) > 0, far, self.conditions
        )  # an image beyond the range keeps its own condition
        count, rows = len(goals), torch.arange(len(goals))
        nearest = self._nearest(goals, far)
        fractions = (
            torch.linspace(0, 1, GRID) if self.places is not None else torch.linspace(0, 1, GRID + 1)[1:]
        )
        tried = nearest[:, None] + (far - nearest)[:, None] * fractions
        scores = self.scores(rows.repeat_interleave(GRID), tried.flatten()).view(count, GRID)
        sign = torch.where(rises, 1.0, -1.0)
        beyond = (scores - goals[:, None]) * sign[:, None] >= 0
        reached = beyond.any(dim=1)
        first = beyond.int().argmax(dim=1)
        best = ((scores - goals[:, None]) * sign[:, None]).argmax(dim=1)
        edges = torch.cat([nearest[:, None], tried], dim=1)
        near, end = edges[rows, first], edges[rows, first + 1]
        for _ in range(HALVINGS):
            middle = (near + end) / 2
            enough = (self.scores(rows, middle) - goals) * sign >= 0
            near, end = torch.where(enough, near, middle), torch.where(enough, middle, end)
        return torch.where(reached, end, tried[rows, best]), reached

    def _nearest(self, goals: Tensor, far: Tensor) -> Tensor:
        """Return the nearest conditions (N,) to search: the images' own; of a local finding, the goal itself.
        Less than that draws a faint shadow of it, which may satisfy the model and nobody else."""
        if self.places is None or self.by:
            return self.conditions
        wanted = self.sign * goals
        low, high = torch.minimum(self.conditions, far), torch.maximum(self.conditions, far)
        return wanted.clamp(low, high)

    def outcomes(self, ends: Tensor, goals: Tensor, met: Tensor, reached: Tensor) -> list[str]:
        """Return the outcome of each image's search, a value of `Counterfactual.outcome`."""
        final = self.scores(torch.arange(len(ends)), ends)
        achieved = (final - self.start) / torch.where(met, torch.ones_like(goals), goals - self.start)
        return outcomes_of(reached, met, achieved, torch.zeros_like(met))


@EXPLAINERS.register("counterfactual")
@dataclass(frozen=True, slots=True, kw_only=True)
class BestCounterfactual:
    """Change the image until the prediction flips, by the method with the best results for the bundle.

    images  float32 (N, C, *S) in the bundle's units, at least the bundle's size
    gives   one `Counterfactual` per image; the record's details name the engine
    cost    as the engine: `translate`, `latent-walk`, `medxgan`, or the one that the bundle names
    raises  as the engine; InputError for a goal where the engine takes none
    Source: the engine's own.

    goal, frames   as in `translate`
    """

    strip: ClassVar[bool] = True
    needs_bundle: ClassVar[bool] = True
    chooses: ClassVar[bool] = True  # another method does the work
    goal: float | None = None
    frames: int = 9

    def __call__(self, question: Question, rng: np.random.Generator) -> list[Counterfactual]:
        bundle = bundle_of(question, "counterfactual")
        name = bundle.method_for(question.predictor, question.target)
        question.details["engine"] = name
        known, asked = EXPLAINERS.fields_of(name), {"goal": self.goal, "frames": self.frames}
        wanted = {k: v for k, v in asked.items() if k in known or (k == "goal" and v is not None)}
        engine = EXPLAINERS.make(name, **wanted)
        strips: list[Counterfactual] = engine(question, rng)
        return strips
