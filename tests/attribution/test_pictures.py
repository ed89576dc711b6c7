"""Pictures that a network asks for: they climb, they are the same again, they leave the model alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import contrafact as cf
from conftest import planted_predictor, small_network
from contrafact.attribution.optimisation.ascent import GreyLevels, Spectrum
from contrafact.core import EXPLAINERS, Counterfactual, Image, InputError, UnsupportedError
from contrafact.core.execution import parameters_of
from contrafact.models import BlackBox, Preprocessing, TorchPredictor

PICTURES = [n for n in EXPLAINERS.names() if getattr(EXPLAINERS.get(n), "picture", False)]
QUICK: dict[str, dict[str, Any]] = {
    "activation-maximisation": {"iterations": 12, "rate": 0.05},
    "feature-visualisation": {"iterations": 12, "rate": 0.2, "shake": 0.2},
    "feature-inversion": {"iterations": 20, "rate": 0.2},
    "deep-dream": {"octaves": 2, "iterations": 4, "rate": 0.03},
}


def image(axes: int = 2, channels: int = 1, *, seed: int = 0, size: int = 16) -> Image:
    rng = np.random.default_rng(seed)
    return Image(rng.uniform(0.2, 0.8, (channels, *(size,) * axes)).astype(np.float32))


def asked(name: str, predictor: Any, images: Any, **more: Any) -> Any:
    return cf.explain(name, predictor, images, target="class:1", **{**QUICK[name], **more})


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize(("axes", "channels"), [(a, c) for a in (2, 3) for c in (1, 3, 4)])
def test_the_network_says_more_of_the_last_frame_than_of_the_first(name: str, axes: int, channels: int) -> None:
    strip: Counterfactual = asked(name, planted_predictor(axes, channels), image(axes, channels))
    assert strip.frames.shape[1:] == (channels, *(16,) * axes)
    assert strip.scores[-1] > strip.scores[0] + 0.01
    np.testing.assert_allclose(strip.requested, strip.scores - strip.scores[0], atol=1e-9)
    assert strip.latent_distance[0] == 0 < strip.latent_distance[-1]


def test_maximising_paints_the_block_that_the_model_looks_at() -> None:
    predictor = planted_predictor(2, 1)
    strip = asked("activation-maximisation", predictor, image(), iterations=60, weight=2.0, smooth=0.0)
    last = strip.frames[-1, 0]
    inside = last[4:8, 4:8].mean()
    outside = np.delete(last, slice(2, 10), axis=0).mean()
    assert inside > outside + 0.2


@pytest.mark.parametrize("name", PICTURES)
def test_the_same_again_alone_or_with_others_and_nothing_is_left_behind(name: str) -> None:
    predictor = planted_predictor(2, 1)
    predictor.module.train()
    before = {k: v.clone() for k, v in predictor.module.state_dict().items()}
    images = [image(seed=s) for s in (1, 2)]
    state = torch.get_rng_state()
    together = asked(name, predictor, images)
    alone = asked(name, predictor, images[1])
    np.testing.assert_allclose(together[1].frames, alone.frames, atol=1e-5)
    assert predictor.module.training
    assert all(torch.equal(before[k], v) for k, v in predictor.module.state_dict().items())
    assert not any(m._forward_hooks for m in predictor.module.modules())
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("name", PICTURES)
def test_it_is_data_and_a_black_box_is_refused(name: str) -> None:
    explainer = EXPLAINERS.make(name)
    assert json.loads(json.dumps(parameters_of(explainer)))["name"] == name
    box = BlackBox(lambda x: np.zeros((len(x), 2), np.float32), classes=["no", "yes"])
    with pytest.raises(UnsupportedError, match="gradients"):
        asked(name, box, image())


@pytest.mark.parametrize("name", [n for n in PICTURES if n != "feature-inversion"])
def test_a_filter_can_be_asked_for_and_one_that_is_not_there_is_refused(name: str) -> None:
    predictor = TorchPredictor(small_network().eval(), classes=["no", "yes"])
    strip = asked(name, predictor, image(), layer="3", channel=2)
    assert strip.scores[-1] > strip.scores[0]
    with torch.no_grad():
        seen = predictor.module[:4](torch.from_numpy(strip.frames[-1:]))[0, 2].mean()
    assert strip.scores[-1] == pytest.approx(float(seen), abs=1e-5)
    with pytest.raises(InputError, match="channel must be 0 to 5"):
        asked(name, predictor, image(), layer="3", channel=6)
    with pytest.raises(InputError, match="expected a layer"):
        asked(name, predictor, image(), layer="nowhere")


def test_inversion_of_a_layer_that_keeps_all_gives_the_image_back() -> None:
    first = nn.Conv2d(1, 4, 1)
    network = nn.Sequential(first, nn.Flatten(), nn.Linear(4 * 256, 2))
    known = image()
    predictor = TorchPredictor(network, classes=["no", "yes"])
    strip = asked("feature-inversion", predictor, known, layer="0", iterations=300, rate=0.1, smooth=0.0)
    assert strip.scores[-1] > 0.98
    assert np.corrcoef(strip.frames[-1].ravel(), known.values.ravel())[0, 1] > 0.98


def test_a_blind_model_says_so() -> None:
    predictor = planted_predictor(2, 1)
    predictor.module.conv.weight.data.zero_()
    for name in ("activation-maximisation", "deep-dream"):
        assert asked(name, predictor, image()).outcome == "no_change"


@pytest.mark.parametrize("shape", [(1, 12), (3, 9, 12), (1, 6, 7, 8)])
def test_a_spectrum_stays_within_the_grey_levels_and_can_represent_any_image(shape: tuple[int, ...]) -> None:
    waves = Spectrum(shape, GreyLevels(-1.0, 3.0), "cpu")
    parameters = waves.start(np.random.default_rng(0)) * 100
    rendered = waves.render(parameters)
    assert rendered.shape == shape
    assert -1 <= float(rendered.min()) < float(rendered.max()) <= 3
    wanted = torch.from_numpy(np.random.default_rng(1).uniform(0, 2, shape).astype(np.float32))
    logits = torch.logit((wanted + 1) / 4)
    axes = tuple(range(1, len(shape)))
    back = torch.fft.rfftn(logits, dim=axes) / waves.scale / (logits[0].numel() ** 0.5 / 4)
    np.testing.assert_allclose(waves.render(torch.view_as_real(back)).numpy(), wanted.numpy(), atol=1e-4)


def test_the_window_of_the_model_bounds_the_picture() -> None:
    predictor = planted_predictor(2, 1)
    predictor.preprocessing = Preprocessing(window=(0.0, 1.0))
    strip = asked("feature-visualisation", predictor, image(), rate=3.0, iterations=30)
    assert 0 <= strip.frames.min() <= strip.frames.max() <= 1


def test_a_maximised_picture_stays_within_the_grey_levels_of_the_image() -> None:
    known = image()
    strip = asked("activation-maximisation", planted_predictor(2, 1), known, iterations=8, rate=2.0, weight=0.0)
    assert known.values.min() <= strip.frames.min() and strip.frames.max() <= known.values.max()
    assert strip.frames[-1].max() == known.values.max()  # it is reached
