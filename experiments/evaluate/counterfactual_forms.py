"""Two forms of latent counterfactuals on held-out images: changed, and evaluated by every metric."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import contrafact as cf
from contrafact.core import METRICS, Counterfactual, Image, Question
from contrafact.counterfactual import Bundle, LatentWalk, Refinement, invert
from contrafact.counterfactual.inversion import carry_over
from contrafact.metrics import (
    CounterfactualContext,
    Validity,
    evaluate_strips,
    verdict,
)
from contrafact.metrics.families import by_construction
from experiments.data import Cohort
from experiments.evaluate.scores import both_sides, scores_of
from experiments.train.oracle import OTHER, load_judge

# Where the finding may be, of 64 x 64 pixels: what lies outside must stay.
PLACES = {"knee": (slice(18, 46), slice(4, 60))}
PLANTED = ("factor-correlation", "off-factor", "change-iou", "change-share", "shortcut-share")  # of phantoms
AGAIN = ("reversibility",)  # explained anew, on some of the images


@dataclass
class Form:
    """One form of the method, and what it gave: values of every metric for every image."""

    title: str
    walk: Callable[..., LatentWalk]
    bundle: Bundle
    tests: list[CounterfactualContext] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def predictor(self) -> Any:
        return self.bundle.predictor


@dataclass(frozen=True)
class Cases:
    """Held-out images, half of them on each side of the model's decision."""

    name: str
    images: list[Image]
    patients: list[str]
    scores: np.ndarray[Any, Any]


def choose(name: str, bundle: Bundle, held: Cohort, count: int) -> Cases:
    scores = scores_of(bundle.predictor, held.images)
    rows = both_sides(scores, count)
    return Cases(
        name,
        [Image(held.images[i].float().numpy(), window=(0.0, 255.0)) for i in rows],
        [held.patients[i] for i in rows],
        scores[rows],
    )


def latents(form: Form, canvas: Tensor) -> Tensor:
    walk = form.walk()
    bundle, steps = form.bundle, walk.refinement.steps
    scorer = bundle.scorer(form.predictor, form.predictor.target("class:1"))
    parts = []
    with form.predictor.frozen():
        for part in canvas.split(20):
            parts.append(
                invert(
                    bundle.generator,
                    bundle.encoder,
                    part,
                    statistics=bundle.statistics,
                    refinement=Refinement(steps=steps),
                    score=scorer,
                )
            )
    return torch.cat(parts)


def control(form: Form, canvas: Tensor, w: Tensor) -> Callable[[float, np.random.Generator], Any]:
    """A random direction as long, drawn as this form draws: (length, rng) to two frames."""
    bundle, blend = form.bundle, form.walk().blend

    def frames(length: float, rng: np.random.Generator) -> Any:
        move = torch.from_numpy(rng.normal(size=len(w))).float() @ bundle.statistics.factor.t()
        move = move * (length / bundle.statistics.length(move))
        with torch.no_grad():
            start, end = bundle.generator.decode(torch.stack([w, w + move]))
        pair = torch.stack([start, end])
        if blend:
            pair = torch.stack([canvas, carry_over(canvas[None], (end - start)[None])[0]])
        return bundle.to_units(pair.clamp(-1, 1)).numpy()

    return frames


def again(form: Form) -> Callable[[Any, float], Counterfactual]:
    """Walk from any image to any score."""

    def walk(values: Any, score: float) -> Counterfactual:
        level = float(1 / (1 + np.exp(-score)))
        image = Image(np.clip(values, 0, 255), window=(0.0, 255.0))
        walker = form.walk(levels=(min(max(level, 1e-6), 1 - 1e-6),))
        return cf.explain(walker, form.predictor, image, target="class:1", bundle=form.bundle)

    return walk


def measure(form: Form, cases: Cases, judges: Path, anew: int) -> None:
    """Walk every image to the other class; ask every metric."""
    began = time.perf_counter()
    strips = cf.explain(form.walk(), form.predictor, cases.images, target="class:1", bundle=form.bundle)
    form.seconds = (time.perf_counter() - began) / len(strips)
    oracle, other = load_judge(judges, cases.name), load_judge(judges, f"{cases.name}_other")
    mask = np.zeros((64, 64), dtype=bool)
    mask[PLACES[cases.name]] = True
    canvas = form.bundle.to_canvas(torch.stack([torch.from_numpy(i.values) for i in cases.images]))
    target, w = form.predictor.target("class:1"), latents(form, canvas)
    for i, (strip, image) in enumerate(zip(strips, cases.images, strict=True)):
        form.tests.append(
            CounterfactualContext(
                strip=strip,
                question=Question(
                    predictor=form.predictor, images=image.values[None], target=target, grid=image.grid
                ),
                window=image.window,
                oracle=(oracle, oracle.target("class:1")),
                others={OTHER[cases.name]: (other, other.target("class:1"))},
                mask=mask,
                again=again(form),
                control=control(form, canvas[i], w[i]),
                layers=lambda x: oracle.module.maps(oracle.preprocessing(x)),
            )
        )
    names = [n for n in METRICS.names() if METRICS.get(n).of == "strip" and n not in PLANTED]
    names = [n for n in names if not by_construction(METRICS.get(n))]
    short = [n for n in names if n not in AGAIN]
    form.values = {name: [float("nan")] * len(strips) for name in [*names, "flip"]}
    every = np.linspace(0, len(strips) - 1, anew).round().astype(int)
    with form.predictor.frozen():
        rate(form, range(len(strips)), short)
        rate(form, every, list(AGAIN))
        form.values["flip"] = [Validity(at=0.0)(test) for test in form.tests]
        form.verdicts = Counter(verdict(test) for test in form.tests)
    print(cases.name, form.title, f"{form.seconds:.2f} s an image", dict(form.reasons), flush=True)


def rate(form: Form, rows: Sequence[int], names: Sequence[str]) -> None:
    tests, labels = [form.tests[i] for i in rows], [str(i) for i in rows]
    for score in evaluate_strips(tests, [METRICS.make(n) for n in names], labels):
        form.values[score.metric][int(score.label)] = score.value
        if score.reason:
            form.reasons[f"{score.metric}: {score.reason}"] += 1
