from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from contrafact.core import EXPLAINERS, Counterfactual, EncodedImages, ImageTranslator, InputError, Question
from contrafact.counterfactual.bundle import Bundle
from contrafact.counterfactual.latent_walk import Measure, bundle_of, reasons
from contrafact.counterfactual.region import region_on_canvas

GRID, HALVINGS = 8, 5  # scores tried at once between the image's own and the farthest, then bisections
BEYOND = 0.5  # scores are asked for up to this share of the trained range beyond it


@EXPLAINERS.register("translate", aliases=("translator",))
@dataclass(frozen=True, slots=True, kw_only=True)
class Translate:
    """The same image as it would look at another score of the model, made by one pass of a network.

    images  float32 (N, C, *S) in the bundle's units, at least the bundle's size
    gives   one `Counterfactual` per image, on the bundle's grid over the same field of view, measured by the
            model frame by frame; `lengths` are 0, since there is no latent space; `reconstruction` is the
            translation to the image's own score
    cost    one encoding, 13 decodings and passes of the model without gradients to find the goal, and
            `frames` of both for the strip; images of a batch together
    raises  InputError without a bundle that has a translator for the target, for images outside the bundle's
            range, or a goal that is no probability
    Source: Singla et al. 2020 (arXiv 1911.00483), 2023 (arXiv 2101.04230). Differs: see
    `generation.translator`; the score asked of the network is searched until the score that the model gives
    is the one wanted.

    goal      probability of the class to reach (0.9: at least, 0.1: at most), or the value itself for a
              regression or grade; None: the other side (0.9 when below one half, else 0.1)
    steps     a fixed row of changes in target units, asked of the network as they are, instead of a search
    levels    several goals, one frame each (KL grade 0, 1, 2, 3, 4), instead of a search
    frames    how many frames a searched strip has
    tolerance reconstruction error of the score above which the strip is flagged, in target units
    """

    strip: ClassVar[bool] = True
    needs_bundle: ClassVar[bool] = True
    needs_part: ClassVar[str] = "translations"
    takes_region: ClassVar[bool] = True
    goal: float | None = None
    steps: tuple[float, ...] | None = None
    levels: tuple[float, ...] | None = None
    frames: int = 9
    tolerance: float = 1.0

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise InputError(f"frames must be at least 2; got {self.frames}")
        if sum(x is not None for x in (self.goal, self.steps, self.levels)) > 1:
            raise InputError("expected one of goal, steps and levels; got several")

    def __call__(self, question: Question, rng: np.random.Generator) -> list[Counterfactual]:
        bundle = bundle_of(question, "translate")
        search = TranslationSearch.of(question, bundle)
        if self.steps is not None:
            row = torch.tensor(sorted({0.0, *map(float, self.steps)})).expand(len(search.start), -1)
            asked = search.conditions[:, None] + search.sign * row
            return self._strips(search, row, asked, ["steps"] * len(row), [None] * len(row))
        if self.levels is not None:
            return self._level_strips(search)
        goals = search.goals(self.goal)
        met = search.satisfied(goals)
        ends, reached = search.find(goals)
        ends = torch.where(met, search.conditions, ends)
        shares = torch.linspace(0, 1, self.frames)
        asked = search.conditions[:, None] + (ends - search.conditions)[:, None] * shares
        steps = torch.where(met, 0.0, goals - search.start)[:, None] * shares
        return self._strips(search, steps, asked, search.why(ends, goals, met, reached), goals.tolist())

    def _level_strips(self, search: TranslationSearch) -> list[Counterfactual]:
        """One frame per level and one for the image itself, in the order of their steps."""
        goals = torch.tensor([search.score_of(level) for level in self.levels or ()])
        ends, missed = [], [list[str]() for _ in search.start]
        for goal in goals.tolist():
            wanted = torch.full_like(search.start, goal)
            end, reached = search.find(wanted)
            met = torch.isclose(search.start, wanted, atol=1e-3)
            ends.append(torch.where(met, search.conditions, end))
            for mine, reason in zip(missed, search.why(ends[-1], wanted, met, reached), strict=True):
                mine += [reason] if reason not in ("reached", "already") else []
        asked = torch.stack([search.conditions, *ends], dim=1)
        steps = torch.cat([torch.zeros(len(asked), 1), goals[None] - search.start[:, None]], dim=1)
        order = steps.argsort(dim=1)
        why = [mine[0] if mine else "reached" for mine in missed]
        return self._strips(search, steps.gather(1, order), asked.gather(1, order), why, [None] * len(asked))

    def _strips(
        self,
        search: TranslationSearch,
        steps: Tensor,
        asked: Tensor,
        stopped: Sequence[str],
        goals: Sequence[float | None],
    ) -> list[Counterfactual]:
        """Draw and measure every frame; frames that are the same one are drawn once."""
        bundle, question = search.bundle, search.question
        grid = question.grid.resized(search.canvas.shape[2:])
        with torch.no_grad():
            own = search.translator.translate(search.encoded, search.conditions)
            drift = torch.maximum(
                (search.measure(own) - search.whole).abs(), (search.start - search.whole).abs()
            )
        strips = []
        for i, row in enumerate(steps):
            keep = torch.cat([torch.ones(1, dtype=torch.bool), row.diff().abs() > 1e-6])
            row, to = row[keep], asked[i][keep]
            origin = int(row.abs().argmin())
            frames = search.frames(torch.full((len(row),), i), to)
            frames[origin] = search.canvas[i]
            with torch.no_grad():
                scores = search.measure(frames)
            strips.append(
                Counterfactual(
                    frames=bundle.to_units(frames).cpu().numpy(),
                    steps=row.double().numpy(),
                    scores=scores.double().cpu().numpy(),
                    lengths=np.zeros(len(row)),
                    origin=origin,
                    drift=float(drift[i]),
                    drifted=float(drift[i]) > self.tolerance or not bool(torch.isfinite(drift[i])),
                    stopped=stopped[i],
                    goal=goals[i],
                    reconstruction=bundle.to_units(own[i]).cpu().numpy(),
                    grid=grid,
                )
            )
        return strips


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TranslationSearch:
    """One batch of images, encoded once, and the search for the score to ask of the translator.

    canvas      images (N, C, *S) in [-1, 1] at the translator's size; `whole` (N,): the model's scores of the
                images as they came, `start` (N,) of the canvas
    conditions  (N,) the scores by which the translator is conditioned, of the canvas; those of another target
                where it was trained on that one (a grade by the logit of one of its thresholds)
    sign        1, or -1 where the target is the other one of two classes
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

    @classmethod
    def of(cls, question: Question, bundle: Bundle) -> TranslationSearch:
        """Encode the images of a question; raises InputError where the bundle has no translator for its
        target."""
        translation, sign = bundle.translation(question.predictor, question.target)
        translator = bundle.translator
        assert translator is not None  # `translation` has found something in it
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
        )

    def score_of(self, value: float) -> float:
        """A goal in target units."""
        to_score = getattr(self.question.target, "score_of", float)
        return float(to_score(float(value)))

    def goals(self, goal: float | None) -> Tensor:
        """(N,) the score to look for, in target units; None: the other side of each image's own."""
        if goal is not None:
            return torch.full_like(self.start, self.score_of(goal))
        if not hasattr(self.question.target, "score_of"):
            raise InputError(f"expected a goal for target {self.question.target}; got none")
        return torch.where(self.start < 0, self.score_of(0.9), self.score_of(0.1))

    def satisfied(self, goals: Tensor) -> Tensor:
        """Images (N,) that are as sure as was asked already."""
        if not hasattr(self.question.target, "score_of"):
            return torch.isclose(self.start, goals, atol=1e-3)
        return ((goals > 0) & (self.start >= goals)) | ((goals < 0) & (self.start <= goals))

    def frames(self, rows: Tensor, to: Tensor) -> Tensor:
        """Frames (M, C, *S) in [-1, 1] of images `rows` (M,) at the conditions `to` (M,)."""
        with torch.no_grad():
            encoded = self.encoded.rows(rows.to(self.canvas.device))
            made: Tensor = self.translator.translate(encoded, to.to(self.canvas))
            return made

    def scores(self, rows: Tensor, to: Tensor) -> Tensor:
        """What the model gives of those frames (M,)."""
        with torch.no_grad():
            scores: Tensor = self.measure(self.frames(rows, to)).float().cpu()
            return scores

    def find(self, goals: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest condition (N,) at which the model's score reaches each goal, and whether one does: a
        row of conditions between the image's own and the farthest, then bisection. Where none does, the best
        of them."""
        number = int(self.encoded.which[0])
        low, high = float(self.translator.low[number]), float(self.translator.high[number])
        reach = BEYOND * (high - low)
        rises = goals >= self.start
        far = torch.where(rises == (self.sign > 0), high + reach, low - reach)
        far = torch.where(
            (far - self.conditions) * (far - (high + low) / 2) > 0, far, self.conditions
        )  # an image beyond the range has nowhere to go
        count, rows = len(goals), torch.arange(len(goals))
        shares = torch.linspace(0, 1, GRID + 1)[1:]
        tried = self.conditions[:, None] + (far - self.conditions)[:, None] * shares
        scores = self.scores(rows.repeat_interleave(GRID), tried.flatten()).view(count, GRID)
        way = torch.where(rises, 1.0, -1.0)
        beyond = (scores - goals[:, None]) * way[:, None] >= 0
        reached = beyond.any(dim=1)
        first = beyond.int().argmax(dim=1)
        best = ((scores - goals[:, None]) * way[:, None]).argmax(dim=1)
        edges = torch.cat([self.conditions[:, None], tried], dim=1)
        near, end = edges[rows, first], edges[rows, first + 1]
        for _ in range(HALVINGS):
            middle = (near + end) / 2
            enough = (self.scores(rows, middle) - goals) * way >= 0
            near, end = torch.where(enough, near, middle), torch.where(enough, middle, end)
        return torch.where(reached, end, tried[rows, best]), reached

    def why(self, ends: Tensor, goals: Tensor, met: Tensor, reached: Tensor) -> list[str]:
        """Why the search of each image ended."""
        final = self.scores(torch.arange(len(ends)), ends)
        moved = (final - self.start) / torch.where(met, torch.ones_like(goals), goals - self.start)
        return reasons(reached, met, moved, torch.zeros_like(met))


@EXPLAINERS.register("counterfactual")
@dataclass(frozen=True, slots=True, kw_only=True)
class BestCounterfactual:
    """The same image, changed until the prediction flips, by the engine that did best for this bundle.

    images  float32 (N, C, *S) in the bundle's units, at least the bundle's size
    gives   one `Counterfactual` per image; the record's details name the engine
    cost    as the engine: `translate`, `latent-walk` or `medxgan`
    raises  as the engine
    Source: whichever the engine names.

    goal, frames   as in `translate`
    """

    strip: ClassVar[bool] = True
    needs_bundle: ClassVar[bool] = True
    takes_region: ClassVar[bool] = True
    goal: float | None = None
    frames: int = 9

    def __call__(self, question: Question, rng: np.random.Generator) -> list[Counterfactual]:
        bundle = bundle_of(question, "counterfactual")
        name = bundle.method_for(question.predictor, question.target)
        question.details["engine"] = name
        engine = EXPLAINERS.get(name)(goal=self.goal, frames=self.frames)
        strips: list[Counterfactual] = engine(question, rng)
        return strips
