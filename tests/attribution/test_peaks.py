"""What methods hold at their peak and how often they ask the network is counted; the maps stay as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

import contrafact as cf
from contrafact.attribution.gradient import integrated_gradients
from contrafact.attribution.relevance.linear_rules import linear_share
from contrafact.core import Image, Question
from contrafact.core.execution import explain
from contrafact.core.registry import EXPLAINERS
from contrafact.models import TorchPredictor
from contrafact.perturbation import fill_values, memory

SIDE = 12
VOXELS = SIDE**3


class Asked(nn.Module):
    """A small network that notes how many images it is shown at once."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(
                nn.Conv3d(1, 3, 3, stride=2), nn.SiLU(), nn.AdaptiveAvgPool3d(2), nn.Flatten(), nn.Linear(24, 2)
            )
        self.calls = list[int]()

    def forward(self, images: Tensor) -> Tensor:
        self.calls.append(len(images))
        return torch.as_tensor(self.layers(images))


class Largest(TorchDispatchMode):
    """The number of values of the largest tensor of images that an operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.values = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and tuple(found.shape[-3:]) == (SIDE, SIDE, SIDE):
            self.values = max(self.values, found.numel())
        return found


@pytest.fixture
def network() -> Asked:
    return Asked().eval()


def volume() -> Image:
    return Image(np.random.default_rng(0).random((1, SIDE, SIDE, SIDE), dtype=np.float32))


def mapped(network: Asked, name: str, *images: Image, **settings: Any) -> tuple[np.ndarray, Any]:
    predictor = TorchPredictor(network, classes=["a", "b"])
    target = predictor.target("value:1")
    heats = explain(EXPLAINERS.make(name, **settings), predictor, images or [volume()], target=target, seed=3)
    return np.stack([heat.values for heat in heats]), heats[0].record


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("kernel-shap", {"samples": 80, "count": 3}),
        ("lime", {"samples": 80, "count": 3, "sparsity": 1e-5}),
        ("shapley-sampling", {"samples": 2, "count": 3}),
        ("feature-ablation", {"count": 4}),
    ],
)
def test_large_images_are_changed_a_few_at_a_time(
    network: Asked, monkeypatch: pytest.MonkeyPatch, name: str, settings: dict[str, Any]
) -> None:
    whole, _ = mapped(network, name, **settings)
    assert max(network.calls) > 20
    for most in (3, 1):
        network.calls.clear()
        monkeypatch.setattr(memory, "VOXELS", most * VOXELS)
        with Largest() as seen:
            portioned, _ = mapped(network, name, **settings)
        assert max(network.calls) <= most and seen.values <= most * VOXELS
        np.testing.assert_allclose(portioned, whole, atol=1e-5 * np.abs(whole).max())


@pytest.mark.parametrize(
    ("name", "settings", "images"),
    [
        ("gradient", {}, 6),
        ("integrated-gradients", {"steps": 6}, 1),
        ("gradcam", {}, 6),
        ("layer-gradient-shap", {"samples": 2}, 6),
    ],
)
def test_a_pass_with_gradients_holds_few_large_images_of_a_network_that_holds_much(
    network: Asked, monkeypatch: pytest.MonkeyPatch, name: str, settings: dict[str, Any], images: int
) -> None:
    asked = [Image(np.random.default_rng(k).random((1, SIDE, SIDE, SIDE), np.float32)) for k in range(images)]
    whole, _ = mapped(network, name, *asked, **settings)
    assert max(network.calls) == 6
    for held, most in ((0, 1), (2 * 4 * VOXELS, 3), (2**28, 5)):  # an image holds about 1.1 times its own bytes
        network.calls.clear()
        monkeypatch.setattr(memory, "LARGE", VOXELS)
        monkeypatch.setattr(memory, "HELD", held)
        portioned, _ = mapped(network, name, *asked, **settings)
        with_gradients = network.calls if name != "layer-gradient-shap" else network.calls[-4:]
        assert 1 <= max(with_gradients) <= most
        np.testing.assert_allclose(portioned, whole, atol=1e-5 * np.abs(whole).max())


def test_what_a_graph_holds_is_its_activations_without_parameters() -> None:
    inner = nn.Sequential(nn.Linear(10, 100), nn.Sigmoid(), nn.Linear(100, 1, bias=False))
    for parameter in inner.parameters():
        parameter.requires_grad_(False)
    x = torch.ones(7, 10, requires_grad=True)
    assert memory.held_bytes(inner(x).sum()) == 7 * 100 * 4  # the output of the sigmoid
    assert memory.held_bytes((x * x.exp()).sum()) == 2 * 7 * 10 * 4
    assert memory.held_bytes(torch.ones(3)) == 0


class Squared(torch.autograd.Function):
    """A function with a backward pass of its own, which keeps a copy of its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x.clone())
        return x * x

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        return torch.as_tensor(2 * ctx.saved_tensors[0] * slopes[0])


def test_functions_with_their_own_backward_pass_hold_what_they_keep() -> None:
    x = torch.ones(7, 10, requires_grad=True)
    assert memory.held_bytes(Squared.apply(x).sum()) == 7 * 10 * 4


class Unusual(nn.Module):
    """Blocks whose activations are made again in the backward pass, then a product with a sparse matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.calls = nn.Sequential(*[nn.Conv2d(1, 1, 3, padding=1), nn.Tanh()] * 3), 0
        self.register_buffer("matrix", torch.eye(64))

    def inner(self, x: Tensor) -> Tensor:
        self.calls += 1
        return torch.as_tensor(self.block(x))

    def forward(self, x: Tensor) -> Tensor:
        x = checkpoint(self.inner, x, use_reentrant=False)
        return torch.sparse.mm(self.matrix.to_sparse(), x.flatten(1).t()).t()[:, :2]


@pytest.mark.parametrize("large", [1, 2**15])
def test_what_a_pass_holds_is_measured_without_a_pass_more(monkeypatch: pytest.MonkeyPatch, large: int) -> None:
    monkeypatch.setattr(memory, "LARGE", large)
    unusual = Unusual()
    predictor = TorchPredictor(unusual, classes=["a", "b"])
    image = Image(np.random.default_rng(0).random((1, 8, 8), np.float32))
    cf.explain("gradient", predictor, image, target="value:1")
    unusual.calls = 0
    cf.explain("gradient", predictor, image, target="value:1")
    assert unusual.calls == 2  # forward, and again for the gradient
    values = torch.as_tensor(image.values[None]).requires_grad_()
    (slopes,) = torch.autograd.grad(unusual(values)[:, 1].sum(), values)
    found = cf.explain("gradient", predictor, image, target="value:1").values
    np.testing.assert_allclose(found, slopes[0, 0].numpy(), atol=1e-6)


@pytest.mark.parametrize("name", ["deeplift", "gradcam"])
def test_large_images_of_a_list_are_explained_a_few_at_a_time(
    network: Asked, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(memory, "VOXELS", 3 * VOXELS)
    network.layers[1] = nn.ReLU()
    predictor = TorchPredictor(network, classes=["a", "b"])
    small = Image(volume().values[:, :6, :6, :6])
    found = cf.explain(name, predictor, [small, *[volume()] * 7], target="value:1")
    assert len(found) == 8 and max(network.calls) <= 6  # DeepLIFT asks the image and its baseline together


@pytest.mark.parametrize("kept", [0, 4, 1000])
def test_integrated_gradients_hold_a_running_sum(
    network: Asked, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    settings = {"gap": 1e-12, "most": 33}
    with monkeypatch.context() as small:
        small.setattr(integrated_gradients, "KEPT", kept * VOXELS)
        small.setattr(memory, "VOXELS", 2 * VOXELS)
        with Largest() as seen:
            values, record = mapped(network, "integrated-gradients", **settings)
    points = int(record.notes["points"])
    assert points == 33
    assert sum(network.calls) == points + max(0, points - kept)  # those that are not kept are computed twice
    assert max(network.calls) <= 2 and seen.values <= 2 * VOXELS
    whole, other = mapped(network, "integrated-gradients", **settings)
    assert other.notes["points"] == points
    np.testing.assert_allclose(values, whole, atol=1e-6 * np.abs(whole).max())


def test_the_running_sum_is_the_trapezium_rule_of_all_points(network: Asked) -> None:
    predictor = TorchPredictor(network, classes=["a", "b"])
    values, target = volume().values, predictor.target("value:1")
    image = torch.from_numpy(values)
    question = Question(predictor=predictor, images=values[None], target=target, grid=volume().grid)
    line = integrated_gradients._Line(question, image, torch.zeros_like(image))
    line.visit([0.0, 1.0, 0.5, 0.125, 0.75])
    order = sorted(line.slopes)
    wanted = torch.trapezoid(torch.stack([line.slopes[p] for p in order]), torch.tensor(order), dim=0) * image
    torch.testing.assert_close(line.integral(), wanted)


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_gradient_shap_asks_sixteen_points_at_once(network: Asked, noise: float) -> None:
    one, other = volume(), Image(np.random.default_rng(1).random((1, SIDE, SIDE, SIDE), dtype=np.float32))
    for images in ((one,), (one, other)):
        network.calls.clear()
        values, _ = mapped(network, "gradient-shap", *images, samples=20, noise=noise)
        assert network.calls == [16, 4] if len(images) == 1 else [16, 16, 8]
        np.testing.assert_allclose(
            values, plain_gradient_shap(network, images, 20, noise), atol=1e-6 * np.abs(values).max()
        )


def plain_gradient_shap(network: Asked, images: tuple[Image, ...], samples: int, noise: float) -> np.ndarray:
    """One point after another."""
    rng, batch = np.random.default_rng(3), torch.from_numpy(np.stack([image.values for image in images]))
    fills = [fill_values(batch, fill) for fill in ("min", "mean", "blur")]
    reach = noise * (batch.amax((1, 2, 3, 4), True) - batch.amin((1, 2, 3, 4), True))
    shares = (np.arange(samples) + rng.random(samples)) / samples
    total = torch.zeros_like(batch)
    for share, pick in zip(shares, rng.permutation(samples) % 3, strict=True):
        drawn = torch.from_numpy(rng.standard_normal(batch.shape[1:], dtype=np.float32)) if noise else 0.0
        way = batch + reach * drawn - fills[pick]
        point = (fills[pick] + float(share) * way).requires_grad_()
        (slopes,) = torch.autograd.grad(network(point)[:, 1].sum(), point)
        total += slopes * way
    return (total.sum(dim=1) / samples).numpy()


def plain_gamma(weight: Tensor, bias: Tensor | None, relevance: Tensor, x: Tensor) -> Tensor:
    """The generalised gamma rule of a convolution with each term of each sum written out."""
    run = nn.functional.conv2d
    up, down = (x.clamp_min(0).requires_grad_(), x.clamp_max(0).requires_grad_())
    more, less, zero = weight.clamp_min(0), weight.clamp_max(0), run(torch.zeros_like(x), weight, bias)
    z = run(up + down, weight, bias)
    plus = run(up, more) + run(down, less) + zero.clamp_min(0)
    minus = run(up, less) + run(down, more) + zero.clamp_max(0)
    agreed = z + 0.25 * torch.where(z >= 0, plus, minus)
    share = relevance / (agreed + 1e-6 * torch.where(z >= 0, 1.0, -1.0))
    first, second = torch.autograd.grad(agreed, (up, down), share.detach())
    return (up * first + down * second).detach()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("signs", [True, False])
def test_the_gamma_rule_passes_a_layer_twice_forward_and_twice_back(signs: bool, bias: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    x, weight = torch.randn(2, 3, 9, 8, generator=rng), torch.randn(4, 3, 3, 3, generator=rng)
    x = x if signs else x.relu()
    shift = torch.randn(4, generator=rng) if bias else None
    relevance = torch.randn(2, 4, 7, 6, generator=rng)
    zero = torch.zeros(()) if shift is None else shift.reshape(-1, 1, 1)
    with torch.autograd.profiler.profile() as seen:
        found = linear_share(
            lambda v, w, b: nn.functional.conv2d(v, w, b), weight, shift, relevance, x, "gamma", zero=zero
        )
    passes = {event.key: event.count for event in seen.key_averages()}
    often = 4 if signs else 2
    assert (passes["aten::convolution"], passes["aten::convolution_backward"]) == (often, often)
    torch.testing.assert_close(found, plain_gamma(weight, shift, relevance, x), rtol=1e-4, atol=1e-5)
