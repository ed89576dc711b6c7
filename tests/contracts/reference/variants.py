"""Every heatmap method and metric again, where the world is not regular: three channels, a region of interest,
three images of unequal sides whose values are far from 0, other outputs than logits, targets that fall."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import torch
from torch import nn

from contrafact.attribution import GradCAM, InputXGradient, Occlusion
from contrafact.core import EXPLAINERS, METRICS, ContrafactError, ContrafactWarning, Image, Question, explain
from contrafact.metrics import HeatmapContext, evaluate, trust_card
from contrafact.metrics.evaluation import Score
from contrafact.models import BlackBox, Preprocessing, TiledPredictor, TorchPredictor
from reference.heatmaps import LAYER, METHODS, SETTINGS, Attends, network
from reference.kept import brief
from reference.metrics import HEATMAP, QUICK

SIZE = (9, 13)
PREPARE = Preprocessing(window=(-400, 600), mean=(0.4, 0.5, 0.3), std=(0.5, 0.4, 0.6))
SCALED = Preprocessing(size=(11, 8), window=(-300, 500), mean=(0.5,), std=(0.3,))
# Settings that no other value here has, by name of the setting; those of a method go before.
THIRD: dict[str, Any] = {
    "fill": "blur", "baseline": "min", "baselines": ("blur", -50.0), "steps": 7, "samples": 6, "count": 2,
    "noise": 0.15, "share": 0.7, "batch": 2, "masks": 20, "cells": 2, "iterations": 2, "absolute": True,
    "kind": "square", "areas": (0.3,), "width": 0.25, "stride": (2, 5), "box": (3, 6), "rate": 0.03,
}  # fmt: skip
OWN: dict[str, dict[str, Any]] = {
    "integrated-gradients": {"steps": 3, "baseline": "min"},
    "smooth": {"samples": 3, "noise": 0.3, "inner": "input-x-gradient"},
    "lime": {"samples": 90, "count": 3, "fill": "min", "sparsity": 0.002, "width": 0.5},
    "kernel-shap": {"samples": 50, "count": 2, "fill": "blur", "features": "slic"},
    "finer-cam": {"rivals": 1, "share": 0.3},
    "lrp": {"rule": "epsilon"},
    "excitation-backprop": {"contrastive": True},
    "blur-integrated-gradients": {"steps": 3, "width": 0.7},
    "feature-permutation": {"count": 2, "samples": 2},
    "filter-guided-backprop": {"layer": "1", "channel": 3},
}
METRIC: dict[str, Any] = {
    "samples": 9, "steps": 3, "features": 3, "kind": "slic", "fill": "blur", "share": 0.6, "relative": False,
    "scaled": False, "shares": (0.4,), "noise": 0.2, "bins": 4, "draws": 3, "last": 1, "tolerance": 3.0,
    "similarity": "ssim", "others": 2, "cells": 4, "radius": 0.3, "seeds": 2, "at": 0.2, "slack": 1.0,
    "margin": 1,
}  # fmt: skip


def images(channels: int, count: int = 3) -> list[Image]:
    """Values from about -500 to 700, each image with its own mean and range; sides of 9 and 13."""
    rng, made = np.random.default_rng(11), []
    for number in range(count):
        values = rng.normal(120 - 160 * number, 90 + 60 * number, (channels, *SIZE))
        values[:, 2:5, 6 + number : 11] += 150 * np.arange(1, channels + 1)[:, None, None]
        made.append(Image(values.astype(np.float32), window=(-400, 600)))
    return made


def region() -> np.ndarray[Any, Any]:
    made = np.zeros(SIZE, dtype=bool)
    made[1:7, 4:12] = made[8, :3] = True
    return made


def model(channels: int = 3, **more: Any) -> TorchPredictor:
    return TorchPredictor(network(2, channels), classes="abc", **{"preprocessing": PREPARE, **more})


def settings_of(name: str) -> dict[str, Any]:
    fields = EXPLAINERS.fields_of(name)
    usual = SETTINGS.get(name, LAYER if "layer" in fields else [{}])[0]
    own = OWN.get(name, {k: v for k, v in THIRD.items() if k in fields and not isinstance(v, bool)})
    try:
        EXPLAINERS.make(name, **{**usual, **own})
    except ContrafactError:
        return usual
    return {**usual, **own}


def told(results: Any) -> list[Any]:
    return [
        [brief(r.values if hasattr(r, "values") else r.frames), dict(r.record.notes),
         r.record.forward_passes, dict(r.record.details)]
        for r in results
    ]  # fmt: skip


def asked(name: str, predictor: Any, some: list[Image], target: str, **more: Any) -> Any:
    try:
        explainer = EXPLAINERS.make(name, **settings_of(name))
        results = explain(explainer, predictor, some, target=predictor.target(target), seed=9, **more)
    except ContrafactError as error:
        return type(error).__name__
    return told(results)


def maps() -> dict[str, Any]:
    """Each method with settings of its own; outputs of another kind, whose targets are not linear in them."""
    found: dict[str, Any] = {}
    colour, grey = images(3), images(1, 2)
    for name in METHODS:
        attends = getattr(EXPLAINERS.get(name), "needs_attention", False)
        made: Any = TorchPredictor(Attends(2).eval(), classes="abc") if attends else model()
        some = [Image(np.pad(image.values[:2], ((0, 0), (1, 0), (1, 0))) / 300) for image in colour]
        here = np.pad(region(), ((1, 0), (1, 0))) if attends else region()
        more = {"background": (some if attends else colour)[:2], "region": here, "batch": 2}
        plain = "value:0" if "deeplift" in name else "margin:0,2"
        found[name] = {"region": asked(name, made, some if attends else colour, plain, **more)}
        if attends:
            continue
        small = TorchPredictor(network(2, 1), classes="abc", preprocessing=SCALED, output="sigmoid")
        found[name]["sigmoid"] = asked(name, small, grey, "probability:2", background=grey)
    return found


def asked_quietly(*question: Any) -> Any:
    """Ask without the warning that the outputs of this small network lie from 0 to 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ContrafactWarning)
        return asked(*question)


def models() -> dict[str, Any]:
    """The same methods on models that are no plain network: patches, a function, grades, class names."""
    found: dict[str, Any] = {}
    prepared = Preprocessing(window=(-400, 600))
    inner = TorchPredictor(network(2, 2, segments=True), classes="abc", preprocessing=prepared)
    tiled, some = TiledPredictor(inner, (6, 7), overlap=0.3, batch=2), images(2, 2)
    plain = model(2, preprocessing=prepared)
    box = BlackBox(lambda x: plain(x).detach().numpy(), classes=list("abc"), digest="x")
    graded = model(2, preprocessing=prepared, output="ordinal")
    for name in (
        "gradient",
        "occlusion",
        "rise",
        "gradcam",
        "integrated-gradients",
        "feature-ablation",
        "lime",
    ):
        found[name] = {
            "patches": asked(name, tiled, some, "region:1"),
            "volume": asked(name, tiled, some, "volume:2"),
            "function": asked_quietly(name, box, some, "class:b"),
            "grade": asked(name, graded, some, "grade", region=region()),
        }
    return found


def panel(target: str = "margin:2,1", **more: Any) -> HeatmapContext:
    """Four maps: a target that falls when the image is hidden, a region, few images at a time."""
    predictor = model()
    image, grid = images(3)[1].values[None], images(3)[1].grid
    question = Question(
        predictor=predictor, images=image, target=predictor.target(target), grid=grid, region=region(),
        background=np.stack([one.values for one in images(3)]),
    )  # fmt: skip
    explainers: list[Any] = [
        InputXGradient(baseline="mean"),
        GradCAM(),
        Occlusion(box=4, stride=3),
        InputXGradient(),
    ]
    with predictor.frozen():
        made = [np.where(region(), one(question, np.random.default_rng(0))[0], 0) for one in explainers[:3]]
    rough = np.round(np.random.default_rng(4).normal(size=SIZE) + 0.8)
    mask = np.zeros(SIZE, dtype=bool)
    mask[2:5, 7:11] = mask[8, 1] = True
    other = model()
    other.module[0].weight.data.mul_(-1.3)  # type: ignore[union-attr, index]
    about: dict[str, Any] = {"explainers": explainers, "mask": mask, "shuffled": other, "seed": 5, "batch": 3}
    return HeatmapContext(question, np.stack([*made, rough]), **{**about, **more})


def plain(scores: list[Score]) -> list[Any]:
    return [[s.value, s.reason[:90], s.note, s.passes] for s in scores]


def metrics() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in HEATMAP:
        fields = METRICS.fields_of(name)
        third = {k: v for k, v in METRIC.items() if k in fields}
        quick = {k: v for k, v in QUICK.items() if k in fields}
        found[name] = {"third": plain(list(evaluate(panel(), [METRICS.make(name, **third)], list("abcd"))))}
        lone = panel("probability:0", mask=None, explainers=())
        found[name]["less"] = plain(list(evaluate(lone, [METRICS.make(name, **quick)], list("abcd"))))
    broken = panel()
    broken.maps[1] = 0.0
    flawed = HeatmapContext(broken.question, broken.maps, mask=~broken.mask & region())  # type: ignore[operator]
    chosen = [METRICS.make(name) for name in ("iou", "pointing-game", "relevance-mass", "auprc", "sparseness")]
    found["flawed"] = plain(list(evaluate(flawed, chosen, list("abcd"))))
    return found


def checks() -> dict[str, Any]:
    cards = trust_card(panel(), 0), trust_card(panel("class:0"), 2)
    return {str(n): [dataclasses.asdict(one) for one in card] for n, card in enumerate(cards)}


class Curved(nn.Module):
    """Four outputs from three channels that no layer is between: products, a maximum and a square."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b, c = (x[:, n].flatten(1) for n in range(3))
        left, right = x[..., : x.shape[-1] // 2].flatten(1), x[..., x.shape[-1] // 2 :].flatten(1)
        parts = [(a * b).mean(1), c.square().mean(1) - a.mean(1), left.amax(1), (right.mean(1) - 0.3).abs()]
        return torch.stack(parts, dim=1)


def curved() -> dict[str, Any]:
    """Methods without layers on a network without layers, in batches and in volumes."""
    found: dict[str, Any] = {}
    flat = TorchPredictor(Curved(), classes="abcd", preprocessing=Preprocessing(window=(-400, 600)))
    rng = np.random.default_rng(6)
    deep = [Image(rng.normal(100, 200, (3, 5, 6, 7)).astype(np.float32)) for _ in range(2)]
    for name in METHODS:
        traits = EXPLAINERS.get(name)
        if "layer" in EXPLAINERS.fields_of(name) or getattr(traits, "needs_attention", False):
            continue
        settings = settings_of(name)
        if "box" in settings:
            settings |= {"box": 3, "stride": 2}
        for label, some, target in (("flat", images(3, 2), "class:3"), ("deep", deep, "margin:1,2")):
            try:
                results = explain(
                    EXPLAINERS.make(name, **settings), flat, some, target=flat.target(target), seed=2,
                    background=some,
                )  # fmt: skip
                found[f"{name} {label}"] = [one[:2] for one in told(results)]
            except (ContrafactError, TypeError) as error:
                found[f"{name} {label}"] = type(error).__name__
    return found


def values() -> dict[str, Any]:
    return {part.__name__: part() for part in (maps, models, metrics, checks, curved)}
