"""Metrics that explain again, against what is known beforehand: the worth of a linear model, methods that
ignore the model, and the well-known failure of guided backpropagation."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from conftest import small_network
from contrafact.attribution import Gradient, GuidedBackprop, InputXGradient, Smooth
from contrafact.core import Explainer, Grid, InputError, Question, UnsupportedError
from contrafact.metrics import (
    MPRT,
    Agreement,
    DataRandomisation,
    EfficientMPRT,
    HeatmapContext,
    MaxSensitivity,
    MPRTIndependent,
    RandomLogit,
    Stability,
    random_map,
    randomisation_curve,
)
from contrafact.metrics.randomisation.layers import copied, layers_of, redraw
from contrafact.metrics.similarity import alike, spearman
from contrafact.models import BlackBox, TorchPredictor
from linear_panel import linear_panel
from two_spots import segmenter, two_spots


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """Ignores the model: where the image is steep."""

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        slopes = np.gradient(question.images.mean(axis=1), axis=tuple(range(1, question.images.ndim - 1)))
        return np.sqrt(sum(s**2 for s in slopes)).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dice:
    """Ignores everything: noise from its own seed."""

    sampled: ClassVar[bool] = True

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        return rng.normal(size=(len(question.images), *question.images.shape[2:])).astype(np.float32)


def plain_network(axes: int = 2, side: int = 24) -> nn.Module:
    """Convolutions, ReLUs, and a head that knows places."""
    conv = {2: nn.Conv2d, 3: nn.Conv3d}[axes]
    pool = {2: nn.MaxPool2d, 3: nn.MaxPool3d}[axes]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers = [conv(1, 32, 3, padding=1), nn.ReLU(), conv(32, 32, 3, padding=1), nn.ReLU()]
        head = [pool(4), nn.Flatten(), nn.Linear(32 * (side // 4) ** axes, 3)]
        return nn.Sequential(*layers, conv(32, 32, 3, padding=1), nn.ReLU(), *head)


def shapes(axes: int = 2, side: int = 24) -> NDArray[np.float32]:
    image = np.random.default_rng(0).normal(0, 0.02, (1, 1, *(side,) * axes))
    image[(0, 0, *(slice(side // 5, side // 2),) * axes)] += 1.0
    image[(0, 0, *(slice(side * 5 // 8, side * 5 // 6),) * axes)] += 0.5
    return image.astype(np.float32)


def panel_of(
    explainers: list[Explainer],
    predictor: TorchPredictor | BlackBox,
    images: NDArray[np.float32],
    text: str = "class:1",
    **more: object,
) -> HeatmapContext:
    target = predictor.target(text)
    target = target.freeze(predictor, images) if hasattr(target, "freeze") else target
    question = Question(predictor=predictor, images=images, target=target, grid=Grid(images.shape[2:]))
    maps = np.stack([explainer(question, np.random.default_rng(0))[0] for explainer in explainers])
    return HeatmapContext(question, maps, explainers=explainers, **more)  # type: ignore[arg-type]


def predictor_of(module: nn.Module, count: int = 3) -> TorchPredictor:
    found = TorchPredictor(module, classes=[str(k) for k in range(count)])
    found.module.eval()
    return found


def test_sensitivity_of_a_linear_model_is_that_of_its_worth() -> None:
    panel = linear_panel()
    assert MaxSensitivity()(HeatmapContext(panel.question, panel.maps[:1], explainers=[Gradient()]))[0] > 0
    weights = panel.question.predictor.module.weights.detach().numpy()  # type: ignore[attr-defined]
    slopes = weights.sum(axis=0)[None]
    assert MaxSensitivity()(HeatmapContext(panel.question, slopes, explainers=[Gradient()]))[0] < 1e-6
    image = panel.question.images
    worth = (weights * image[0]).sum(axis=0)[None]
    own = HeatmapContext(panel.question, worth, explainers=[InputXGradient(baseline=0.0)])
    found = MaxSensitivity(samples=5, radius=0.1)(own)[0]
    moved = [np.linalg.norm(weights * (noisy - image[0])) for noisy in own.noisy(5, 0.1)]
    assert found == pytest.approx(max(moved) / np.linalg.norm(worth), rel=1e-4)
    assert np.abs(own.noisy(5, 0.1) - image).max() <= 0.1 * np.ptp(image) * 1.001


def test_all_noise_goes_through_in_one_call_and_is_the_same_for_all_maps() -> None:
    seen: list[NDArray[np.float32]] = []

    @dataclass(frozen=True)
    class Noted:
        def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
            seen.append(question.images)
            return question.images[:, 0]

    panel = linear_panel()
    MaxSensitivity(samples=4)(HeatmapContext(panel.question, panel.maps, explainers=[Noted()] * 3))
    assert [len(images) for images in seen] == [4, 4, 4]
    np.testing.assert_array_equal(seen[0], seen[2])


def test_only_methods_with_chance_are_asked_again_with_other_seeds() -> None:
    images, predictor = shapes(), predictor_of(plain_network())
    panel = panel_of([Gradient(), Dice(), Smooth(samples=16, noise=0.01)], predictor, images)
    before = panel.passes
    sure, dice, smooth = Stability(seeds=3)(panel)
    assert sure == 1
    assert abs(dice) < 0.15
    assert 0.7 < smooth <= 1
    assert panel.passes - before == 3 * 16


def test_agreement_is_the_mean_rank_correlation_with_the_others() -> None:
    ramp = np.arange(144.0).reshape(12, 12)
    panel = linear_panel()
    maps = np.stack([ramp, ramp**3, -ramp, np.zeros_like(ramp)])
    found = Agreement()(HeatmapContext(panel.question, maps))
    np.testing.assert_allclose(found[:3], [0, 0, -1], atol=1e-9)
    assert np.isnan(found[3])
    np.testing.assert_allclose(Agreement(cells=4)(HeatmapContext(panel.question, maps[:2])), 1)
    with pytest.raises(InputError, match="at least 2"):
        Agreement()(HeatmapContext(panel.question, maps[[0, 3]]))


@pytest.mark.parametrize("axes", [2, 3])
def test_gradients_notice_random_weights_guided_backprop_hardly_and_edges_never(axes: int) -> None:
    side = 24 if axes == 2 else 12
    predictor = predictor_of(plain_network(axes, side))
    panel = panel_of([Gradient(), GuidedBackprop(), Edges()], predictor, shapes(axes, side))
    gradient, guided, edges = MPRT(draws=4)(panel)
    assert edges == pytest.approx(1)
    assert gradient < 0.1
    assert guided > max(0.2, 3 * gradient)
    one, two, three = MPRTIndependent()(panel)
    assert three == pytest.approx(1) and one < two - 0.3 < three
    assert MPRT(similarity="ssim")(panel)[2] == pytest.approx(1)
    assert EfficientMPRT()(panel)[2] == pytest.approx(0)


def test_a_map_of_one_place_becomes_one_of_all_places_and_its_histogram_less_orderly() -> None:
    linear = linear_panel()
    weights = linear.question.predictor.module.weights.detach().numpy()  # type: ignore[attr-defined]
    panel = HeatmapContext(linear.question, weights.sum(axis=0)[None], explainers=[Gradient()])
    before, after = (
        -sum(share * np.log(share) for share in counts[counts > 0] / 144)
        for counts in (np.histogram(values, bins=20)[0] for values in (panel.maps[0], random_map(panel, 0)))
    )
    found = EfficientMPRT(bins=20, draws=1)(panel)[0]
    assert found == pytest.approx((after - before) / before)
    assert found > 1


def test_the_curve_falls_layer_by_layer_in_the_order_of_the_run() -> None:
    class Backwards(nn.Module):
        """Declares its layers in another order than it runs them, and one that it reads and never runs."""

        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(8, 3)
            self.unused = nn.ModuleDict({"scale": nn.Linear(1, 1, bias=False)})
            self.first = nn.Conv2d(1, 8, 3, padding=1)
            self.norm = nn.BatchNorm2d(8)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(self.first(x)).relu()
            return self.last(x.mean((2, 3)) * self.unused["scale"].weight)

    predictor = predictor_of(Backwards())
    panel = panel_of([Gradient(), Edges()], predictor, shapes())
    names = ["first", "norm", "last", "Backwards"]
    assert list(layers_of(copied(predictor), panel.image[None])) == names
    assert [name for name, _ in randomisation_curve(panel, 0)] == names[::-1]
    assert [name for name, _ in randomisation_curve(panel, 0, "from-input")] == names
    assert [value for _, value in randomisation_curve(panel, 1, "alone")] == pytest.approx([1] * 4)
    for draw in (0, 1):
        ends = [
            randomisation_curve(panel, 0, order, draw=draw)[-1][1] for order in ("from-output", "from-input")
        ]
        assert ends[0] == ends[1] == alike(panel.maps[0], random_map(panel, 0, draw), "spearman")
        assert randomisation_curve(panel, 0, draw=draw, last=1)[0][1] == ends[0]
    with pytest.raises(InputError, match="from-output"):
        randomisation_curve(panel, 0, "from-outptu")


def test_one_layer_alone_leaves_the_others_as_they_were_learned() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.LazyLinear(2))
    network(torch.zeros(1, 1, 24, 24))
    panel = panel_of([Gradient()], predictor_of(network, 2), shapes(), "value:1")
    curve = dict(randomisation_curve(panel, 0, "alone"))
    assert set(curve) == {"0", "2"}
    both = randomisation_curve(panel, 0)
    assert both[0] == ("2", curve["2"])
    assert both[1][1] != curve["0"]  # in the cascade the last layer is random as well


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.PReLU(), nn.Linear(4, 2)),
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 2)),
        lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
    ],
)
def test_everything_learned_is_redrawn_running_statistics_too_and_the_same_again(
    make: Callable[[], nn.Module],
) -> None:
    one = make()
    with torch.no_grad():
        for tensor in [*one.parameters(), *one.buffers()]:
            if tensor.is_floating_point():
                tensor.add_(torch.rand_like(tensor) + 0.1)
    two = copied(TorchPredictor(one)).module
    before = {name: value.clone() for name, value in one.state_dict().items()}
    state = torch.random.get_rng_state()
    redraw(list(one.modules()), 3)
    redraw(list(two.modules()), 3)
    assert torch.equal(state, torch.random.get_rng_state())
    for name, value in one.state_dict().items():
        if value.is_floating_point():
            assert not torch.equal(value, before[name]), name
        assert torch.equal(value, two.state_dict()[name]), name


def test_the_predictor_given_is_bit_for_bit_what_it_was() -> None:
    predictor = TorchPredictor(small_network(), classes=["a", "b"])
    predictor.module.train()
    images = shapes()
    with predictor.frozen():
        panel = panel_of([Gradient()], predictor, images)
    before = {name: value.clone() for name, value in predictor.module.state_dict().items()}
    with predictor.frozen():
        for metric in (MPRT(), MPRTIndependent(), EfficientMPRT(), RandomLogit()):
            assert np.isfinite(metric(panel)).all()
    assert predictor.module.training
    assert all(torch.equal(before[name], value) for name, value in predictor.module.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in predictor.module.parameters())
    assert not any(m._forward_hooks for m in predictor.module.modules())


def test_models_whose_weights_cannot_be_reached_are_refused_with_the_reason() -> None:
    images = shapes()
    black = BlackBox(lambda x: np.stack([x.mean((1, 2, 3)), -x.mean((1, 2, 3))], axis=1), classes=["a", "b"])
    with pytest.raises(UnsupportedError, match="black box has none"):
        MPRT()(panel_of([Edges()], black, images))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.trace(small_network().eval(), torch.from_numpy(images))
    with pytest.raises(UnsupportedError, match="TorchScript"):
        MPRT()(panel_of([Edges()], TorchPredictor(script, classes=["a", "b"]), images))


def test_another_class_gives_another_map_or_the_method_does_not_listen() -> None:
    images = shapes()
    panel = panel_of([Gradient(), Edges()], predictor_of(plain_network()), images, "value:1")
    listens, deaf = RandomLogit()(panel)
    assert deaf == pytest.approx(1)
    assert listens < 0.95
    two = panel_of([Gradient()], TorchPredictor(small_network(), classes=["a", "b"]), images)
    assert RandomLogit()(two)[0] == pytest.approx(-1)  # log-odds of two exclusive classes are opposite
    one = TorchPredictor(small_network(outputs=1), classes=["a"], output="sigmoid")
    with pytest.raises(InputError, match="another output"):
        RandomLogit()(panel_of([Gradient()], one, images, "class:0"))
    free = HeatmapContext(linear_panel().question, np.ones((1, 12, 12)), explainers=[Gradient()])
    object.__setattr__(free.question, "target", lambda outputs: outputs.sum(dim=1))
    with pytest.raises(UnsupportedError, match="names no output"):
        RandomLogit()(free)


def test_other_classes_are_compared_inside_the_region_alone() -> None:
    panel = panel_of([Gradient()], predictor_of(plain_network()), shapes(), "value:1")
    region = np.zeros(panel.size, dtype=bool)
    region[4:12, 4:12] = True
    question = dataclasses.replace(panel.question, region=region)
    part = HeatmapContext(question, panel.maps, explainers=panel.explainers)
    asked = [dataclasses.replace(question.target, index=k) for k in (0, 2)]
    others = [panel.again(0, target=target)[0] for target in asked]
    expected = np.mean([spearman(panel.maps[0][region], other[region]) for other in others])
    assert RandomLogit()(part)[0] == pytest.approx(expected, abs=1e-6)
    assert RandomLogit()(panel)[0] != pytest.approx(expected, abs=1e-2)


def test_a_network_of_permuted_labels_comes_with_the_panel() -> None:
    images, predictor = shapes(), predictor_of(plain_network())
    with pytest.raises(InputError, match="shuffled"):
        DataRandomisation()(panel_of([Gradient()], predictor, images))
    same = panel_of([Gradient(), Edges()], predictor, images, shuffled=predictor)
    np.testing.assert_allclose(DataRandomisation()(same), 1)
    other = copied(predictor)
    redraw(list(other.module.modules()), 0)
    gradient, edges = DataRandomisation()(panel_of([Gradient(), Edges()], predictor, images, shuffled=other))
    assert edges == pytest.approx(1) and gradient < 0.5


@pytest.mark.parametrize("axes", [2, 3])
def test_a_segmenters_place_stays_while_weights_and_classes_change(axes: int) -> None:
    image = two_spots(axes)
    panel = panel_of([Gradient(), Edges()], segmenter(axes), image.values[None], "region:1")
    assert RandomLogit()(panel)[0] == pytest.approx(-1)
    gradient, edges = MPRT()(panel)
    assert edges == pytest.approx(1)
    assert gradient == pytest.approx(1)  # one weight: random or not, it is the place that the map shows
    assert EfficientMPRT()(panel)[0] == pytest.approx(0)


def test_likeness_is_of_the_voxels_that_were_asked_about() -> None:
    first, second = np.zeros((8, 8)), np.zeros((8, 8))
    first[:2, :2], second[:2, :2] = [[1, 2], [3, 4]], [[4, 3], [2, 1]]
    region = np.zeros((8, 8), dtype=bool)
    region[:2, :2] = True
    assert spearman(first, second) > 0.9
    assert spearman(first, second, region) == pytest.approx(-1)
    assert spearman(first, np.zeros((8, 8))) == 0
    with pytest.raises(InputError, match="at least 3 voxels"):
        alike(np.eye(2), np.eye(2), "ssim")
    with pytest.raises(InputError, match="spearman or ssim"):
        MPRT(similarity="pearson")


@dataclass(frozen=True, slots=True, kw_only=True)
class Itself:
    """The image is its own map, so that the map changes by exactly the noise."""

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        return question.images[:, 0]


def test_the_noise_is_as_large_as_it_says_a_share_of_the_images_range() -> None:
    panel = linear_panel()
    panel.explainers = (Itself(),) * 3
    panel.maps[:] = panel.question.images[0, 0]
    reach = 0.02 * float(np.ptp(panel.question.images))
    noise = np.abs(panel.noisy(64, 0.02) - panel.question.images)
    assert 0.98 * reach < noise.max() < 1.001 * reach
    # Uniform noise has a root mean square of reach / sqrt(3) in every voxel.
    expected = reach / np.sqrt(3) * np.sqrt(144) / np.linalg.norm(panel.question.images)
    np.testing.assert_allclose(MaxSensitivity(samples=16, radius=0.02)(panel), expected, rtol=0.15)
