"""What must hold for heatmaps whatever the network: identities, closed forms, other libraries."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

import contrafact as cf
from contrafact.attribution import MEMBERS, cam_panel
from contrafact.core import Heatmap, Image, InputError, Question, UnsupportedError
from contrafact.models import TorchPredictor

RNG = np.random.default_rng(5)


def classifier(axes: int = 2, *, channels: int = 1, seed: int = 1) -> nn.Module:
    """Convolutions, ReLUs and pooling; no two axes alike."""
    conv, pool = {2: (nn.Conv2d, nn.AvgPool2d), 3: (nn.Conv3d, nn.AvgPool3d)}[axes]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            conv(channels, 5, 3, padding=1),
            nn.ReLU(),
            pool(2),
            conv(5, 4, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.LazyLinear(2),
        )


def built(axes: int = 2, size: int = 8, **more: Any) -> TorchPredictor:
    module = classifier(axes, **more)
    with torch.random.fork_rng():
        torch.manual_seed(11)  # the lazy layer draws its weights now
        module(torch.zeros(1, more.get("channels", 1), *(size,) * axes))
    with torch.no_grad():
        module[0].weight.mul_(3)  # so that the image matters
        module[3].weight.mul_(3)
        size = module[6].weight.abs()
        module[6].weight.copy_(torch.stack([-size[0], size[1]]))
    return TorchPredictor(module, classes=["a", "b"])


def linear(axes: int = 2, size: int = 8) -> tuple[TorchPredictor, np.ndarray]:
    weights = RNG.normal(size=(size,) * axes).astype(np.float32)
    head = nn.Linear(size**axes, 1, bias=True)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weights.reshape(1, -1)))
    return TorchPredictor(nn.Sequential(nn.Flatten(), head), classes=["x"], output="regression"), weights


def picture(axes: int = 2, *, channels: int = 1, size: int = 8) -> Image:
    values = np.random.default_rng(7).uniform(0, 1, (channels, *(size,) * axes))
    return Image(values.astype(np.float32))


def ask(method: str, model: Any, image: Image, *, target: str = "class:1", **more: Any) -> np.ndarray:
    heat: Heatmap = cf.explain(method, model, image, target=target, **more)
    return heat.values


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("input-x-gradient", {"baseline": 0.2}),
        ("deeplift", {"baseline": 0.2}),
        ("deeplift-shap", {"baselines": (0.2,)}),
        ("integrated-gradients", {"baseline": 0.2, "steps": 4}),
        ("gradient-shap", {"baselines": (0.2,), "samples": 3}),
        ("occlusion", {"box": 1, "stride": 1, "fill": 0.2}),
        ("feature-ablation", {"count": 4, "fill": 0.2}),
        ("shapley-sampling", {"count": 4, "fill": 0.2, "samples": 1}),
    ],
)
def test_a_linear_model_has_one_answer(method: str, more: dict[str, Any], axes: int) -> None:
    size = 4
    model, weights = linear(axes, size)
    image = picture(axes, size=size)
    expected = weights * (image.values[0] - 0.2)
    np.testing.assert_allclose(ask(method, model, image, target="value:0", **more), expected, atol=1e-5)


def test_the_gradient_of_a_linear_model_is_its_weights() -> None:
    model, weights = linear()
    np.testing.assert_allclose(ask("gradient", model, picture(), target="value:0"), weights, atol=1e-6)
    np.testing.assert_allclose(
        ask("gradient", model, picture(), target="value:0", absolute=True), np.abs(weights), atol=1e-6
    )


def change(model: TorchPredictor, image: Image, fill: float) -> float:
    """f(image) - f(filled image), in logits."""
    target = model.target("class:1")
    with torch.no_grad():
        ends = [target(model(v[None])) for v in (image.values, np.full_like(image.values, fill))]
    return float(ends[0] - ends[1])


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize(
    ("method", "more", "share"),
    [
        ("integrated-gradients", {"baseline": -1.0, "steps": 64}, 0.02),
        ("gradient-shap", {"baselines": (-1.0,), "samples": 400}, 0.05),
        ("deeplift", {"baseline": -1.0}, 1e-4),
        ("deeplift-shap", {"baselines": (-1.0, -1.0)}, 1e-4),
        ("shapley-sampling", {"count": 4, "fill": -1.0, "samples": 2}, 1e-3),
        ("kernel-shap", {"count": 2, "fill": -1.0, "samples": 300}, 1e-2),
    ],
)
def test_the_map_sums_to_the_change_of_the_score(
    method: str, more: dict[str, Any], share: float, axes: int
) -> None:
    model, image = built(axes), picture(axes)
    wanted = change(model, image, -1.0)
    assert abs(wanted) > 0.05
    assert ask(method, model, image, **more).sum() == pytest.approx(wanted, abs=share * abs(wanted) + 1e-4)


class Functional(nn.Module):
    """The same network with its ReLUs as functions, one of them used twice, one in place."""

    def __init__(self, module: nn.Sequential) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        first, _, pool, second, _, flat, head = self.module
        y = F.relu(first(x), inplace=True)
        return head(flat(F.relu(second(pool(torch.relu(y))))))


@pytest.mark.parametrize("method", ["guided-backprop", "deconvolution", "guided-gradcam"])
def test_a_rectifier_is_found_wherever_it_stands(method: str) -> None:
    image, model = picture(), built()
    more = {"layer": "3"} if method == "guided-gradcam" else {}
    expected = ask(method, model, image, **more)
    hidden = TorchPredictor(Functional(model.module), classes=["a", "b"])
    more = {"layer": "module.3"} if more else {}
    np.testing.assert_allclose(ask(method, hidden, image, **more), expected, atol=1e-6)
    assert np.abs(expected - ask("gradient", model, image)).max() > 1e-3
    plain = TorchPredictor(nn.Sequential(nn.Conv2d(1, 2, 8), nn.Flatten(), nn.Tanh()), classes=["a", "b"])
    more = {"layer": "0"} if more else {}
    with pytest.raises(UnsupportedError, match="this network has none"):
        ask(method, plain, image, **more)


@pytest.mark.filterwarnings("ignore::contrafact.core.EmptyMapWarning")
def test_guided_backprop_and_deconvolution_are_those_of_captum() -> None:
    from captum.attr import Deconvolution, GuidedBackprop

    model, image = built(), picture()
    x = torch.from_numpy(image.values[None]).requires_grad_()
    for method, oracle in (("guided-backprop", GuidedBackprop), ("deconvolution", Deconvolution)):
        with pytest.warns(UserWarning, match="Setting backward hooks"):
            found = [oracle(model.module).attribute(x, target=k)[0, 0].detach().numpy() for k in (0, 1)]
        ours = [ask(method, model, image, target=f"value:{k}") for k in (0, 1)]
        np.testing.assert_allclose(ours, found, atol=1e-5)


def test_the_family_of_cams_comes_from_one_pass() -> None:
    model, image = built(), picture()
    counted = []

    class Counting(TorchPredictor):
        def __call__(self, images: Any) -> Tensor:
            counted.append(len(images))
            return super().__call__(images)

    model = Counting(model.module, classes=["a", "b"])
    question = Question(
        predictor=model, images=image.values[None], target=model.target("class:1"), grid=image.grid
    )
    with model.frozen():
        panel = cam_panel(question, MEMBERS)
    assert counted == [1]
    for name, maps in panel.items():
        np.testing.assert_allclose(maps[0], ask(name, model, image), atol=1e-6)
    # Where no gradient is negative, Layer-CAM is HiRes-CAM.
    assert len({maps.tobytes() for maps in panel.values()}) >= len(MEMBERS) - 1


@pytest.mark.parametrize("axes", [2, 3])
def test_gradcam_is_that_of_captum_and_hirescam_conserves_a_linear_end(axes: int) -> None:
    from captum.attr import LayerGradCam

    model, image = built(axes), picture(axes)
    x = torch.from_numpy(image.values[None])
    found = LayerGradCam(model.module, model.module[3]).attribute(x, target=1, relu_attributions=False)
    size = image.grid.shape
    mode = {2: "bilinear", 3: "trilinear"}[axes]
    expected = F.interpolate(found, size, mode=mode)[0, 0].detach().numpy()
    np.testing.assert_allclose(ask("gradcam", model, image, target="value:1", layer="3"), expected, atol=1e-5)
    # After the last ReLU only a linear layer follows: the sum over places is the logit less its bias.
    question = Question(
        predictor=model, images=image.values[None], target=model.target("value:1"), grid=image.grid
    )
    with model.frozen(), model.watch("4") as seen:
        images = x.clone().requires_grad_()
        values = question.target(model(images))
        (slopes,) = torch.autograd.grad(values.sum(), seen[0])
        total = float(MEMBERS["hirescam"](seen[0], slopes).sum().detach())
    assert total == pytest.approx(float(values.detach()) - float(model.module[6].bias[1].detach()), rel=1e-4)


def as_volume(module: nn.Module) -> nn.Module:
    """The 2D network as a 3D one with kernels of depth 1."""
    layers: list[nn.Module] = []
    for layer in module:
        if isinstance(layer, nn.Conv2d):
            deep = nn.Conv3d(layer.in_channels, layer.out_channels, (1, 3, 3), padding=(0, 1, 1))
            deep.weight.data = layer.weight.data[:, :, None].clone()
            deep.bias.data = layer.bias.data.clone()
            layers.append(deep)
        elif isinstance(layer, nn.AvgPool2d):
            layers.append(nn.AvgPool3d((1, 2, 2)))
        else:
            layers.append(layer)
    return nn.Sequential(*layers)


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("gradient", {}),
        ("guided-backprop", {}),
        ("deconvolution", {}),
        *((name, {}) for name in MEMBERS),
        ("score-cam", {}),
        ("layer-activation", {}),
        ("ablation-cam", {}),
        ("layer-conductance", {"steps": 4}),
        ("internal-influence", {"steps": 4}),
        ("layer-gradient-shap", {"samples": 4}),
        ("deeplift", {}),
        ("layer-deeplift", {}),
        ("integrated-gradients", {"steps": 8}),
        ("gradient-shap", {"samples": 4, "baselines": (0.0,)}),
    ],
)
def test_a_volume_of_one_slice_is_a_picture(method: str, more: dict[str, Any]) -> None:
    model, image = built(), picture()
    deep = TorchPredictor(as_volume(model.module), classes=["a", "b"])
    volume = Image(image.values[:, None])
    flat = ask(method, model, image, **more)
    np.testing.assert_allclose(ask(method, deep, volume, **more)[0], flat, atol=1e-5)


@pytest.mark.filterwarnings("ignore::contrafact.core.EmptyMapWarning")
def test_smoothing_is_the_mean_of_its_inner_method() -> None:
    model, weights = linear()
    image = picture()
    mean = ask("smooth", model, image, target="value:0", samples=3)
    np.testing.assert_allclose(mean, weights, atol=1e-6)  # a linear model's gradient knows no noise
    square = ask("smooth", model, image, target="value:0", samples=3, kind="square")
    np.testing.assert_allclose(square, weights**2, atol=1e-5)
    spread = ask("smooth", model, image, target="value:0", samples=3, kind="variance")
    np.testing.assert_allclose(spread, 0, atol=1e-5)
    noisy = ask(
        "smooth",
        model,
        image,
        target="value:0",
        samples=400,
        inner=cf.attribution.InputXGradient(baseline=0.0),
        noise=0.1,
    )
    np.testing.assert_allclose(noisy, weights * image.values[0], atol=0.05)
    with pytest.raises(InputError, match="variance"):
        cf.explain("smooth", model, image, target="value:0", kind="varience")


def test_the_noise_of_smoothing_is_a_share_of_each_images_own_range() -> None:
    model, weak = squares(), picture()
    strong = Image(5 * weak.values)
    ask_with = {"target": "value:0", "noise": 0.2, "samples": 5}
    for kind in ("mean", "variance"):
        together = cf.explain("smooth", model, [weak, strong], kind=kind, **ask_with)
        alone = [cf.explain("smooth", model, image, kind=kind, **ask_with) for image in (weak, strong)]
        for one, same in zip(together, alone, strict=True):
            np.testing.assert_allclose(one.values, same.values, rtol=1e-3, atol=1e-5)
    slopes = 2 * model.module.weights.detach().numpy()[0]
    spread = slopes * 0.2 * np.ptp(weak.values)
    many = ask("smooth", model, weak, kind="variance", **{**ask_with, "samples": 2000})
    np.testing.assert_allclose(many, spread**2, rtol=0.2)


def test_rise_tells_what_showing_a_place_adds() -> None:
    weights = np.zeros((8, 8), dtype=np.float32)
    weights[1:4, 1:4], weights[5:7, 5:7] = 1.0, -1.0
    head = nn.Linear(64, 1)
    head.weight.data = torch.from_numpy(weights.reshape(1, -1))
    model = TorchPredictor(nn.Sequential(nn.Flatten(), head), classes=["x"], output="regression")
    image = Image(np.ones((1, 8, 8), dtype=np.float32))
    found = ask("rise", model, image, target="value:0", cells=4, masks=1000, fill=0.0)
    assert np.corrcoef(found.ravel(), weights.ravel())[0, 1] > 0.7
    assert found[2, 2] > 0 > found[6, 6]


def test_supervoxels_keep_to_edges() -> None:
    values = np.zeros((1, 16, 16), dtype=np.float32)
    values[0, :, 5:] = 1.0
    from contrafact.perturbation import feature_labels

    labels = feature_labels(values, "slic", 3)
    left, right = set(labels[:, :5].ravel()), set(labels[:, 5:].ravel())
    assert not left & right
    with pytest.raises(InputError, match="grid"):
        feature_labels(values, "gird", 3)
    with pytest.raises(InputError, match="1 to 16 features"):
        feature_labels(values, "grid", 17)


def test_there_are_about_as_many_supervoxels_as_asked_for_along_every_axis() -> None:
    from contrafact.perturbation import feature_labels

    rng = np.random.default_rng(0)
    for axes, size in ((2, 24), (3, 12)):
        values = rng.uniform(0, 1, (1, *(size,) * axes)).astype(np.float32)
        count = int(feature_labels(ndimage.gaussian_filter(values, 2), "slic", 3).max()) + 1
        assert 0.5 * 3**axes < count < 2 * 3**axes


def test_layer_activation_shows_one_filter_or_their_mean() -> None:
    model, image = built(), picture()
    with model.frozen(), model.watch("0") as seen:
        model(image.values[None])
    np.testing.assert_allclose(ask("layer-activation", model, image, layer="0", channel=2), seen[0][0, 2])
    np.testing.assert_allclose(ask("layer-activation", model, image, layer="0"), seen[0][0].mean(0), atol=1e-6)
    with pytest.raises(InputError, match="channel must be 0 to 4"):
        ask("layer-activation", model, image, layer="0", channel=5)


class Odd(nn.Module):
    """A network with a step that a module hook cannot see."""

    def __init__(self, module: nn.Sequential) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module[6](self.module[5](F.relu(self.module[3](self.module[2](F.relu(self.module[0](x)))))))


def test_deeplift_refuses_what_it_cannot_follow() -> None:
    model, image = built(), picture()
    odd = TorchPredictor(Odd(model.module), classes=["a", "b"])
    with pytest.raises(UnsupportedError, match="not exact for this network"):
        ask("deeplift", odd, image, baseline=-1.0)
    shared = nn.ReLU()
    first, _, pool, second, _, flat, head = model.module
    twice = TorchPredictor(nn.Sequential(first, shared, pool, second, shared, flat, head), classes=["a", "b"])
    with pytest.raises(UnsupportedError, match="use integrated-gradients"):
        ask("deeplift", twice, image, baseline=-1.0)
    inplace = nn.Sequential(first, nn.ReLU(inplace=True), pool, second, nn.ReLU(inplace=True), flat, head)
    model_in = TorchPredictor(inplace, classes=["a", "b"])
    expected = ask("deeplift", model, image, baseline=-1.0)
    np.testing.assert_allclose(ask("deeplift", model_in, image, baseline=-1.0), expected, atol=1e-6)
    assert inplace[1].inplace


def test_conductance_of_a_layer_that_all_passes_sums_to_the_change() -> None:
    model, image = built(), picture()
    from contrafact.attribution.layer.layer_path import along

    question = Question(
        predictor=model, images=image.values[None], target=model.target("class:1"), grid=image.grid
    )
    with model.frozen():
        _, points = along(question, -1.0, np.linspace(0, 1, 200).tolist(), "3", "layer-conductance")
    total = sum(float(((a[1] + b[1]) / 2 * (b[0] - a[0])).sum()) for a, b in itertools.pairwise(points))
    assert total == pytest.approx(change(model, image, -1.0), rel=0.02)


class Squares(nn.Module):
    """A regression value: the weighted sum of the squared voxels, by a layer that is the image itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.ones_(self.conv.weight)
        weights = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(2)) - 0.3
        self.weights = nn.Parameter(weights)

    def forward(self, x: Tensor) -> Tensor:
        return (self.weights * self.conv(x).square()).flatten(1).sum(dim=1, keepdim=True)


def squares() -> TorchPredictor:
    return TorchPredictor(Squares(), classes=["x"], output="regression")


@pytest.mark.parametrize("steps", [1, 4])
def test_conductance_of_squares_is_exact_with_any_number_of_steps(steps: int) -> None:
    model, image = squares(), picture()
    weights = model.module.weights.detach().numpy()[0]
    found = ask("layer-conductance", model, image, target="value:0", layer="conv", baseline=0.2, steps=steps)
    np.testing.assert_allclose(found, weights * (image.values[0] ** 2 - 0.2**2), atol=1e-5)


def test_influence_is_the_mean_gradient_along_the_path() -> None:
    model, image = squares(), picture()
    weights = model.module.weights.detach().numpy()[0]
    found = ask("internal-influence", model, image, target="value:0", layer="conv", baseline=0.2, steps=2)
    np.testing.assert_allclose(found, weights * (image.values[0] + 0.2), atol=1e-5)


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("expected-gradients", {"background": [Image(np.full((1, 8, 8), 0.2, np.float32))]}),
        ("gradient-shap", {"baselines": (0.2,)}),
        ("layer-gradient-shap", {"baselines": (0.2,), "layer": "conv"}),
    ],
)
def test_random_points_of_a_path_lie_in_the_middle_on_average(method: str, more: dict[str, Any]) -> None:
    model, image = squares(), picture()
    weights = model.module.weights.detach().numpy()[0]
    expected = weights * (image.values[0] ** 2 - 0.2**2)
    ask_with = {"target": "value:0", "samples": 4, **more}
    found = np.mean([ask(method, model, image, seed=seed, **ask_with) for seed in range(30)], axis=0)
    size = np.abs(weights * (image.values[0] - 0.2) ** 2)  # off by a quarter of it at either end of each part
    assert (np.abs(found - expected) < 0.06 * size + 1e-5).all()


def test_eigencam_has_the_sign_of_the_sum_over_channels() -> None:
    """Whatever sign the decomposition gives its vectors: of the opposite target the map is the opposite."""
    rng = torch.Generator().manual_seed(4)
    activations, slopes = (torch.randn(16, 5, 6, 6, generator=rng) for _ in range(2))
    maps, terms = MEMBERS["eigencam"](activations, slopes), (activations * slopes).sum(dim=1)
    assert bool(((maps * terms).flatten(1).sum(dim=1) > 0).all())
    torch.testing.assert_close(MEMBERS["eigencam"](activations, -slopes), -maps, atol=1e-4, rtol=1e-3)


def test_score_cam_weighs_filters_by_the_gain_over_the_empty_image() -> None:
    """Of a sum of voxels plus a constant: the constant counts for nothing."""
    head = nn.Linear(64, 1)
    nn.init.ones_(head.weight)
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1), nn.Flatten(), head)
    maps = []
    for constant in (0.0, 100.0):
        nn.init.constant_(head.bias, constant)
        model = TorchPredictor(module, classes=["x"], output="regression")
        maps.append(ask("score-cam", model, picture(), target="value:0", layer="0"))
    np.testing.assert_allclose(maps[1], maps[0], atol=1e-4)
    assert np.abs(maps[0]).max() > 0.01


def test_ablation_and_gradient_agree_where_the_end_is_linear() -> None:
    # Switching a filter off before a linear head takes its whole contribution away.
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)
    )
    model, image = TorchPredictor(module, classes=["a", "b"]), picture()
    maps = ask("ablation-cam", model, image, layer="0")
    np.testing.assert_allclose(maps, ask("gradcam", model, image, layer="0"), atol=1e-5)


def test_finer_cam_is_gradcam_of_the_class_against_its_rivals() -> None:
    module = classifier()
    module(torch.zeros(1, 1, 8, 8))
    module[6] = nn.Linear(module[6].in_features, 4)
    model, image = TorchPredictor(module, classes=list("abcd")), picture()
    with torch.no_grad():
        outputs = model(image.values[None])[0]
    rival = int(torch.tensor([outputs[0], -torch.inf, outputs[2], outputs[3]]).argmax())
    found = ask("finer-cam", model, image, layer="3", rivals=1, share=1.0)
    np.testing.assert_allclose(
        found, ask("gradcam", model, image, layer="3", target=f"margin:1,{rival}"), atol=1e-6
    )
    with pytest.raises(UnsupportedError, match="use gradcam"):
        ask("finer-cam", model, image, target="margin:0,1")


class Skip(nn.Module):
    """Two ways that meet in a sum and in a concatenation, functional ReLUs; with every normalisation, or
    with nothing that adds a constant."""

    def __init__(self, axes: int, *, norms: bool) -> None:
        super().__init__()
        conv, up, batch, instance = {
            2: (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.InstanceNorm2d),
            3: (nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d, nn.InstanceNorm3d),
        }[axes]
        self.axes = axes
        self.first, self.down, self.side = conv(1, 4, 3, padding=1), conv(4, 4, 3, 2, 1), conv(4, 4, 1)
        self.up, self.last = up(4, 4, 2, 2), conv(8, 3, 3, padding=1)
        self.batch, self.instance, self.group = batch(4), instance(4), nn.GroupNorm(2, 4)
        self.prelu = nn.PReLU()
        if not norms:
            self.batch = self.instance = self.group = nn.Identity()
            self.prelu = nn.ReLU()
            for layer in (self.first, self.down, self.side, self.up, self.last):
                layer.bias = None

    def forward(self, x: Tensor) -> Tensor:
        pool = {2: F.max_pool2d, 3: F.max_pool3d}[self.axes]
        mean = {2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}[self.axes]
        a = F.relu(self.batch(self.first(x)), inplace=True)
        b = self.prelu(self.group(self.down(a)))
        b = F.relu(b + self.side(pool(a, 2)))
        c = self.last(torch.cat([a, F.relu(self.instance(self.up(b)))], dim=1))
        return mean(F.relu(c), 1).flatten(1)


def relevance(axes: int, rule: str, *, norms: bool) -> list[tuple[Heatmap, float]]:
    """Maps and scores of the classes that the network gives anything."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = TorchPredictor(Skip(axes, norms=norms), classes=list("abc"))
    image, found = picture(axes), []
    for k in range(3):
        with model.frozen(), torch.no_grad():
            score = float(model.target(f"value:{k}")(model(image.values[None])))
        if score > 1e-3:
            found.append((cf.explain("lrp", model, image, target=f"value:{k}", rule=rule), score))
    assert found
    return found


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("rule", ["alpha1-beta0", "gamma"])
def test_relevance_is_conserved_through_a_u_net(rule: str, axes: int) -> None:
    for heat, score in relevance(axes, rule, norms=False):
        assert heat.record.notes["conservation"] == pytest.approx(1, abs=0.2)
        assert heat.values.sum() == pytest.approx(score, rel=0.01)
    # A normalisation adds constants, which take no relevance: what is lost is said.
    for heat, score in relevance(axes, rule, norms=True):
        assert heat.record.notes["conservation"] == pytest.approx(heat.values.sum() / score, rel=1e-3)


def test_relevance_of_a_linear_model_without_bias_is_its_terms() -> None:
    model, weights = linear()
    with torch.no_grad():
        model.module[1].bias.zero_()
    image = picture()
    found = ask("lrp", model, image, target="value:0", rule="epsilon")
    np.testing.assert_allclose(found, weights * image.values[0], atol=1e-4)


def test_winning_is_a_probability_and_its_contrast_is_signed() -> None:
    model, image = built(), picture()
    heat = cf.explain("excitation-backprop", model, image, target="value:1")
    assert heat.values.min() >= 0
    assert heat.values.sum() == pytest.approx(1, abs=1e-3)
    assert heat.record.notes["conservation"] == pytest.approx(1, abs=1e-3)
    module = classifier()
    module(torch.zeros(1, 1, 8, 8))
    contrast = ask(
        "excitation-backprop",
        TorchPredictor(module, classes=["a", "b"]),
        image,
        target="value:1",
        contrastive=True,
    )
    assert abs(contrast.sum()) < 1e-3
    assert contrast.min() < -1e-3 < 1e-3 < contrast.max()


def test_excitation_backprop_by_hand() -> None:
    # One hidden layer: P(x_i) = sum_j x_i w+_ij / sum_k x_k w+_kj * h_j v+_j / sum h v+.
    w, v = np.array([[1.0, -1.0], [2.0, 1.0], [0.5, 3.0]]), np.array([2.0, 1.0])
    module = nn.Sequential(nn.Flatten(), nn.Linear(3, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    module[1].weight.data = torch.from_numpy(w.T).float()
    module[3].weight.data = torch.from_numpy(v[None]).float()
    model = TorchPredictor(module, classes=["x"], output="regression")
    x = np.array([0.2, 0.5, 0.9])
    hidden = np.maximum(x @ w, 0)
    top = hidden * v / (hidden * v).sum()
    below = x[:, None] * np.maximum(w, 0)
    expected = (below / below.sum(axis=0) * top).sum(axis=1)
    found = ask("excitation-backprop", model, Image(x.reshape(1, 1, 3).astype(np.float32)), target="value:0")
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


@pytest.mark.parametrize("step", [torch.exp, torch.erf, F.logsigmoid, partial(F.local_response_norm, size=1)])
def test_a_step_without_a_rule_is_refused(step: Callable[[Tensor], Tensor]) -> None:
    class Grows(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return step(x).mean(dim=(2, 3)).expand(-1, 2)

    model = TorchPredictor(Grows(), classes=["a", "b"])
    for method in ("lrp", "excitation-backprop"):
        with pytest.raises(UnsupportedError, match="has no rule for"):
            ask(method, model, picture(), target="value:0")
    with pytest.raises(InputError, match="gamma"):
        cf.explain("lrp", model, picture(), target="value:0", rule="gama")


def test_a_filter_is_explained_by_what_it_answers_to() -> None:
    from captum.attr import GuidedBackprop

    class Upto(nn.Module):
        def __init__(self, module: nn.Sequential) -> None:
            super().__init__()
            self.module = module[:5]

        def forward(self, x: Tensor) -> Tensor:
            return self.module(x)[:, 2].flatten(1).sum(dim=1)

    model, image = built(), picture()
    x = torch.from_numpy(image.values[None]).requires_grad_()
    with pytest.warns(UserWarning, match="Setting backward hooks"):
        expected = GuidedBackprop(Upto(model.module)).attribute(x)[0, 0].detach().numpy()
    found = ask("filter-guided-backprop", model, image, layer="4", channel=2)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    with pytest.raises(InputError, match="channel must be 0 to 3"):
        ask("filter-guided-backprop", model, image, layer="4", channel=9)


def test_layer_deeplift_is_that_of_captum() -> None:
    from captum.attr import LayerDeepLift

    model, image = built(), picture()
    x = torch.from_numpy(image.values[None]).requires_grad_()
    oracle = LayerDeepLift(model.module, model.module[3])
    maps = oracle.attribute(x, baselines=torch.zeros_like(x), target=1)
    expected = F.interpolate(maps.sum(dim=1, keepdim=True), (8, 8), mode="bilinear")[0, 0].detach().numpy()
    found = ask("layer-deeplift", model, image, target="value:1", layer="3", baseline=0.0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("axes", [2, 3])
def test_coming_into_focus_accounts_for_the_change(axes: int) -> None:
    from scipy.ndimage import gaussian_filter

    from contrafact.perturbation.fill import gaussian

    model, image = built(axes), picture(axes)
    x = torch.from_numpy(image.values[None])
    blurred = gaussian(x, 2.0)
    expected = gaussian_filter(image.values[0], 2.0, mode="nearest", truncate=3.0)
    np.testing.assert_allclose(blurred[0, 0], expected, atol=1e-5)
    heat = cf.explain("blur-integrated-gradients", model, image, target="value:1", steps=100)
    with torch.no_grad():
        change_ = float(model(x)[0, 1] - model(blurred)[0, 1])
    assert heat.values.sum() == pytest.approx(change_, abs=0.02 * abs(change_) + 1e-3)
    assert abs(heat.record.notes["completeness_gap"]) < 0.02 * abs(change_) + 1e-3


def test_layer_deeplift_of_a_layer_beside_a_skip_is_not_refused() -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.relu = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 3, padding=1), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            return self.relu(y + self.second(y)).mean(dim=(2, 3))

    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = TorchPredictor(Beside(), classes=["a", "b"])
    assert np.abs(ask("layer-deeplift", model, picture(), layer="second", target="value:0")).max() > 0


def test_layer_deeplift_leaves_no_tensor_in_the_network() -> None:
    """A tensor left in a layer before the explained one is part of the model's digest: the bundle of this model
    did not know it any more."""
    from contrafact.core.contents import digest_of_content

    with torch.random.fork_rng():
        torch.manual_seed(1)
        parts = [nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 2, 3, padding=1), nn.ReLU()]
        module = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        model = TorchPredictor(module, classes=["a", "b"])
    before = digest_of_content(module)
    ask("layer-deeplift", model, picture(), layer="3", target="value:0")
    assert digest_of_content(module) == before


@pytest.mark.parametrize("axes", [2, 3])
def test_integrated_gradients_stop_when_they_are_complete_and_say_so(axes: int) -> None:
    model, image = built(axes), picture(axes)
    heat: Heatmap = cf.explain("integrated-gradients", model, image, target="class:1", baseline=0.0, gap=0.001)
    ends = torch.from_numpy(np.stack([image.values, np.zeros_like(image.values)]))
    with torch.no_grad():
        change = torch.diff(model.target("class:1")(model(ends)).flip(0)).item()
    error = abs(float(heat.values.sum()) - change) / abs(change)
    assert error <= 0.0011
    assert heat.record.notes["completeness"] == pytest.approx(error, abs=2e-4)
    assert heat.record.notes["points"] <= 129
    straight, _ = linear(axes)
    assert cf.explain("ig", straight, image, target="value:0").record.notes["points"] == 9
    capped = cf.explain("ig", model, image, target="class:1", baseline=-3.0, gap=1e-9, most=9)
    assert capped.record.notes["points"] == 9


@pytest.mark.parametrize("axes", [2, 3])
def test_expected_gradients_sum_to_the_change_from_the_mean_of_the_background(axes: int) -> None:
    model, image = built(axes), picture(axes)
    rng = np.random.default_rng(0)
    background = [Image(rng.uniform(0, 1, image.values.shape).astype(np.float32)) for _ in range(4)]
    heat = cf.explain("expected-gradients", model, image, target="class:1", background=background, samples=400)
    with torch.no_grad():
        scores = model.target("class:1")(model(np.stack([i.values for i in (image, *background)])))
    change, spread = float(scores[0] - scores[1:].mean()), float(scores.std())
    assert float(heat.values.sum()) == pytest.approx(change, rel=0.1, abs=0.05 * spread)


def test_permuting_a_feature_of_a_linear_model_gives_its_mean_fall() -> None:
    model, weights = linear(2)
    image, other = picture(2), Image(np.random.default_rng(9).uniform(0, 1, (1, 8, 8)).astype(np.float32))
    heat = cf.explain("feature-permutation", model, image, target="value:0", background=[other], count=4)
    gain = (weights * (image.values[0] - other.values[0])).reshape(4, 2, 4, 2).sum(axis=(1, 3))
    np.testing.assert_allclose(heat.values.reshape(4, 2, 4, 2).sum(axis=(1, 3)), gain, atol=1e-5)
    with pytest.raises(InputError, match="compares with other images"):
        cf.explain("feature-permutation", model, image, target="value:0")
    with pytest.raises(InputError, match="background images must be"):
        wrong = Image(np.zeros((1, 4, 4), np.float32))
        cf.explain("expected-gradients", model, image, target="value:0", background=[wrong])


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("occlusion", {"box": 2, "stride": 2}),
        ("feature-ablation", {"count": 4}),
        ("rise", {"masks": 20, "cells": 4}),
        ("feature-permutation", {"count": 4}),
    ],
)
def test_a_region_of_interest_is_all_that_is_asked_about_and_saves_passes(method: str, more: Any) -> None:
    model, image = built(), picture()
    place = np.zeros((1, 8, 8), dtype=np.float32)
    place[0, 2:4, 4:8] = 1
    ask_with = {"target": "class:1", "background": [Image(np.zeros((1, 8, 8), np.float32))], **more}
    whole = cf.explain(method, model, image, **ask_with)
    part = cf.explain(method, model, image, region=Image(place), **ask_with)
    assert not part.values[place[0] == 0].any()
    if method != "rise":
        np.testing.assert_allclose(part.values[2:4, 4:8], whole.values[2:4, 4:8], atol=1e-6)
        assert part.record.forward_passes < whole.record.forward_passes / 3
    with pytest.raises(InputError, match="another grid"):
        cf.explain(method, model, image, region=Image(np.ones((1, 4, 4), np.float32)), **ask_with)
    with pytest.raises(InputError, match="empty"):
        cf.explain(method, model, image, region=Image(np.zeros((1, 8, 8), np.float32)), **ask_with)


class Hungry(nn.Module):
    """Runs out of memory above `most` images at a time, or when activations of a whole pass are kept."""

    def __init__(self, network: nn.Module, most: int) -> None:
        super().__init__()
        self.network, self.most, self.asked = network, most, []

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.as_tensor(self.network(x))


@pytest.mark.filterwarnings("ignore::contrafact.core.EmptyMapWarning")
@pytest.mark.parametrize("method", ["occlusion", "rise", "integrated-gradients", "feature-permutation"])
def test_out_of_memory_halves_the_batch_and_changes_nothing(method: str) -> None:
    plain, image = built(), picture()
    hungry = TorchPredictor(Hungry(plain.module, 3), classes=["a", "b"])
    more = {"rise": {"masks": 64, "cells": 4, "batch": 16}}.get(method, {})
    ask_with = {"target": "class:1", "background": [image], **more}
    wanted = cf.explain(method, plain, image, **ask_with).values
    np.testing.assert_allclose(cf.explain(method, hungry, image, **ask_with).values, wanted, atol=1e-5)
    assert max(hungry.module.asked) > 3
    with pytest.raises(cf.core.ContrafactError, match="does not fit (in )?(the )?memory"):
        cf.explain(method, TorchPredictor(Hungry(plain.module, 0), classes=["a", "b"]), image, **ask_with)


@pytest.mark.filterwarnings("ignore::contrafact.core.EmptyMapWarning")
@pytest.mark.parametrize("method", ["deeplift", "guided-backprop"])
def test_a_list_that_exceeds_the_memory_is_explained_one_image_at_a_time(method: str) -> None:
    plain, images = built(), [picture()] * 5
    hungry = TorchPredictor(Hungry(plain.module, 2), classes=["a", "b"])
    wanted = cf.explain(method, plain, images, target="class:1")
    found = cf.explain(method, hungry, images, target="class:1")
    assert max(hungry.module.asked) > 2
    np.testing.assert_allclose([one.values for one in found], [one.values for one in wanted], atol=1e-5)


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_errors_of_memory_are_told_from_others_on_every_device(error: RuntimeError, memory: bool) -> None:
    from contrafact.perturbation.memory import portions

    done: list[tuple[int, int]] = []

    def work(part: slice) -> None:
        if part.stop - part.start > 2:
            raise error
        done.append((part.start, part.stop))

    if memory:
        portions(7, 5, 1, work)
        assert done == [(0, 2), (2, 4), (4, 6), (6, 7)]
    else:
        with pytest.raises(RuntimeError, match="cannot be multiplied"):
            portions(7, 5, 1, work)


@pytest.mark.parametrize("axes", [2, 3])
def test_activations_made_again_give_the_same_gradient(axes: int) -> None:
    from contrafact.attribution.gradients import slopes_at
    from contrafact.perturbation.memory import remade

    model, image = built(axes), picture(axes)
    with model.frozen():
        question = Question(
            predictor=model, images=image.values[None], target=model.target("class:1"), grid=image.grid
        )
        wanted = slopes_at(question, question.images)
        with remade(model):
            torch.testing.assert_close(slopes_at(question, question.images), wanted)
    assert not any("forward" in vars(m) for m in model.module.modules())


def test_extremal_masks_show_what_is_enough() -> None:
    model, _ = linear(2)
    with torch.no_grad():
        weight = torch.zeros(8, 8)
        weight[2:4, 4:6] = 1.0
        model.module[1].weight.copy_(weight.reshape(1, -1))
    image = Image(np.ones((1, 8, 8), dtype=np.float32))
    heat = cf.explain(
        "extremal-perturbation", model, image, target="value:0", areas=(0.0625,), cells=8, fill=0.0
    ).values
    inside = heat[2:4, 4:6]
    assert inside.min() > 0.8 * heat.max()
    assert heat.max() == pytest.approx(4.0, rel=0.2)  # what showing it gains
    assert np.delete(heat, [2, 3], axis=0).max() < 0.3 * inside.mean()


def residual(rule_free: bool = False) -> TorchPredictor:
    """A network with normalisation whose shifts matter, and skip connections."""
    from contrafact.models.example_networks import ResidualNetwork

    with torch.random.fork_rng():
        torch.manual_seed(4)
        network: nn.Module = ResidualNetwork(width=6, stages=2)
        if rule_free:
            network = nn.Sequential(
                nn.Conv2d(1, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(),
                nn.Conv2d(5, 4, 3, padding=1, bias=False), nn.GroupNorm(2, 4), nn.ReLU(),
                nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 2),
            )  # fmt: skip
        for layer in network.modules():
            if isinstance(layer, (nn.BatchNorm2d, nn.GroupNorm)):
                layer.weight.data.normal_(0, 1)
                layer.bias.data.normal_(0, 1)
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_var.uniform_(0.1, 2)
                layer.running_mean.normal_(0, 0.3)
    return TorchPredictor(network.eval(), classes=["a", "b"])


def test_epsilon_relevance_of_a_network_of_relus_is_input_times_gradient() -> None:
    model, image = residual(rule_free=True), picture()
    # With group normalisation the statistics are held, which the gradient does not do.
    model.module[4] = nn.Identity()
    relevance = ask("lrp", model, image, rule="epsilon")
    np.testing.assert_allclose(
        relevance, ask("input-x-gradient", model, image, baseline=0.0), rtol=1e-2, atol=1e-3
    )


@pytest.mark.parametrize("rule_free", [False, True])
def test_relevance_stays_as_large_as_what_is_shared_out(rule_free: bool) -> None:
    model, image = residual(rule_free), picture()
    score = abs(float(model.target("class:1")(model(image.values[None])).detach()))
    for rule, most in (("gamma", 20), ("epsilon", 200)):
        heat = cf.explain("lrp", model, image, target="class:1", rule=rule)
        assert np.abs(heat.values).sum() < most * max(score, 0.1)
    plain = cf.explain("lrp", model, image, target="class:1", rule="alpha1-beta0")
    assert plain.record.notes["conservation"] == pytest.approx(1, abs=0.2)
