"""Latent integrated gradients and latent shift against closed forms, on generators whose pixels are known."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import contrafact as cf
from contrafact.core import EXPLAINERS, Heatmap, Image, InputError, UnsupportedError
from contrafact.counterfactual import (
    Bundle,
    LatentIntegratedGradients,
    LatentShift,
    LatentStatistics,
    Refinement,
)
from contrafact.counterfactual.line_integral import ImagePath, LineIntegral, boxes
from contrafact.models import BlackBox, Preprocessing, TorchPredictor
from contrafact.phantoms import draw_factors, knee_phantom
from four_pixels import Bowl, FourPixels, bundle, predictor
from four_pixels import image as four_pixels

EXACT = Refinement(steps=0)
LATENT = (0.8, -0.4, 0.5)


class Straight:
    """Latents (a, b, p): pixels a / 4, b / 4, p and p / 2. The finding is p; without it, p = 0."""

    image_shape = (1, 2, 2)
    latent_size = 3

    def decode(self, w: Tensor) -> Tensor:
        a, b, p = w.unbind(dim=1)
        return torch.stack([a / 4, b / 4, *self.finding(p)], dim=1).reshape(-1, 1, 2, 2)

    def finding(self, p: Tensor) -> tuple[Tensor, Tensor]:
        return p, p / 2

    def negative(self, w: Tensor) -> Tensor:
        return torch.cat([w[:, :2], torch.zeros_like(w[:, 2:])], dim=1)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.randn(n, 3, generator=rng) / 4


class Curved(Straight):
    """The finding goes along a quarter of a circle and more."""

    def finding(self, p: Tensor) -> tuple[Tensor, Tensor]:
        return (4 * p).sin() / 2, (1 - (4 * p).cos()) / 2


class Inverse(nn.Module):
    def __init__(self, generator: Straight) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, images: Tensor) -> Tensor:
        x = images.reshape(-1, 4)
        turned = torch.atan2(2 * x[:, 2], 1 - 2 * x[:, 3]) / 4
        p = turned if isinstance(self.generator, Curved) else x[:, 2]
        return torch.stack([4 * x[:, 0], 4 * x[:, 1], p], dim=1)


class Linear(nn.Module):
    """Log-odds of class 1: weights . pixels - 1; of larger images, of their 2 x 2 means."""

    weights = torch.tensor([0.5, 2.0, -1.0, 3.0])

    def log_odds(self, x: Tensor) -> Tensor:
        return x @ self.weights - 1

    def forward(self, images: Tensor) -> Tensor:
        z = self.log_odds(nn.functional.adaptive_avg_pool2d(images, 2).reshape(-1, 4))
        return torch.stack([-z / 2, z / 2], dim=1)


class Square(Linear):
    """x' A x, whose integral along a straight line the trapezium rule gives exactly."""

    matrix = torch.tensor([[1.0, 2, 0, 0], [0, 1, -3, 0], [0, 0, 4, 1], [2, 0, 0, 1]])

    def log_odds(self, x: Tensor) -> Tensor:
        return ((x @ self.matrix) * x).sum(dim=1)


class Bent(Linear):
    """Not decided at the negative, sure at the image, and anything but linear between."""

    def log_odds(self, x: Tensor) -> Tensor:
        return 3 * x[:, 2] + 5 * x[:, 3] - 2 + torch.sin(4 * x[:, 2]) * x[:, 3] * 2


def toy(generator: Straight, network: nn.Module) -> Bundle:
    return Bundle(
        name="toy",
        generator=generator,
        encoder=Inverse(generator),
        statistics=LatentStatistics.of(generator, torch.Generator().manual_seed(1)),
        window=(-1.0, 1.0),
        directions=(),
        predictor=TorchPredictor(network, classes=["no", "yes"]),
    )


def drawn(generator: Straight, latent: tuple[float, ...] = LATENT) -> Image:
    return Image(generator.decode(torch.tensor([latent]))[0].numpy(), window=(-1, 1))


def lig(made: Bundle, images: Any, *, model: Any = None, **parameters: Any) -> Any:
    return cf.explain(
        "latent-integrated-gradients",
        model or made.predictor,
        images,
        target="class:1",
        bundle=made,
        refinement=EXACT,
        **parameters,
    )


def score(made: Bundle, values: Any) -> float:
    with torch.no_grad():
        outputs = made.predictor(torch.as_tensor(values)[None])
    return float(made.predictor.target("class:1")(outputs))


def without(generator: Straight, latent: tuple[float, ...] = LATENT) -> np.ndarray:
    return drawn(generator, (*latent[:2], 0.0)).values


@pytest.mark.parametrize("generator", [Straight(), Curved()])
def test_of_a_linear_model_it_is_weight_times_difference_on_any_path(generator: Straight) -> None:
    made, image = toy(generator, Linear()), drawn(generator)
    heat = lig(made, image)
    assert isinstance(heat, Heatmap)
    expected = Linear.weights.reshape(2, 2).numpy() * (image.values - without(generator))[0]
    np.testing.assert_allclose(heat.values, expected, atol=1e-5)
    assert heat.record.notes["points"] == 9
    assert heat.record.notes["completeness"] < 1e-4
    assert heat.record.notes["change"] == pytest.approx(expected.sum(), abs=1e-5)


def test_when_the_generator_is_affine_it_is_integrated_gradients() -> None:
    made, image = toy(Straight(), Square()), drawn(Straight())
    heat = lig(made, image)
    end, start = (torch.from_numpy(x).reshape(4) for x in (image.values, without(Straight())))
    slopes = (Square.matrix + Square.matrix.t()) @ (end + start) / 2
    np.testing.assert_allclose(heat.values.ravel(), ((end - start) * slopes).numpy(), atol=1e-5)


def reference(made: Bundle, latent: tuple[float, ...]) -> np.ndarray:
    """The line integral, from 20,001 points."""
    w = torch.tensor([latent]).expand(20_001, -1).clone()
    w[:, 2] *= torch.linspace(0, 1, len(w))
    x = made.generator.decode(w).requires_grad_()
    z = made.predictor.target("class:1")(made.predictor(x)).sum()
    slopes = torch.autograd.grad(z, x)[0].double()
    parts = (slopes[1:] + slopes[:-1]) / 2 * x.detach().double().diff(dim=0)
    return parts.sum(dim=0)[0].numpy()


def test_on_a_curved_path_only_the_line_integral_adds_up() -> None:
    made, image = toy(Curved(), Bent()), drawn(Curved())
    heat = lig(made, image)
    change = score(made, image.values) - score(made, without(Curved()))
    assert heat.record.notes["change"] == pytest.approx(change, rel=1e-4)
    assert abs(heat.values.sum() - change) < 0.01 * change
    np.testing.assert_allclose(heat.values, reference(made, LATENT), atol=0.02)
    for form, least in (("fixed", 0.05), ("published", 0.5)):
        other = lig(made, image, form=form)
        assert other.record.notes["completeness"] > least
        assert other.record.notes["points"] == 101
    fine = lig(made, image, gap=1e-4, most=1000)
    assert fine.record.notes["points"] > heat.record.notes["points"]
    np.testing.assert_allclose(fine.values, reference(made, LATENT), atol=1e-3)


def test_fewer_points_than_it_needs_are_said() -> None:
    made, image = toy(Curved(), Bent()), drawn(Curved())
    heat = lig(made, image, gap=1e-9, most=20)
    assert heat.record.notes["points"] == 20
    assert heat.record.notes["completeness"] > 1e-9


def test_the_published_formula_is_what_it_says() -> None:
    made, image = toy(Curved(), Bent()), drawn(Curved())
    w = torch.tensor([LATENT]).repeat(101, 1)
    w[:, 2] *= torch.arange(101) / 100
    x = made.generator.decode(w).requires_grad_()
    shares = made.predictor(x).softmax(dim=1)
    chosen = shares.gather(1, shares.argmax(dim=1, keepdim=True))
    assert (shares.argmax(dim=1).diff() != 0).any()  # the class changes on the way
    slopes = torch.autograd.grad(chosen.sum(), x)[0]
    expected = (x[-1] - x[0]).detach() * slopes.mean(dim=0)
    heat = lig(made, image, form="published", anchored=False)
    ends = shares[[0, -1], 1].detach()
    np.testing.assert_allclose(heat.values, expected[0].numpy(), atol=1e-5)
    assert heat.record.notes["change"] == pytest.approx(float(ends[1] - ends[0]), abs=1e-5)


def test_anchored_it_adds_up_for_the_image_itself() -> None:
    made, generator = toy(Straight(), Bent()), Straight()
    image = Image(drawn(generator).values + np.float32([[[0, 0], [0, 0.3]]]), window=(-1, 1))
    heat = lig(made, image)  # the generator cannot draw what was added
    negative = image.values + without(generator) - drawn(generator).values
    change = score(made, image.values) - score(made, negative)
    assert heat.record.notes["change"] == pytest.approx(change, rel=1e-5)
    assert heat.values.sum() == pytest.approx(change, rel=0.01)
    loose = lig(made, image, anchored=False)
    change = score(made, drawn(generator).values) - score(made, without(generator))
    assert loose.record.notes["change"] == pytest.approx(change, rel=1e-4)
    assert loose.values.sum() == pytest.approx(change, rel=0.01)


def test_a_larger_image_gets_its_map_on_its_own_grid() -> None:
    made, rng = toy(Straight(), Linear()), np.random.default_rng(0)
    small = drawn(Straight()).values
    fine = rng.uniform(-0.1, 0.1, (1, 8, 8)).astype(np.float32)
    image = Image(np.kron(small[0], np.ones((4, 4)))[None].astype(np.float32) + fine, window=(-1, 1))
    heat = lig(made, image)
    assert heat.grid == image.grid
    assert heat.values.shape == (8, 8)
    with torch.no_grad():
        latent = made.encoder(made.to_canvas(torch.from_numpy(image.values)[None]))
        change = made.generator.decode(latent) - made.generator.decode(made.generator.negative(latent))
    wide = nn.functional.interpolate(change, (8, 8), mode="bilinear")[0, 0]
    weights = np.kron(Linear.weights.reshape(2, 2).numpy(), np.ones((4, 4))) / 16
    np.testing.assert_allclose(heat.values, weights * wide.numpy(), atol=1e-5)


def box_of(made: Bundle) -> BlackBox:
    def function(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return made.predictor.module(torch.from_numpy(x)).numpy()

    return BlackBox(function, classes=["no", "yes"])


@pytest.mark.parametrize("network", [Linear(), Square()])
def test_without_gradients_differences_of_single_voxels_find_the_same(network: nn.Module) -> None:
    made, image = toy(Curved(), network), drawn(Curved())
    heat = lig(made, image, model=box_of(made), groups=2, gap=0.001)
    np.testing.assert_allclose(heat.values, lig(made, image, gap=0.001).values, atol=0.01)


@pytest.mark.parametrize("groups", [1, 2, 9])
def test_without_gradients_boxes_of_any_size_add_up(groups: int) -> None:
    made, image = toy(Curved(), Bent()), drawn(Curved())
    heat = lig(made, image, model=box_of(made), groups=groups)
    assert heat.values.sum() == pytest.approx(heat.record.notes["change"], rel=0.011)
    assert heat.record.notes["completeness"] <= 0.01
    with pytest.raises(UnsupportedError, match="use form 'path'"):
        lig(made, image, model=box_of(made), form="fixed")


def test_differences_cost_two_passes_for_each_box_that_moves() -> None:
    passes = []

    def ask(pictures: Tensor) -> Tensor:
        passes.append(len(pictures))
        return pictures.flatten(1).sum(dim=1)

    def pictures(points: Any) -> Tensor:
        at = torch.tensor(points).reshape(-1, 1, 1, 1)
        return at * torch.tensor([1.0, 1, 1, 0]).reshape(1, 1, 2, 2)

    integral = LineIntegral(pictures, ask, groups=2)
    integral.run(gap=0.01, most=9)
    assert sum(passes) == 5 + 4 * 2 * 3
    np.testing.assert_allclose(integral.total(), [[1, 1], [1, 0]], atol=1e-6)
    np.testing.assert_array_equal(boxes((4, 4), 2)[::2, ::2], [[0, 1], [2, 3]])
    assert len(boxes((3, 5, 4), 2).unique()) == 8


def test_what_two_boxes_do_together_is_shared_between_both_ends_of_a_piece() -> None:
    """Of a product each factor gets one half, which only the mean of the way on and the way back says."""

    def ask(pictures: Tensor) -> Tensor:
        return pictures[:, 0, 0, 0] * pictures[:, 0, 1, 1]

    def pictures(points: Any) -> Tensor:
        return torch.tensor(points).reshape(-1, 1, 1, 1) * torch.eye(2)[None, None]

    integral = LineIntegral(pictures, ask, groups=2)
    integral.run(gap=0.01, most=9)
    assert len(integral.scores) == 5  # exact at once
    np.testing.assert_allclose(integral.total(), [[0.5, 0], [0, 0.5]], atol=1e-6)


def test_a_batch_equals_its_images_and_several_negatives_are_a_mean() -> None:
    made = toy(Curved(), Bent())
    images = [drawn(Curved(), (a, 0.2, p)) for a, p in ((0.1, 0.3), (-0.5, 0.5), (0.9, 0.6))]
    for settings in ({}, {"negatives": 3}):
        together = lig(made, images, **settings)
        for image, heat in zip(images, together, strict=True):
            np.testing.assert_allclose(heat.values, lig(made, image, **settings).values, atol=1e-5)
    one, three = lig(made, images[0]), lig(made, images[0], negatives=3)
    again, other = (lig(made, images[0], negatives=3, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(three.values, again.values)
    assert np.abs(three.values - other.values).max() > 1e-3
    assert np.abs(three.values - one.values).max() > 1e-3
    assert three.values.sum() == pytest.approx(three.record.notes["change"], rel=0.02)
    same = lig(made, images[0], negatives=3, spread=0.0)
    np.testing.assert_allclose(same.values, one.values, atol=1e-6)
    assert LatentIntegratedGradients(negatives=2).sampled
    assert not LatentIntegratedGradients().sampled


@pytest.mark.parametrize("by", ["mean", "product"])
def test_a_combination_is_what_it_says(by: str) -> None:
    made, image = toy(Straight(), Square()), drawn(Straight())
    ours = lig(made, image).values
    theirs = cf.explain("integrated-gradients", made.predictor, image, target="class:1").values
    both = lig(made, image, combine="integrated-gradients", by=by)
    a, b = ours / np.abs(ours).sum(), theirs / np.abs(theirs).sum()
    expected = (a + b) / 2 if by == "mean" else np.sign(a) * np.sqrt(np.abs(a * b))
    expected *= np.abs(ours).sum() / np.abs(expected).sum()
    np.testing.assert_allclose(both.values, expected, atol=1e-5)
    assert both.record.notes["path_completeness"] < 1e-3
    assert "completeness" not in both.record.notes
    with pytest.raises(InputError, match="must name a heatmap method"):
        lig(made, image, combine="latent-shift")


def test_smoothgrad_goes_on_top_and_keeps_to_the_bundles_window() -> None:
    made, image = toy(Straight(), Linear()), drawn(Straight(), (3.9, -0.4, 0.5))  # almost white
    inner = LatentIntegratedGradients(refinement=EXACT)
    asked = {"target": "class:1", "bundle": made, "inner": inner, "samples": 8}
    still = cf.explain("smooth", made.predictor, image, **asked, noise=0.0)
    np.testing.assert_allclose(still.values, lig(made, image).values, atol=1e-6)
    noisy = cf.explain("smooth", made.predictor, image, **asked, noise=0.1)
    np.testing.assert_allclose(noisy.values, still.values, atol=0.2)
    assert not noisy.record.notes


@pytest.mark.parametrize("name", ["latent-integrated-gradients", "latent-shift"])
def test_it_leaves_predictor_generator_and_random_state_alone(name: str) -> None:
    made, image = toy(Curved(), Bent()), drawn(Curved())
    module, state = made.predictor.module.train(), torch.get_rng_state()
    module.extra = nn.Parameter(torch.ones(1))
    values = image.values.copy()
    cf.explain(name, made.predictor, image, target="class:1", bundle=made)
    assert module.training
    assert module.extra.requires_grad
    assert module.extra.grad is None
    np.testing.assert_array_equal(values, image.values)
    assert torch.equal(state, torch.get_rng_state())


def test_pictures_of_a_volume_go_from_knot_to_knot_and_end_in_it() -> None:
    class Cube:
        def decode(self, w: Tensor) -> Tensor:
            return w.reshape(-1, 1, 1, 1, 1).expand(-1, 1, 2, 2, 2)

    volume = torch.linspace(-0.2, 0.2, 64).reshape(1, 4, 4, 4)
    knots = torch.tensor([[0.0], [0.4], [0.1]])
    path = ImagePath(Cube(), knots, volume, anchor=True)  # type: ignore[arg-type]
    found = path([0.0, 0.25, 0.5, 1.0])
    for picture, change in zip(found, (-0.1, 0.1, 0.3, 0.0), strict=True):
        torch.testing.assert_close(picture, volume + change)
    loose = ImagePath(Cube(), knots, volume, anchor=False)([0.5, 1.0])  # type: ignore[arg-type]
    torch.testing.assert_close(loose[0], torch.full_like(volume, 0.4))
    assert loose.shape == (2, 1, 4, 4, 4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"form": "publish"}, "did you mean 'published'"),
        ({"by": "sum"}, "by must be one of"),
        ({"most": 8}, "most at least 9"),
        ({"negatives": 0}, "at least 1"),
        ({"follow": 2.0}, "follow must be"),
    ],
)
def test_a_wrong_hyper_parameter_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        LatentIntegratedGradients(**settings)


@pytest.mark.parametrize("name", ["latent-integrated-gradients", "latent-shift"])
def test_without_a_bundle_it_says_what_it_needs(name: str) -> None:
    made = toy(Straight(), Linear())
    with pytest.raises(InputError, match=f"{name} needs a bundle"):
        cf.explain(name, made.predictor, drawn(Straight()), target="class:1")
    assert EXPLAINERS.get(name).needs_bundle


# Along a walk: the generator knows no negative.


def test_along_a_walk_the_voxel_that_the_model_reads_gets_the_change() -> None:
    model = predictor()
    heat = lig(bundle(model), four_pixels((0.8, 0.2, 0.1, 0.3)), model=model, goal=0.2)
    change = 3 * 0.8 - math.log(0.2 / 0.8)
    np.testing.assert_allclose(heat.values, [[change, 0], [0, 0]], atol=0.1)
    other = lig(bundle(model), four_pixels((-0.8, 0.2, 0.1, 0.3)), model=model)
    assert other.values[0, 0] == pytest.approx(-2.4 - math.log(9), abs=0.1)


def test_for_a_black_box_it_walks_straight_and_takes_differences() -> None:
    model = predictor()
    made = bundle(model)
    box = BlackBox(lambda x: model(x).detach().numpy(), classes=["no", "yes"], digest=model.digest)
    heat = lig(made, four_pixels((0.8, 0.2, 0.1, 0.3)), model=box, goal=0.2, groups=2)
    np.testing.assert_allclose(heat.values, [[2.4 - math.log(0.2 / 0.8), 0], [0, 0]], atol=0.1)


def test_without_a_fitted_direction_the_gradient_alone_leads_to_the_negative() -> None:
    model = predictor()
    made = dataclasses.replace(bundle(model), directions=())
    with pytest.raises(InputError, match="fitted to other models"):
        lig(made, four_pixels((0.8, 0, 0, 0)), model=model)
    heat = lig(made, four_pixels((0.8, 0, 0, 0)), model=model, follow=1.0)
    assert heat.values[0, 0] == pytest.approx(2.4 + math.log(9), abs=0.1)


def shift(made: Bundle, images: Any, *, model: Any, **parameters: Any) -> Any:
    asked = {"target": "class:1", "bundle": made, "refinement": EXACT}
    return cf.explain("latent-shift", model, images, **asked, **parameters)


@pytest.mark.parametrize("bend", [True, False])
def test_the_shift_is_the_gradient_turned_by_the_covariance(bend: bool) -> None:
    model = predictor()
    made = dataclasses.replace(bundle(model), directions=())
    strip = shift(made, four_pixels((-1.0, 0.2, 0.1, 0.0)), model=model, steps=(-1.0, 1.0, 2.0), bend=bend)
    spread = made.statistics.covariance[0]
    unit = (spread / (3 * spread[0])).numpy()  # S g / (g' S g), g = 3 in the first latent
    moved = (strip.frames - strip.image).reshape(-1, 4) / 127.5 * 8
    np.testing.assert_allclose(moved, np.outer([-1, 0, 1, 2], unit), atol=0.03 if bend else 1e-3)
    np.testing.assert_allclose(strip.scores - strip.scores[1], [-1, 0, 1, 2], atol=0.1 if bend else 1e-3)
    lengths = [abs(k) * float(made.statistics.length(torch.from_numpy(unit))) for k in (-1, 0, 1, 2)]
    np.testing.assert_allclose(strip.latent_distance, lengths, rtol=0.05)
    assert strip.outcome == "steps"


@pytest.mark.parametrize("bend", [True, False])
def test_a_shift_ends_as_a_walk_does(bend: bool) -> None:
    model = predictor()
    made = dataclasses.replace(bundle(model), directions=())
    images = [four_pixels((-1.0, 0.2, 0.1, 0.0)), four_pixels((1.0, 0.0, 0.0, 0.3))]
    strips = shift(made, images, model=model, bend=bend)
    for strip, goal in zip(strips, (math.log(9), -math.log(9)), strict=True):
        assert strip.outcome == "reached"
        assert strip.scores[-1] == pytest.approx(goal, abs=0.05)
        assert strip.record.method == "latent-shift"
    for strip, image in zip(strips, images, strict=True):
        alone = shift(made, image, model=model, bend=bend)
        np.testing.assert_allclose(alone.frames, strip.frames, atol=1e-2)
    far = shift(made, images[0], model=model, bend=bend, goal=0.9999, budget=0.5)
    assert far.outcome == "budget"
    assert far.latent_distance[-1] == pytest.approx(0.5, rel=0.02)
    rows = shift(made, images[0], model=model, bend=bend, levels=(0.2, 0.8))
    np.testing.assert_allclose(rows.scores[1:], [-math.log(4), math.log(4)], atol=0.1)


def test_a_bent_shift_reaches_what_a_straight_one_cannot() -> None:
    model = TorchPredictor(Bowl(), preprocessing=Preprocessing(window=(0, 1)), classes=["no", "yes"])
    made = dataclasses.replace(bundle(model), directions=())
    start = four_pixels((0.2, 0.0, 2.0, 0.0))
    bent, line = (shift(made, start, model=model, goal=0.02, bend=bend) for bend in (True, False))
    assert bent.outcome == "reached"
    assert line.outcome != "reached" or line.latent_distance[-1] > bent.latent_distance[-1]


def test_a_shift_needs_gradients_and_says_so() -> None:
    model = predictor()
    box = BlackBox(lambda x: model(x).detach().numpy(), classes=["no", "yes"], digest=model.digest)
    with pytest.raises(UnsupportedError, match="use latent-walk"):
        shift(bundle(model), four_pixels((0, 0, 0, 0)), model=box)
    with pytest.raises(InputError, match="frames must be"):
        LatentShift(frames=1)
    assert FourPixels.latent_size == 4


# The bundles that ship.


@pytest.fixture(scope="module")
def patients() -> list[Any]:
    rng = np.random.default_rng(5)
    return [knee_phantom(draw_factors(rng), rng) for _ in range(6)]


@pytest.mark.slow
def test_on_phantoms_it_shows_what_the_model_learned_and_the_shortcut_of_the_one_that_cheats(
    patients: list[Any],
) -> None:
    made = cf.load_bundle("phantom")
    for name, key, least in (("honest", "joint_space", 0.7), ("cheat", "marker", 0.7)):
        heats = cf.explain(
            "lig",
            made.predictors[name],
            [p.image for p in patients],
            target="class:1",
            bundle=made,
            refinement=Refinement(steps=20),
        )
        shares = [
            np.abs(h.values)[p.masks[key]].sum() / np.abs(h.values).sum()
            for h, p in zip(heats, patients, strict=True)
        ]
        assert np.mean(shares) > least, name
        for heat in heats:
            notes = heat.record.notes
            assert notes["completeness"] <= 0.01
            assert heat.values.sum() == pytest.approx(notes["change"], rel=0.02)


def test_in_a_shipped_bundle_the_end_of_the_path_is_the_image(patients: list[Any]) -> None:
    made, image = cf.load_bundle("phantom"), patients[0].image
    before = {k: v.clone() for k, v in made.generator.state_dict().items()}
    quick = {"target": "class:1", "bundle": made, "refinement": Refinement(steps=5)}
    heat = cf.explain("lig", made.predictor, image, **quick)
    strip = cf.explain("latent-walk", made.predictor, image, **quick, frames=5)
    # Same way, same ends: what the map adds up to is what the walk measured.
    assert -heat.record.notes["change"] == pytest.approx(strip.scores[-1] - strip.scores[0], abs=0.02)
    assert all(torch.equal(before[k], v) for k, v in made.generator.state_dict().items())
    other = cf.explain("lig", made.predictor, image, **quick)
    np.testing.assert_array_equal(heat.values, other.values)


@pytest.mark.slow
def test_a_knee_larger_than_its_bundle_draws(patients: list[Any]) -> None:
    made = cf.load_bundle("knee")
    with torch.no_grad():
        w = made.generator.sample(1, torch.Generator().manual_seed(3), psi=0.7)
        values = made.to_units(made.generator.decode(w).clamp(-1, 1))
        values = nn.functional.interpolate(values, scale_factor=1.5, mode="bilinear")[0].numpy()
    image = Image(values, window=made.window)
    quick = {"target": "class:1", "bundle": made, "refinement": Refinement(steps=5), "goal": 0.5}
    heat = cf.explain("lig", made.predictors["classifier_64"], image, **quick, most=33)
    assert heat.grid == image.grid
    assert np.abs(heat.values).max() > 0
    assert heat.record.notes["completeness"] <= 0.01 or heat.record.notes["points"] == 33
    strip = cf.explain("latent-shift", made.predictors["classifier_64"], image, **quick, frames=3)
    assert strip.outcome in ("reached", "already")
