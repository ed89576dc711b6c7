"""Every metric and every reliability check: numbers, notes, and sentences."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.attribution import InputXGradient, Smooth
from contrafact.core import METRICS, Grid, Question, Record
from contrafact.core.execution import parameters_of
from contrafact.metrics import (
    HeatmapContext,
    Thresholds,
    card_as_json,
    diversity,
    evaluate,
    evaluate_strips,
    randomisation_curve,
    realism,
    references,
    trust_card,
    trust_card_of_strip,
)
from contrafact.metrics.evidence import evidence, in_words, places_of
from contrafact.metrics.trust.counterfactual_card import image_error
from contrafact.models import TorchPredictor
from four_pixels import OWN
from linear_panel import Linear
from linear_walk import toy
from reference.heatmaps import images, network
from reference.kept import brief

HEATMAP = [n for n in METRICS.names() if METRICS.get(n).of == "heatmap"]
STRIP = [n for n in METRICS.names() if METRICS.get(n).of == "strip"]
QUICK = {"samples": 7, "steps": 5, "count": 5, "features": 4, "draws": 2, "seeds": 2, "rounds": 40}
# Each other than the default, as far as a metric has such a setting.
OTHER: dict[str, Any] = {
    "samples": 5, "steps": 4, "features": 6, "kind": "slic", "fill": "min", "share": 0.35, "relative": False,
    "scaled": False, "shares": (0.2, 0.6), "noise": 0.05, "bins": 10, "draws": 1, "last": 2, "tolerance": 1.5,
    "similarity": "ssim", "others": 1, "cells": 3, "radius": 0.1, "seeds": 1, "at": 0.7, "slack": 0.2,
    "blur": 1.0, "rate": 0.05, "rounds": 60, "margin": 2,
}  # fmt: skip


def panel(axes: int = 2) -> HeatmapContext:
    """Five maps of a network that is not linear: two of methods that explain again, three that none made."""
    predictor = TorchPredictor(network(axes), classes="abc")
    image = images(axes)[1].values[None]
    question = Question(
        predictor=predictor, images=image, target=predictor.target("class:1"), grid=images(axes)[1].grid
    )
    rng, size = np.random.default_rng(3), image.shape[2:]
    explainers = [InputXGradient(baseline=0.0), Smooth(samples=3, noise=0.1), *[InputXGradient()] * 3]
    with predictor.frozen():
        made = [explainer(question, np.random.default_rng(0))[0] for explainer in explainers[:2]]
    smooth = rng.normal(size=size)
    smooth[(slice(2, 5),) * axes] += 3
    spikes = np.where(rng.uniform(size=size) > 0.8, rng.normal(size=size), 0.0)
    mask = np.zeros(size, dtype=bool)
    mask[(slice(1, 4), slice(3, 7), *(slice(1, 4),) * (axes - 2))] = True
    other = TorchPredictor(network(axes), classes="abc")
    other.module[3].weight.data.mul_(-0.7)  # type: ignore[union-attr, index]
    maps = np.stack([*made, smooth, spikes, -smooth])
    return HeatmapContext(question, maps, explainers=explainers, mask=mask, shuffled=other, seed=2, batch=16)


def scores(metric: Any, axes: int) -> list[Any]:
    return [[s.value, s.reason, s.note, s.passes] for s in evaluate(panel(axes), [metric], list("abcde"))]


def settings_of(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    fields = METRICS.fields_of(name)
    other = {k: v for k, v in OTHER.items() if k in fields}
    return {k: v for k, v in QUICK.items() if k in fields}, other


def of_heatmaps() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in HEATMAP:
        quick, other = settings_of(name)
        found[name] = {
            "default": parameters_of(METRICS.make(name)),
            "quick": scores(METRICS.make(name, **quick), 2),
            "other": scores(METRICS.make(name, **other), 2),
            "volume": scores(
                METRICS.make(name, **{**quick, **({"features": 3} if "features" in quick else {})}), 3
            ),
        }
    return found


def strips() -> dict[str, Any]:
    """A counterfactual that rises, one that falls and misses, in 2D with three channels and in 3D."""
    flat, deep = toy(channels=3), toy(axes=3, side=8)
    bent = flat.strip([0.0, 1.0, 3.0, 2.0], scores=np.array([-2.0, -0.7, 1.2, 0.4]), reconstruction_error=0.3)
    down = deep.strip([0.0, -0.5, -1.5], goal=-4.5, outcome="budget", latent_distance=np.array([0, 0.4, 1.1]))
    rng = np.random.default_rng(5)
    rough = bent.frames + np.where(
        np.arange(4)[:, None, None, None] > 0, rng.normal(0, 0.2, bent.frames.shape), 0
    )
    bent = dataclasses.replace(bent, frames=rough.astype(np.float32))
    far = bent.image + np.linspace(0, 2, 12, dtype=np.float32)
    bent = dataclasses.replace(bent, reconstruction=far)
    other = TorchPredictor(Linear(flat.weights.flip(1) + 0.5 * flat.weights), classes="ab", preprocessing=OWN)
    oracle = other, flat.walked().oracle[1]  # type: ignore[index]  sees where the first model does not look
    again = lambda image, score: flat.again(image, 0.8 * score)  # noqa: E731  falls short
    return {
        "plain": flat.walked(),
        "bent": flat.walked(bent, oracle=oracle, again=again),
        "down": deep.walked(down),
    }


def of_strips() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in STRIP:
        _, other = settings_of(name)
        made = {"default": METRICS.make(name), "other": METRICS.make(name, **other)}
        found[name] = {"settings": parameters_of(made["default"])}
        for label, walked in strips().items():
            for which, metric in made.items() if other else (("default", made["default"]),):
                score = next(evaluate_strips([walked], [metric]))
                found[name][f"{label}, {which}"] = [score.value, score.reason, score.note]
    found["diversity"] = diversity([strips()["plain"], strips()["bent"]])
    return found


def trust_of_strips() -> dict[str, Any]:
    """The sentences of every outcome, with and without a second model, at strict and at lenient limits."""
    made, found = toy(channels=1), dict[str, Any]()
    for outcome in ("reached", "already", "steps", "budget", "search", "no_change"):
        steps = [0.0] if outcome == "already" else [0.0, 1.0, 3.0] if outcome == "reached" else [0.0, 0.5, 1.5]
        far = np.linspace(0, 4.6 if outcome == "budget" else 3.2, len(steps))
        record = Record(method="translate" if outcome == "steps" else "walk", parameters={"tolerance": 0.5},
                        target="class:1", model="m", image="i")  # fmt: skip
        strip = made.strip(
            steps, outcome=outcome, latent_distance=far, record=record, above_tolerance=len(steps) > 2
        )
        found[outcome] = card_as_json(trust_card_of_strip(strip, target=made.walked().oracle[1]))  # type: ignore[index]
        for name, factor in (("follows", 0.5), ("against", -0.4), ("hardly", 0.05)):
            second, target = made.predictor, dataclasses.replace(made.walked().oracle[1], times=factor)  # type: ignore[index]
            card = trust_card_of_strip(
                strip, second_model=second, target=target, thresholds=Thresholds(drift=0.1)
            )
            found[f"{outcome}, {name}"] = card_as_json(card[:2])
    return found


def trust_of_maps() -> dict[str, Any]:
    found = {}
    notes: list[dict[str, float]] = [
        {"completeness": 0.02},
        {"completeness_gap": 0.9},
        {"conservation": 0.9},
        {},
    ]
    for which, note in zip((0, 1, 2, 4), notes, strict=True):
        record = Record(method="m", parameters={}, target="class:1", model="x", image="i", notes=note)
        strict = Thresholds(likeness=0.1, noise=0.01, removal=0.99, seeds=0.99)
        for name, limits in (("plain", None), ("strict", strict)):
            found[f"{which}, {name}"] = card_as_json(
                trust_card(panel(), which, record=record, thresholds=limits)
            )
    found["volume"] = card_as_json(trust_card(panel(3), 0))
    costly = Record(
        method="m", parameters={}, target="class:1", model="x", image="i", seconds=30, forward_passes=90
    )
    found["costly"] = card_as_json(trust_card(panel(), 1, record=costly, seconds=50))
    return found


def places() -> dict[str, Any]:
    """Regions of a label map with two sides, and their shares in words."""
    labels = np.zeros((12, 10), dtype=int)
    labels[2:5, 1:3], labels[6:9, 3:8], labels[1:3, 7:9] = 1, 2, 3
    image = np.full((1, 12, 10), 0.05)
    image[:, 1:11, 1:9] = np.random.default_rng(1).uniform(0.6, 1, (10, 8))
    named = places_of(labels, {1: "femur", 2: "the tibia", 3: "patella"}, images(2)[0].grid, image)
    maps = panel().maps[2:4]
    shares = [evidence(one, named) for one in maps]
    return {
        "regions": {name: brief(mask) for name, mask in named.items()},
        "shares": [[dataclasses.asdict(place) for place in one] for one in shares],
        "words": [in_words(one, "a fracture") for one in shares],
    }


def others() -> dict[str, Any]:
    made, flat = panel(), toy().strip([0.0, 1.0])
    rng = np.random.default_rng(0)
    low = flat.frames[:, :, :5]
    narrow = dataclasses.replace(flat, frames=low, reconstruction=low[0] * 1.1, grid=Grid((5, 12)))

    def gap(a: torch.Tensor, b: torch.Tensor) -> float:
        return float((a.mean(dim=0) - b.mean(dim=0)).square().sum())

    frames, real = (rng.normal(shift, 1, (n, 1, 4, 4)) for shift, n in ((0.5, 6), (0.0, 13)))
    people = (list("aabcde"), list("afghijklmnopq"))
    realistic = realism(
        frames, real, features=lambda x: x.flatten(1), distances={"gap": gap}, patients=people, rounds=5
    )
    drawn: dict[str, NDArray[Any]] = {
        name: one(made.question, np.random.default_rng(1)) for name, one in references(made.mask).items()
    }
    return {
        "image error": image_error(narrow),
        "realism": {name: dataclasses.asdict(one) for name, one in realistic.items()},
        "references": {name: brief(values) for name, values in drawn.items()},
        "randomisation": {
            order: [[name, value] for name, value in randomisation_curve(panel(), 0, order)]
            for order in ("from-output", "from-input", "alone")
        },
        "curves": brief(made.curves(steps=6, fill="blur", insert=True)),
        "region curves": brief(made.region_curves(steps=5, fill="noise 2", features=4, kind="slic", by="mean")),
        "region shares": made.region_shares(steps=5, features=4, kind="slic", by="mean"),
        "subsets": [brief(part) for part in made.subsets(count=6, share=0.3, fill="mean", features=4)],
    }


def values() -> dict[str, Any]:
    return {
        **of_heatmaps(),
        **of_strips(),
        "trust of strips": trust_of_strips(),
        "trust of maps": trust_of_maps(),
        "places": places(),
        "others": others(),
    }
