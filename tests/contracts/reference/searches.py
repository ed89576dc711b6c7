"""Counterfactuals on networks with random weights: colour and volumes, images larger than the canvas and not
square, values far from 0, goals up and down, a region of interest, a second model, what is held."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

import contrafact as cf
from contrafact.core import ContrafactError, Counterfactual, Image
from contrafact.counterfactual import (
    Bundle,
    DirectionConfig,
    LatentStatistics,
    Refinement,
    Translation,
    fit_direction,
)
from contrafact.generators import MedXGAN, MedXGANConfig, ResNetEncoder, StyleGAN2, Translator, TranslatorConfig
from contrafact.models import Preprocessing, TorchPredictor
from reference.counterfactuals import told
from reference.generators import CODED, STYLE, rng
from reference.heatmaps import network
from reference.kept import brief

WINDOW = (-200.0, 600.0)
ASKED: tuple[dict[str, Any], ...] = (
    {"steps": (-0.4, 0.0, 0.6)},
    {"steps": (0.5,), "follow": 1.0, "blend": False, "steady": False},
    {"goal": 0.6, "frames": 4, "follow": 0.3, "budget": 3.0},
    {"goal": 0.3, "frames": 3, "tolerance": 0.001},
    {"levels": (0.3, 0.36), "budget": 0.05},
)
FOUND: tuple[dict[str, Any], ...] = (
    {"goal": 0.36, "several": 2},
    {"goal": 0.3, "anatomy": None, "keep": None},
)


def model(axes: int, channels: int, seed: int = 0) -> TorchPredictor:
    made = network(axes, channels)
    made[3].weight.data.mul_(1 + seed)  # type: ignore[operator]
    size = (8,) * axes
    prepare = Preprocessing(size=size, window=WINDOW, mean=(0.3,), std=(0.2 + 0.1 * seed,))
    return TorchPredictor(made, classes="abc", preprocessing=prepare)


def images(axes: int, channels: int) -> list[Image]:
    size, draw = ((11, 9) if axes == 2 else (8, 9, 10)), np.random.default_rng(7)
    made = [draw.normal(level, 90, (channels, *size)).astype(np.float32) for level in (80, 260)]
    return [Image(np.clip(values, *WINDOW), window=WINDOW) for values in made]


def walking(channels: int = 2) -> Bundle:
    """A StyleGAN of colours, with directions of two models."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        generator = StyleGAN2(STYLE).eval().requires_grad_(False)
        encoder = ResNetEncoder(channels, STYLE.w_dim, width=4, axes=2).eval().requires_grad_(False)
    first, second = model(2, channels), model(2, channels, seed=1)
    about: dict[str, Any] = {"name": "random", "window": WINDOW, "generator": generator, "encoder": encoder}
    about["statistics"] = LatentStatistics.of(generator, rng(1), samples=400)
    blank = Bundle(**about, predictor=first)
    directions = [
        fit_direction(
            generator, blank.scorer(one, one.target(text)), target=one.target(text), model=one.digest,
            config=DirectionConfig(samples=200, bootstrap=5, draws=10),
        )
        for one in (first, second)
        for text in ("class:1", "class:2")
    ]  # fmt: skip
    return Bundle(
        **about, predictor=first, directions=tuple(directions), predictors={"one": first, "two": second},
        seconds={"one": second}, least=5,
    )  # fmt: skip


def findings(axes: int) -> Bundle:
    """A MedXGAN of two findings that the model's classes 1 and 2 are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        generator = MedXGAN(MedXGANConfig(**CODED, axes=axes, classes=2)).eval().requires_grad_(False)
        generator.levels.copy_(torch.tensor([[-1.0, 2.0], [0.5, 3.0]]))
        encoder = ResNetEncoder(1, generator.latent_size, width=4, axes=axes).eval().requires_grad_(False)
    own = model(axes, 1)
    statistics = LatentStatistics.of(generator, rng(2), samples=300)
    return Bundle(
        name="findings", window=WINDOW, generator=generator, encoder=encoder, statistics=statistics,
        findings=((own.digest, "class:1"), (own.digest, "class:2")), predictor=own, predictors={"own": own},
    )  # fmt: skip


def translating(axes: int) -> Bundle:
    """A translator of two targets."""
    own = model(axes, 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        made = Translator(
            TranslatorConfig(resolution=8, channels=2, axes=axes, widths=(4, 8), targets=2)
        ).eval()
        torch.nn.init.normal_(made.out.weight, std=0.4)
        for level in (*made.down, *made.up, made.bottom):
            torch.nn.init.normal_(level.style.weight, std=0.5)
    made.low.copy_(torch.tensor([-1.0, -2.0]))
    made.high.copy_(torch.tensor([1.5, 1.0]))
    entries = tuple(Translation(model=own.digest, target=text) for text in ("class:1", "class:2"))
    return Bundle(
        name="translates", window=WINDOW, translator=made.requires_grad_(False), translations=entries,
        predictor=own, predictors={"own": own},
    )  # fmt: skip


def answers(method: str, bundle: Bundle, some: list[Image], target: str, **more: Any) -> Any:
    try:
        strips = cf.explain(method, bundle.predictor, some, target=target, bundle=bundle, seed=3, **more)
    except ContrafactError as error:
        return f"{type(error).__name__}: {error}"[:160]
    searched = any(name in more for name in ("goal", "levels"))  # rounding decides where a search ends
    return [searched_end(one) if searched else [*kept_parts(one), *frames_of(one)] for one in strips]


def kept_parts(one: Counterfactual) -> list[Any]:
    """The parts of a strip with 0 for a reconstruction error that rounding decides."""
    parts = told(one)[2:]
    return [*parts[:4], parts[4] if parts[4] > 5e-5 else 0.0, *parts[5:]]


def searched_end(one: Counterfactual) -> list[Any]:
    return [
        one.outcome, one.goal, one.end, one.flips, one.origin, one.requested, one.reconstruction_error,
        one.above_tolerance, one.confirmed, one.scores[one.origin], list(one.frames.shape),
    ]  # fmt: skip


def frames_of(one: Counterfactual) -> list[Any]:
    few = {key: part for key, part in brief(one.frames).items() if key != "samples"}
    return [few, one.second, one.confirmed, dict(one.record.notes if one.record else {})]


def regions(some: list[Image]) -> Image:
    mask = np.zeros((1, *some[0].grid.shape), np.float32)
    mask[:, 2:7, 1:8] = 1
    return Image(mask, some[0].grid)


def values() -> dict[str, Any]:
    found: dict[str, Any] = {}
    quick, colour = Refinement(steps=1, prior=0.1, guide=0.2), images(2, 2)
    walks, moved = walking(), {axes: translating(axes) for axes in (2, 3)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, settings in enumerate(ASKED):
            for target in ("class:1", "class:2"):
                found[f"walk {number} {target}"] = answers(
                    "latent-walk", walks, colour, target, refinement=quick, **settings
                )
            known = ("steps", "goal", "frames", "levels", "tolerance")
            plain = {k: v for k, v in settings.items() if k in known}
            found[f"shift {number}"] = answers(
                "latent-shift", walks, colour, "class:2", refinement=quick, **plain
            )
            for axes, bundle in moved.items():
                found[f"translate {axes} {number}"] = answers(
                    "translate", bundle, images(axes, 2), "class:2", **plain
                )
        for name, more in (("held", {"hold": ("two/class:1",)}), ("region", {"region": regions(colour)})):
            found[f"walk {name}"] = answers(
                "latent-walk", walks, colour, "class:2", refinement=quick, steps=(-0.3, 0.5), **more
            )
            if name == "region":
                found["translate region"] = answers(
                    "translate", moved[2], colour, "class:1", steps=(-1.0, 1.0), **more
                )
        found["walk unknown"] = answers("latent-walk", walks, colour, "class:0", refinement=quick)
        bright = [Image(one.values + 2000, window=WINDOW) for one in colour]
        found["walk bright"] = answers("latent-walk", walks, bright, "class:1", refinement=quick)
        for axes in (2, 3):
            bundle, some = findings(axes), images(axes, 1)
            for number, more in enumerate(FOUND):
                asked = {"frames": 3, "refinement": Refinement(steps=0), **more}
                found[f"medxgan {axes} {number}"] = answers(
                    "medxgan", bundle, some, f"class:{1 + number}", **asked
                )
    return found
