"""Live explanations in a worker process: available methods, single frames, explanations."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact import core
from contrafact.api import explanation as face
from contrafact.api.case import Plan, answers, facts_of, target_name, trust_of
from contrafact.bundles import list_bundles, load_bundle
from contrafact.bundles.store import check_not_withdrawn
from contrafact.core import EXPLAINERS, Counterfactual, InputError, Predictor, Question, digest, traits_of
from contrafact.core.method_cards import cards_of
from contrafact.core.predictor_adapter import DelegatingPredictor
from contrafact.core.target_kinds import OddsTarget, goal_of_score
from contrafact.counterfactual import Bundle, Refinement
from contrafact.counterfactual.latent_search import LatentSearch, SearchSettings, inverted
from contrafact.counterfactual.region import check_unchanged
from contrafact.viewer.live.tasks import LiveResult, LiveSetting, Task

FRAMES, KEPT, WALKS = 9, 64, 4
FINDING, ASKING = "inverting the image", "running the model"


def load(setting: LiveSetting, device: str) -> Asking:
    """Read the bundles; each worker uses half of the cores."""
    torch.set_num_threads(min(torch.get_num_threads(), max(1, (os.cpu_count() or 1) // 2)))
    shipped = list_bundles()
    names = [name for name in setting.bundles if not setting.shipped or name in shipped]
    if not names:
        for name in setting.bundles:
            check_not_withdrawn(name)
        missing = ", ".join(setting.bundles)
        raise InputError(
            f"expected a bundle of this run that ships with the package; got '{missing}'; give its folder "
            "with --live FOLDER"
        )
    allowed: Any = {"trust": setting.trust.scripts, "trust_code": setting.trust.factories}
    return Asking([load_bundle(name, device=device, **allowed) for name in names])


class Watched(DelegatingPredictor):
    """A predictor that reports its number of calls; everything else is passed to `inner`."""

    def __init__(self, inner: Predictor) -> None:
        super().__init__(inner)
        self._began = 0.0
        self.quiet()

    def quiet(self) -> None:
        self._heard: Any = None
        self.words, self.calls = "", 0
        self.of: int | None = None

    def tell(self, say: Any, words: str, of: int | None) -> None:
        self._heard, self.words, self.of, self.calls = say, words, of, 0
        say(words, 0, of)

    def __call__(self, images: Any) -> Any:
        self.calls += 1
        if self._heard is not None and time.monotonic() - self._began > 0.05:
            self._began = time.monotonic()
            self._heard(self.words, self.calls if self.of is None else min(self.calls, self.of), self.of)
        return self.inner(images)


class Asking:
    """Compute tasks; latents and the last few searches are cached between tasks."""

    def __init__(self, bundles: Sequence[Bundle]) -> None:
        self.found: dict[str, Tensor] = {}
        self._walks: OrderedDict[Any, LatentSearch] = OrderedDict()
        self.models: dict[str, tuple[Bundle, str, Watched]] = {}
        for bundle in bundles:
            kept = dataclasses.replace(bundle, found=self.found)
            for name, predictor in {"model": bundle.predictor, **bundle.predictors}.items():
                self.models[predictor.digest] = (kept, name, Watched(predictor))
        self._kinds: dict[str, Callable[[Task, Any], Any]] = {
            "about": self.about,
            "find": self.find,
            "move": self.move,
            "reach": self.move,
            "explain": self.explain,
        }

    def __call__(self, task: Task, say: Any) -> tuple[Any, dict[str, Any]]:
        """Return the result and the latents of the image."""
        if task.model not in self.models:
            names = ", ".join(dict.fromkeys(bundle.name for bundle, *_ in self.models.values()))
            raise InputError(
                f"expected a case explained for a model of bundle {names}; got another model; "
                "give its bundle with --live"
            )
        predictor = self.models[task.model][2]
        self.found.update({k: torch.from_numpy(v.copy()) for k, v in task.latents.items()})
        try:
            with predictor.frozen():
                answer = self._kinds[task.kind](task, say)
        finally:
            predictor.quiet()
        about = f"{digest(task.image.values[None])} {task.model} {task.target} "
        used = {key: values.numpy() for key, values in self.found.items() if key.startswith(about)}
        for key in list(self.found)[:-KEPT]:
            del self.found[key]
        return answer, used

    def about(self, task: Task, say: Any) -> dict[str, Any]:
        """Return the targets and methods available for this image."""
        bundle, name, predictor = self.models[task.model]
        outputs = face.ask(predictor.inner, task.image)
        if outputs.ndim != 2 or predictor.output == "detection":
            raise InputError("expected a classifier for live explanations; got a model that outputs maps")
        try:
            bundle.to_canvas(torch.as_tensor(task.image.values[None]), bundle.image_shape)
            why_not = ""
        except InputError as error:
            why_not = str(error)
        texts = [f"class:{k}" for k in range(predictor.class_count)]
        if predictor.output == "ordinal":
            texts.insert(0, "grade")
        if predictor.output == "survival":
            texts.insert(0, "risk")
        if predictor.output == "regression":
            texts = [f"value:{k}" for k in range(outputs.shape[1])]
        targets = [self._target(bundle, predictor, text, outputs, why_not) for text in texts]
        # Targets with a direction in the bundle come first: they have counterfactuals.
        targets.sort(key=lambda about: (not about["strips"], texts.index(about["text"])))
        maps = [name for name in _live(strip=False) if _possible(name, predictor)]
        return {
            "bundle": bundle.name,
            "model": name,
            "targets": targets,
            "maps": maps,
            "methods": {name: _can(name) for name in [*_live(strip=True), *maps]},
            "why_not": why_not,
        }

    def _target(
        self, bundle: Bundle, predictor: Watched, text: str, outputs: Tensor, why_not: str
    ) -> dict[str, Any]:
        target = predictor.target(text)
        start, odds = float(target(outputs)[0]), isinstance(target, OddsTarget)
        span, holds = abs(start) + 4, []
        strips = [n for n in _live(strip=True) if bundle.knows(traits_of(n).needs_part, predictor, target)]
        if bundle.knows("directions", predictor, target):
            direction = bundle.direction(predictor, target)
            span = span if odds else 4 * direction.deviation
            names = map(bundle.name_of, bundle.directions)
            holds = [name for name in names if not _same(bundle, direction, name)]
        elif not odds and bundle.knows("translations", predictor, target):
            span = _trained_range(bundle, predictor, target)
        return {
            "text": text,
            "name": target_name(predictor, text),
            "odds": odds,
            "unit": "logits" if odds else "units of the target",
            "start": start,
            "span": math.ceil(10 * span) / 10,
            "strips": [] if why_not else strips,
            "holds": holds,
        }

    def find(self, task: Task, say: Any) -> dict[str, Any]:
        """Invert the image and cache its latent."""
        walking = self._walking(task, say)
        return {
            "reconstruction_error": float(walking.reconstruction_error[0]),
            "start": float(walking.start[0]),
        }

    def move(self, task: Task, say: Any) -> dict[str, Any]:
        """Return one frame with its score: along the global direction, or (reach) along the latent path."""
        walking = self._walking(task, say)
        frames, scores, lengths = walking.single_frames(task.amount, bends=task.kind == "reach")
        values = walking.bundle.to_units(frames)
        grid = task.image.grid.resized(values.shape[2:])
        start = walking.bundle.to_units(walking.path.images)
        return {
            "arrays": {"frames": values.numpy(), "strip_affine": grid.affine, "affine": task.image.grid.affine},
            "score": float(scores[0]),
            "length": float(lengths[0]),
            "spent": bool(lengths[0] > 0.98 * walking.settings.budget),
            "held": self._held(task, torch.cat([start, values])),
        }

    def explain(self, task: Task, say: Any) -> LiveResult:
        """Return an explanation by `core.explain`, with its record and reliability checks."""
        bundle, _, predictor = self.models[task.model]
        explainer = _explainer(task, predictor)
        target = predictor.target(task.target)
        if _can(task.method)["latent"]:
            self._latents(task, say)
        predictor.tell(say, ASKING, traits_of(explainer).expected_passes or None)
        may = _may_change(task)
        results = core.explain(explainer, predictor, [task.image], target=target, bundle=bundle, region=may)
        result = results[0]
        predictor.tell(say, "running reliability checks", None)
        plan = Plan(predictor=predictor.inner, methods=[task.method], target=task.target, bundle=bundle)
        if may is not None:
            mask = dataclasses.replace(task.image, values=may[None].astype(np.float32))
            plan = dataclasses.replace(plan, region=mask)
        extra = {
            "case": task.case,
            **_kept_to_box(task, result, may),
            "answers": answers(predictor.inner, task.image),
            "target_name": target_name(predictor, task.target),
            **facts_of(result, predictor.inner, bundle),
            "trust": trust_of(result, task.image, explainer, plan, target),
        }
        held = self._held(task, _ends(result)) if isinstance(result, Counterfactual) else []
        cards = cards_of(explainer)
        return LiveResult(result=result, extra=extra | ({"held": held} if held else {}), held=held, cards=cards)

    def _question(self, task: Task) -> Question:
        bundle, _, predictor = self.models[task.model]
        return Question(
            predictor=predictor,
            images=task.image.values[None],
            target=predictor.target(task.target),
            grid=task.image.grid,
            bundle=bundle,
            region=_may_change(task),
        )

    def _latents(self, task: Task, say: Any) -> tuple[Tensor, Tensor]:
        """Return canvas and latents, and report progress if they are not cached."""
        bundle, _, predictor = self.models[task.model]
        refinement: Refinement = EXPLAINERS.make(_way(task)).refinement
        predictor.tell(say, FINDING, refinement.steps)
        return inverted(self._question(task), bundle, refinement)

    def _walking(self, task: Task, say: Any) -> LatentSearch:
        """Return the search that starts from this image; the last few are cached."""
        key = (task.model, task.image.digest, task.target, task.hold, task.box)
        if key not in self._walks:
            bundle, _, predictor = self.models[task.model]
            target = predictor.target(task.target)
            found = bundle.knows("directions", predictor, target)
            direction = bundle.direction(predictor, target) if found or traits_of(_way(task)).slides else None
            if task.hold and direction is not None:
                direction = bundle.holding(direction, task.hold)
            canvas, latents = self._latents(task, say)
            made = LatentSearch(SearchSettings(), self._question(task), bundle, direction, canvas, latents)
            self._walks[key] = made
            if len(self._walks) > WALKS:
                self._walks.popitem(last=False)
        self._walks.move_to_end(key)
        return self._walks[key]

    def _held(self, task: Task, images: Tensor) -> list[dict[str, Any]]:
        """Return the scores to be kept constant, for the image and for the changed image."""
        bundle = self.models[task.model][0]
        found = []
        for name in task.hold:
            other, _, text = name.partition("/")
            predictor = bundle.predictors[other]
            with predictor.frozen(), torch.no_grad():
                first, last = (float(v) for v in predictor.target(text)(predictor(images)))
            found.append({"name": name, "from": first, "to": last})
        return found


def _may_change(task: Task) -> NDArray[np.bool_] | None:
    """Return where the image of a task may change, bool (*S); None: everywhere."""
    return None if task.box is None else task.box.mask(task.image.grid)


def _kept_to_box(task: Task, result: Any, may: NDArray[np.bool_] | None) -> dict[str, Any]:
    """Return the box of a counterfactual as a field of its row. Raise ContrafactError where it was left."""
    if task.box is None or may is None or not isinstance(result, Counterfactual):
        return {}
    check_unchanged(result, may)
    return {"box": {**task.box.stored(), "exact": True}}


def _live(*, strip: bool) -> list[str]:
    """Methods that may be asked from a page: those of changed frames, or of maps."""
    known = {name: traits_of(name) for name in EXPLAINERS.names()}
    return [name for name, traits in known.items() if traits.live and traits.strip == strip]


def _can(method: str) -> dict[str, bool]:
    """Return what a method can do on a page: move with a slider, hold scores, begin at the image's latent."""
    fields = EXPLAINERS.fields_of(method)
    return {
        "slides": traits_of(method).slides,
        "holds": "hold" in fields,
        "latent": "refinement" in fields and traits_of(method).strip,
    }


def _way(task: Task) -> str:
    """Return the method whose latents a task needs; of a task that names none, the one that slides."""
    return task.method or next(name for name in _live(strip=True) if traits_of(name).slides)


def _trained_range(bundle: Bundle, predictor: Predictor, target: Any) -> float:
    """Between which scores of a target the translator was trained."""
    assert bundle.translator is not None  # it knows the target
    number = bundle.translation(predictor, target)[0].number
    return float(bundle.translator.high[number] - bundle.translator.low[number])


def _explainer(task: Task, predictor: Watched) -> Any:
    fields = EXPLAINERS.fields_of(task.method)
    if not traits_of(task.method).strip:
        return EXPLAINERS.make(task.method)
    hold: dict[str, Any] = {"hold": task.hold} if "hold" in fields else {}
    if task.by == "asked" and "steps" in fields:
        if task.amount == 0:
            raise InputError("expected a change other than 0; move the slider first")
        return EXPLAINERS.make(task.method, steps=tuple(np.linspace(0, task.amount, FRAMES).tolist()), **hold)
    target, goal = predictor.target(task.target), task.amount
    if task.by == "asked":
        goal += float(target(face.ask(predictor.inner, task.image))[0])
        goal = goal_of_score(target, goal)
    return EXPLAINERS.make(task.method, goal=goal, frames=FRAMES, **hold)


def _same(bundle: Bundle, direction: Any, name: str) -> bool:
    """Return whether keeping that score constant would prevent the change."""
    try:
        bundle.holding(direction, [name])
    except InputError:
        return True
    return False


def _ends(strip: Counterfactual) -> Tensor:
    """Return (2, C, *S): the image, and the frame farthest from it."""
    return torch.as_tensor(strip.frames[[strip.origin, int(np.abs(strip.requested).argmax())]])


def _possible(method: str, predictor: Predictor) -> bool:
    needs = traits_of(method)
    if not predictor.differentiable:
        return not needs.needs_gradients
    return predictor.watchable or not needs.needs_layers
