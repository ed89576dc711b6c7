"""What every generator, encoder, predictor and target must do to take part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from conftest import grey_preprocessing, small_network
from contrafact.core import Differentiable, Explainer, Predictor, Target
from contrafact.counterfactual import LatentWalk
from contrafact.generators import MedXGAN, MedXGANConfig, ResNetEncoder, StyleGAN2, StyleGAN2Config
from contrafact.models import BlackBox, TorchPredictor

SIZE = StyleGAN2Config(resolution=16, channels=2, channel_base=64, channel_max=8, z_dim=6, w_dim=6)
CODES: dict[str, Any] = {"resolution": 16, "anatomy": 6, "pathology": 3, "channel_base": 64, "channel_max": 8}
GENERATORS: dict[str, Callable[[], Any]] = {
    "stylegan2": lambda: StyleGAN2(SIZE).eval(),
    "stylegan2, labels and noise": lambda: StyleGAN2(
        StyleGAN2Config(resolution=8, channel_base=64, channel_max=8, z_dim=6, w_dim=5, labels=3, noise=True)
    ).eval(),
    "medxgan": lambda: MedXGAN(MedXGANConfig(**CODES, channels=3, classes=2)).eval(),
    "medxgan, volumes": lambda: MedXGAN(MedXGANConfig(**CODES, axes=3)).eval(),
}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_samples_by_its_own_rng_and_decodes_with_gradients(name: str) -> None:
    generator, state = GENERATORS[name](), torch.get_rng_state()
    w = generator.sample(5, rng())
    assert w.shape == (5, generator.latent_size)
    assert torch.equal(w, generator.sample(5, rng()))
    assert torch.equal(state, torch.get_rng_state())
    w = w.detach().requires_grad_()
    images = generator.decode(w)
    assert images.shape == (5, *generator.image_shape)
    (slope,) = torch.autograd.grad(images.square().sum(), w)
    assert torch.isfinite(slope).all()
    assert slope.abs().sum() > 0
    torch.testing.assert_close(images[2:3], generator.decode(w[2:3]), atol=1e-5, rtol=1e-4)
    assert torch.equal(images, generator.decode(w)), "the same latent is always the same image"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [16, 64])
def test_an_encoder_gives_one_latent_per_image(channels: int, side: int) -> None:
    encoder = ResNetEncoder(channels, 7, width=4).eval()
    images = torch.rand(3, channels, side, side, generator=rng()) * 2 - 1
    w = encoder(images)
    assert w.shape == (3, 7)
    torch.testing.assert_close(w[1:2], encoder(images[1:2]), atol=1e-5, rtol=1e-4)


def predictors() -> dict[str, Any]:
    module = small_network().eval()
    about: dict[str, Any] = {"classes": ["a", "b"], "preprocessing": grey_preprocessing()}

    def function(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(x)).numpy()

    return {"torch": TorchPredictor(module, **about), "black box": BlackBox(function, **about)}


@pytest.mark.parametrize("name", list(predictors()))
def test_a_predictor_takes_arrays_and_tensors_of_any_size_and_says_who_it_is(name: str) -> None:
    predictor = predictors()[name]
    assert isinstance(predictor, Predictor)
    assert isinstance(predictor, Differentiable) == (name == "torch")
    images = torch.rand(3, 1, 20, 24, generator=rng()) * 255
    with torch.no_grad():
        outputs = predictor(images)
        torch.testing.assert_close(outputs, predictor(images.numpy()))
        torch.testing.assert_close(outputs[1:2], predictor(images[1:2]), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(outputs, predictor(images.double()), atol=1e-5, rtol=1e-4)
    assert outputs.shape == (3, 2)
    assert outputs.dtype == torch.float32
    assert predictor.digest
    for text in ("class:1", "class:b", "margin:0,1", "probability:0", "value:1"):
        target = predictor.target(text)
        assert isinstance(target, Target)
        assert target(outputs).shape == (3,)
        assert str(target).split(":")[0] == text.split(":")[0]


def test_explainers_are_frozen_data() -> None:
    walk = LatentWalk(goal=0.9)
    assert isinstance(walk, Explainer)
    assert walk == LatentWalk(goal=0.9)
    with pytest.raises(AttributeError):
        walk.goal = 0.5  # type: ignore[misc]
