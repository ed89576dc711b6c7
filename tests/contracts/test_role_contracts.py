"""What every generator, encoder, predictor and target must do to take part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import contrafact as cf
from conftest import grey_preprocessing, small_network
from contrafact.core import (
    Explainer,
    Image,
    Predictor,
    Question,
    Target,
    UnsupportedError,
    adapted,
    is_predictor,
)
from contrafact.counterfactual import LatentWalk
from contrafact.generators import MedXGAN, MedXGANConfig, ResNetEncoder, StyleGAN2, StyleGAN2Config
from contrafact.models import BlackBox, TiledPredictor, TorchPredictor, as_predictor

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
    assert is_predictor(predictor)
    assert adapted(predictor) is predictor
    assert predictor.differentiable == predictor.watchable == (name == "torch")
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


def test_a_black_box_refuses_what_it_cannot_do_in_one_line() -> None:
    box = predictors()["black box"]
    for ask in (lambda: box.feature_layer(None), lambda: box.watch().__enter__()):
        with pytest.raises(UnsupportedError, match="hides its layers"):
            ask()
    assert box.replacing(None, None, (1, 1), np.zeros(2, int)) is None
    assert box.module is None


def test_a_model_that_takes_patches_is_a_full_predictor() -> None:
    tiled = TiledPredictor(predictors()["torch"], (16, 16))
    assert is_predictor(tiled)
    assert tiled.differentiable
    assert not tiled.watchable


def test_a_function_becomes_a_predictor_and_stays_as_it_is() -> None:
    def means(images: Any) -> Any:
        return torch.as_tensor(images).flatten(1).mean(dim=1, keepdim=True)

    before = dict(vars(means))
    known = adapted(means)
    assert is_predictor(known)
    assert isinstance(known, Predictor)
    assert vars(means) == before
    assert known.digest == adapted(means).digest
    assert known.digest != adapted(lambda images: 2 * means(images)).digest
    assert (known.classes, known.class_count, known.module) == ((), 0, None)
    assert not known.differentiable
    with pytest.raises(UnsupportedError, match="hides its layers"):
        known.watch()
    with pytest.raises(ValueError, match="a function of images; got int"):
        adapted(3)


def test_a_question_holds_a_full_predictor_whatever_it_was_given() -> None:
    image = Image(np.ones((1, 4, 4)))
    question = Question(
        predictor=lambda images: images.sum(axis=(1, 2, 3)),  # type: ignore[arg-type]
        images=image.values[None],
        target=lambda outputs: outputs,
        grid=image.grid,
    )
    assert is_predictor(question.predictor)
    assert question.predictor(question.images).tolist() == [16.0]


def test_the_door_turns_modules_and_functions_into_predictors_and_gives_predictors_back() -> None:
    module = small_network().eval()
    made = as_predictor(module)
    assert is_predictor(made)
    assert made.module is module
    assert as_predictor(made) is made
    assert as_predictor(lambda x: x.reshape(len(x), -1)[:, :2]).module is None


@pytest.mark.parametrize("kind", ["module", "predictor", "black box"])
def test_explain_changes_nothing_in_what_the_caller_gave(kind: str) -> None:
    module = small_network().train()
    given = {
        "module": module,
        "predictor": TorchPredictor(module),
        "black box": BlackBox(lambda x: x.reshape(len(x), -1)[:, :2] - 0.5),
    }[kind]
    names, digest = getattr(given, "classes", None), getattr(given, "digest", None)
    image = Image(np.random.default_rng(0).random((1, 16, 16)))
    heat = cf.explain("occlusion", given, image)
    assert heat.record.target.startswith("class:")
    assert getattr(given, "classes", None) == names
    assert getattr(given, "digest", None) == digest
    assert module.training
    if kind != "module":
        assert heat.record.model == digest
        assert given.class_count == 2


class Passes:
    """A wrapper of a user: every attribute is that of the model inside."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, images: Any) -> Any:
        return self.inner(images)

    def __getattr__(self, name: str) -> Any:
        if name == "inner" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.inner, name)


class Earlier:
    """A predictor with the members of an earlier protocol alone: no `class_count`, no `replacing`."""

    def __init__(self, inner: Any) -> None:
        self.module, self.inner = inner.module, inner
        self.classes, self.output, self.device, self.digest = ("a", "b"), inner.output, inner.device, "earlier"

    def __call__(self, images: Any) -> Any:
        return self.inner(images)

    def frozen(self) -> Any:
        return self.inner.frozen()

    def watch(self, layer: str | None = None) -> Any:
        return self.inner.watch(layer)

    def feature_layer(self, images: Any, layer: str | None = None, *, module: bool = False) -> Any:
        return self.inner.feature_layer(images, layer, module=module)

    def change(self, layer: str | None, function: Any) -> Any:
        return self.inner.change(layer, function)

    def layer(self, layer: str | None) -> Any:
        return self.inner.layer(layer)

    def target(self, text: str) -> Any:
        return self.inner.target(text)

    def probabilities(self, outputs: Any) -> Any:
        return self.inner.probabilities(outputs)


@pytest.mark.parametrize("wrap", [Passes, Earlier])
@pytest.mark.parametrize("method", ["gradcam", "ablation-cam", "layer-deeplift", "guided-backprop"])
def test_a_wrapper_of_a_model_is_explained_as_the_model_inside(wrap: Any, method: str) -> None:
    about: dict[str, Any] = {"classes": ["a", "b"], "preprocessing": grey_preprocessing(), "output": "sigmoid"}
    inner = TorchPredictor(small_network().eval(), **about)
    image = Image(np.random.default_rng(0).random((1, 16, 16), dtype=np.float32) * 255)
    wrapped = as_predictor(wrap(inner))
    assert (wrapped.output, wrapped.classes, wrapped.module) == ("sigmoid", ("a", "b"), inner.module)
    heat = cf.explain(method, wrap(inner), image, target="class:b")
    np.testing.assert_array_equal(heat.values, cf.explain(method, inner, image, target="class:b").values)
    (score,) = cf.evaluate(heat, wrap(inner), image, ["mprt"])
    assert np.isfinite(score.value), score.error
