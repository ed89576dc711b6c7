"""What every heatmap method must do, whoever wrote it. A new method is tested by registering it."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any

import numpy as np
import pytest
import torch

from conftest import noise_image, planted_predictor
from contrafact.core import EXPLAINERS, Image, UnsupportedError, explain
from contrafact.core.execution import parameters_of
from contrafact.models import BlackBox, TorchPredictor

# attribution/test_pictures.py, attribution/test_attention.py and counterfactual/
OTHERS = ("picture", "needs_attention", "needs_bundle")
METHODS = [
    name
    for name in EXPLAINERS.names()
    if not any(getattr(EXPLAINERS.get(name), kind, False) for kind in OTHERS)
]
NEEDS_GRADIENTS = {
    name
    for name in METHODS
    if getattr(EXPLAINERS.get(name), "needs_gradients", False)
    or getattr(EXPLAINERS.get(name), "needs_layers", False)
}
# Methods that sample: the block stands out, the rest is noise.
ROUGH = {"rise", "lime", "kernel-shap", "extremal-perturbation"}
CASES = [(axes, channels) for axes in (2, 3) for channels in (1, 3, 4)]
# What a method needs to be quick on 16 voxels a side.
QUICK: dict[str, dict[str, Any]] = {
    "expected-gradients": {"samples": 8},
    "feature-permutation": {"count": 4},
    "extremal-perturbation": {"areas": (0.1,), "cells": 8, "iterations": 40, "fill": 0.0},
    "occlusion": {"box": 4, "stride": 4, "fill": 0.0},
    "integrated-gradients": {"steps": 8},
    "blur-integrated-gradients": {"steps": 8},
    "gradient-shap": {"samples": 8, "baselines": (0.0,)},
    "input-x-gradient": {"baseline": 0.0},
    "deeplift-shap": {"baselines": (0.0,)},
    "filter-guided-backprop": {"layer": "relu"},
    "layer-conductance": {"steps": 2},
    "internal-influence": {"steps": 2},
    "layer-gradient-shap": {"samples": 4, "baselines": (0.0,)},
    "smooth": {"samples": 4, "noise": 0.01},
    "feature-ablation": {"count": 4, "fill": 0.0},
    "shapley-sampling": {"count": 4, "fill": 0.0, "samples": 2},
    "kernel-shap": {"count": 4, "fill": 0.0, "samples": 1500},
    "lime": {"count": 4, "fill": 0.0, "samples": 1500, "sparsity": 0.001},
    "rise": {"cells": 4, "masks": 400, "fill": 0.0},
}


def run(name: str, predictor: TorchPredictor, images: list[Image], *, seed: int = 0) -> list[Any]:
    explainer = EXPLAINERS.make(name, **QUICK.get(name, {}))
    target = predictor.target("class:1")
    return list(explain(explainer, predictor, images, target=target, background=empty(images[0]), seed=seed))


def empty(image: Image) -> list[Image]:
    """What methods compare with that need other images."""
    return [Image(np.zeros_like(image.values))]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("axes", "channels"), CASES)
def test_it_finds_the_planted_block_on_the_images_own_grid(name: str, axes: int, channels: int) -> None:
    image = noise_image(axes, channels)
    heat = run(name, planted_predictor(axes, channels), [image])[0]
    assert heat.grid == image.grid
    assert heat.values.dtype == np.float32
    inside = heat.values[(slice(4, 8),) * axes]
    if name in ROUGH:
        outside = heat.values.copy()
        outside[(slice(2, 10),) * axes] = 0
        assert inside.mean() > 3 * np.abs(outside).mean()
        return
    share = np.abs(inside).sum() / np.abs(heat.values).sum()
    assert share > 0.99
    if name != "blur-integrated-gradients":  # against its own blur noise has both signs
        assert (inside > 0).mean() > 0.9


@pytest.mark.parametrize("name", METHODS)
def test_a_blind_model_gives_an_empty_map(name: str) -> None:
    predictor = planted_predictor(2, 1)
    predictor.module.mask.zero_()
    predictor.module.mask[0, 0, 0, 0] = 1e-12  # depends on the image, by nothing one can see
    predictor.module.conv.weight.data.zero_()
    heat = run(name, predictor, [noise_image(2, 1)])[0]
    assert np.abs(heat.values).max() < 1e-6


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_map_and_a_batch_equals_its_images(name: str) -> None:
    predictor = planted_predictor(2, 1)
    images = [noise_image(2, 1, seed=s) for s in (1, 2, 3)]
    images[1] = Image(4 * images[1].values - 1)  # of another range
    together = run(name, predictor, images)
    alone = [run(name, predictor, [image])[0] for image in images]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a.values, b.values, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_it_leaves_predictor_images_and_random_state_alone(name: str) -> None:
    predictor = planted_predictor(2, 1)
    predictor.module.train()
    before = {k: v.clone() for k, v in predictor.module.state_dict().items()}
    image = noise_image(2, 1)
    values, state, own = image.values.copy(), torch.get_rng_state(), random.getstate()
    run(name, predictor, [image])
    assert predictor.module.training
    assert all(p.requires_grad and p.grad is None for p in predictor.module.parameters())
    assert all(torch.equal(before[k], v) for k, v in predictor.module.state_dict().items())
    assert not any(m._forward_hooks for m in predictor.module.modules())
    np.testing.assert_array_equal(values, image.values)
    assert torch.equal(state, torch.get_rng_state())
    assert own == random.getstate()


@pytest.mark.parametrize("name", METHODS)
def test_it_is_data(name: str) -> None:
    explainer = EXPLAINERS.make(name, **QUICK.get(name, {}))
    assert explainer == dataclasses.replace(explainer)
    assert json.loads(json.dumps(parameters_of(explainer)))["name"] == name


@pytest.mark.parametrize("name", METHODS)
def test_a_black_box_works_or_is_refused_with_what_to_do(name: str) -> None:
    own = planted_predictor(2, 1)

    def function(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return own.module(torch.from_numpy(images)).numpy()

    black_box = BlackBox(function, classes=["no", "yes"])
    explainer = EXPLAINERS.make(name, **QUICK.get(name, {}))
    ask: dict[str, Any] = {"target": black_box.target("class:1"), "background": empty(noise_image(2, 1))}
    if name in NEEDS_GRADIENTS:
        with pytest.raises(UnsupportedError, match="use occlusion"):
            explain(explainer, black_box, [noise_image(2, 1)], **ask)
    else:
        heat = explain(explainer, black_box, [noise_image(2, 1)], **ask)[0]
        np.testing.assert_allclose(heat.values, run(name, own, [noise_image(2, 1)])[0].values, atol=1e-5)
