"""What a model is declared to be is checked on what it gives, and the caller's network is left as it was."""

from __future__ import annotations

import copy
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from torch import nn

import contrafact as cf
from conftest import noise_image, planted_predictor, small_network
from contrafact.api.case import Plan, solve
from contrafact.api.compatibility import findings_of
from contrafact.cli import main
from contrafact.core import EXPLAINERS, ContrafactWarning, InputError
from contrafact.core.empty import emptiness
from contrafact.models import BlackBox, Preprocessing, RegionTarget, TorchPredictor, load_predictor
from contrafact.models.predictor_info import pick
from contrafact.models.predictors import on_device

X = np.random.default_rng(0).uniform(0, 1, (3, 1, 16, 16)).astype(np.float32)


def test_probabilities_under_logits_are_refused_with_the_words_to_write() -> None:
    soft = nn.Sequential(small_network(3), nn.Softmax(dim=1))
    for predictor in (TorchPredictor(soft), BlackBox(lambda x: np.full((len(x), 4), 0.25))):
        with pytest.raises(InputError, match='output="probabilities".*--output probabilities'):
            predictor(X)
    assert TorchPredictor(soft, output="probabilities")(X).sum(dim=1).numpy() == pytest.approx(1, abs=1e-5)
    maps = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Softmax(dim=1))
    with pytest.raises(InputError, match="got probabilities"):
        TorchPredictor(maps)(X)
    with pytest.raises(InputError, match="got probabilities"):
        TorchPredictor(soft.to(torch.bfloat16))(X)


@pytest.mark.parametrize(
    "rows", [[[0.3, 0.7], [0.2, 1.1]], [[0.5, 0.4], [0.4, 0.5]], [[-0.5, 1.5]], [[0.0, 0.0]]]
)
def test_logits_that_only_resemble_probabilities_are_taken(rows: Any) -> None:
    box = BlackBox(lambda _: np.array(rows, np.float32))
    assert box(X[: len(rows)]).shape == (len(rows), 2)


def test_logits_under_probabilities_are_refused() -> None:
    box = BlackBox(lambda x: np.array([[-2.0, 3.0]] * len(x)), output="probabilities")
    with pytest.raises(InputError, match=r'got values from -2 to 3: write output="logits"'):
        box(X)


class Scores(nn.Module):
    """Raw outputs between 0 and 1, by chance."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x.mean((1, 2, 3)), 0.1 + 0.5 * x.mean((1, 2, 3))], dim=1)


@pytest.mark.parametrize("output", ["sigmoid", "logits", "ordinal"])
def test_a_sigmoid_at_the_end_is_refused_where_raw_outputs_are_declared(output: str) -> None:
    twice = nn.Sequential(Scores(), nn.Sigmoid(), nn.Flatten())
    for method in ("gradient", "occlusion"):  # with gradients, and without
        with pytest.raises(InputError, match=f"declared as {output}; got those of a sigmoid"):
            cf.explain(method, TorchPredictor(twice, output=output), X[0], target="value:0")
    assert TorchPredictor(Scores(), output=output)(X).shape == (3, 2)
    assert TorchPredictor(twice, output="regression")(X).shape == (3, 2)


@pytest.mark.warns_of_range
def test_images_of_0_to_255_without_preprocessing_are_warned_of_once_with_the_line_that_mends_it() -> None:
    predictor = TorchPredictor(small_network())
    with pytest.warns(cf.InputRangeWarning, match=re.escape("preprocessing=cf.Preprocessing(window=(0, 255))")):
        predictor(255 * X)
    predictor(255 * X)  # a second warning would be an error
    for declared in (Preprocessing(window=(0, 255)), Preprocessing(mean=(100.0,), std=(50.0,))):
        TorchPredictor(small_network(), preprocessing=declared)(255 * X)
    TorchPredictor(small_network())(10 * X - 5)
    with pytest.warns(cf.InputRangeWarning, match="receives values from -[0-9.]+ to -?[0-9.]+"):
        TorchPredictor(small_network())(1010 * X - 1000)  # Hounsfield units of lung: far below 0
    BlackBox(lambda x: np.zeros((len(x), 2)))(255 * X)
    assert issubclass(cf.InputRangeWarning, ContrafactWarning) and issubclass(ContrafactWarning, UserWarning)


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.drop = small_network(), nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(self.drop(x))


def test_a_call_leaves_a_network_in_training_as_it_was_and_answers_as_in_evaluation() -> None:
    network = Noisy().train()
    network.body[3].eval()  # one part on its own
    before = copy.deepcopy(network)
    predictor = TorchPredictor(network)
    first, again = predictor(X), predictor(X)
    assert torch.equal(first, again)
    torch.testing.assert_close(first, copy.deepcopy(network).eval()(torch.as_tensor(X)).detach())
    images = torch.as_tensor(X).requires_grad_()
    predictor(images).sum().backward()
    assert images.grad is not None and bool(images.grad.any())
    assert [m.training for m in network.modules()] == [m.training for m in before.modules()]
    for name, value in before.state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name
    assert all(p.grad is None and p.requires_grad for p in network.parameters())


def test_a_predictor_on_another_device_leaves_the_network_where_it_is() -> None:
    network = small_network()
    moved = on_device(network, torch.device("meta"))
    assert {p.device.type for p in network.parameters()} == {"cpu"}
    assert {p.device.type for p in moved.parameters()} == {"meta"}
    assert TorchPredictor(network).module is network


def test_a_head_that_is_not_there_is_an_error() -> None:
    for head in (1, "logits", -1, True):
        with pytest.raises(InputError, match="this model has one output; got head"):
            TorchPredictor(small_network(), head=head)(X)
    assert torch.equal(TorchPredictor(small_network(), head=0)(X), TorchPredictor(small_network())(X))


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = small_network().eval()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z = self.body(x)
        return z, 3 * z


def test_the_head_of_an_onnx_model_is_chosen_by_number_or_name(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path, one = tmp_path / "pair.onnx", torch.as_tensor(X[:1])
    names = {"input_names": ["x"], "output_names": ["plain", "triple"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(Pair(), (one,), path, dynamo=False, **names)
        torch.onnx.export(small_network().eval(), (one,), tmp_path / "one.onnx", dynamo=False)
    plain, triple = (load_predictor(path, head=head)(X) for head in (0, 1))
    with pytest.raises(InputError, match="several outputs: plain .2., triple .2.; say which one"):
        load_predictor(path)(X)
    torch.testing.assert_close(triple, 3 * plain)
    assert torch.equal(load_predictor(path, head="triple")(X), triple)
    with pytest.raises(InputError, match="outputs are plain, triple; got head 'third'"):
        load_predictor(path, head="third")(X)
    with pytest.raises(InputError, match="outputs are plain, triple; got head '2'"):
        load_predictor(path, head=2)(X)
    with pytest.raises(InputError, match="one output; got head 1"):
        load_predictor(tmp_path / "one.onnx", head=1)(X)


def two_images() -> list[cf.Image]:
    """The network that says `yes` to bright blocks answers the first with yes, the second with no."""
    dark = noise_image(2, 1).values.copy()
    return [noise_image(2, 1), cf.Image(-dark)]


class Signed(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = x[:, :, 4:8, 4:8].mean((1, 2, 3))
        return torch.stack([-score, score], dim=1)


def signed() -> TorchPredictor:
    return TorchPredictor(Signed(), classes=["Foot", "Hand"])


def test_without_a_target_each_image_has_its_own_predicted_class() -> None:
    maps = cf.explain("gradient", signed(), two_images())
    assert [m.record.target for m in maps] == ["class:1", "class:0"]
    for found, image in zip(maps, two_images(), strict=True):
        np.testing.assert_array_equal(found.values, cf.explain("gradient", signed(), image).values)


@pytest.mark.parametrize("target", [1, np.int64(1), "Hand", "class:Hand", "class:1"])
def test_a_target_is_a_class_by_number_or_name(target: Any) -> None:
    assert cf.explain("gradient", signed(), two_images()[0], target=target).record.target == "class:1"


def test_targets_may_be_one_for_each_image() -> None:
    maps = cf.explain("gradient", signed(), two_images(), target=["Foot", 1])
    assert [m.record.target for m in maps] == ["class:0", "class:1"]
    with pytest.raises(InputError, match="one for each of 2 images; got 3"):
        cf.explain("gradient", signed(), two_images(), target=[0, 1, 1])
    with pytest.raises(InputError, match="did you mean 'Hand'"):
        cf.explain("gradient", signed(), two_images()[0], target="Hnad")
    with pytest.raises(InputError, match="class index must be 0 to 1; got 4"):
        cf.explain("gradient", signed(), two_images()[0], target=4)
    with pytest.raises(InputError, match="expected a target as text"):
        cf.explain("gradient", signed(), two_images()[0], target=True)


def test_arrays_tensors_pictures_and_paths_are_images(tmp_path: Path) -> None:
    from PIL import Image as Picture

    grey = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    Picture.fromarray(grey).save(tmp_path / "a.png")
    ways = [grey, grey[None], torch.as_tensor(grey), Picture.fromarray(grey), tmp_path / "a.png",
            str(tmp_path / "a.png"), cf.read_image(tmp_path / "a.png")]  # fmt: skip
    predictor = TorchPredictor(Signed(), classes=["a", "b"], preprocessing=Preprocessing(window=(0, 255)))
    maps = [cf.explain("input-x-gradient", predictor, way, target=1) for way in ways]
    for one in maps[1:]:
        np.testing.assert_array_equal(one.values, maps[0].values)
    assert len(cf.explain("gradient", predictor, ways, target=1)) == len(ways)
    batch = cf.explain("gradient", predictor, np.stack([grey[None]] * 3), target=1)
    assert len(batch) == 3
    volume = planted_predictor(3, 1)
    assert cf.explain("gradient", volume, noise_image(3, 1).values, target=1).values.shape == (16, 16, 16)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((16, 16, 3), "got (16, 16, 3): move the channels to the front"),
        ((16, 16, 16), "got (16, 16, 16): a volume is (C, D, H, W): write array[None]"),
        ((16,), "got (16,)"),
        ((8, 8, 16, 16), "got (8, 8, 16, 16)"),
        ((0, 1, 16, 16), "got (0, 1, 16, 16)"),
    ],
)
def test_arrays_of_doubtful_axes_are_refused_in_one_line(shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        cf.explain("gradient", signed(), np.zeros(shape, np.float32))
    assert "\n" not in str(caught.value)


def test_what_is_no_image_is_refused() -> None:
    for thing in ({"image": 1}, np.array(["a"]), None):
        with pytest.raises(InputError, match="expected an Image, a path, an array"):
            cf.explain("gradient", signed(), thing)
    with pytest.raises(InputError, match="got an empty list"):
        cf.explain("gradient", signed(), [])


def test_a_heatmap_is_an_array_that_can_be_saved_read_and_plotted(tmp_path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    image = cf.Image(noise_image(2, 1).values, grid=cf.Grid((16, 16), spacing_mm=(2, 3)))
    heat = cf.explain("gradient", signed(), image)
    assert np.asarray(heat).sum() == heat.values.sum() and np.asarray(heat, np.float64).dtype == np.float64
    again = cf.read_result(heat.save(tmp_path / "map.npz"))
    np.testing.assert_array_equal(again.values, heat.values)
    assert (again.grid, again.record) == (heat.grid, heat.record)
    ax = heat.plot(image=image)
    np.testing.assert_array_equal(ax.images[1].get_array(), heat.values)
    assert ax.images[1].get_clim() == (-np.abs(heat.values).max(), np.abs(heat.values).max())
    volume = cf.explain("gradient", planted_predictor(3, 1), noise_image(3, 1), target=1)
    shown = volume.plot().images[0].get_array()
    assert shown.shape == (16, 16) and bool(np.asarray(shown).any())
    with pytest.raises(InputError, match="slice must be from 0 to 15; got 16"):
        volume.plot(at=16)
    matplotlib.pyplot.close("all")


def test_a_file_that_is_no_result_is_refused(tmp_path: Path) -> None:
    heat = cf.explain("gradient", signed(), two_images()[0])
    with pytest.raises(InputError, match=r"saved as .npz; got 'map.png'"):
        heat.save(tmp_path / "map.png")
    np.savez(tmp_path / "other.npz", a=np.zeros(2))
    (tmp_path / "text.npz").write_text("no")
    for name in ("other.npz", "text.npz", "missing.npz"):
        with pytest.raises(InputError, match=name):
            cf.read_result(tmp_path / name)


class Pinned(nn.Module):
    """Hardly moved by its image."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = self.factor * x.flatten(1).mean(1)
        return torch.stack([-score, score], dim=1)


@pytest.mark.parametrize(
    ("factor", "kind", "words"),
    [
        (1.0, "constant", "one value everywhere"),
        (0.0, "zero", "0 everywhere"),
        (1e-9, "vanishing", "below 1e-9"),
    ],
)
def test_a_map_that_tells_nothing_says_so(factor: float, kind: str, words: str) -> None:
    method = "gradient" if kind == "constant" else "occlusion"
    more = {} if kind == "constant" else {"box": 4, "stride": 4}
    with pytest.warns(cf.EmptyMapWarning, match=words):
        heat = cf.explain(method, TorchPredictor(Pinned(factor)), noise_image(2, 1), target="class:1", **more)
    assert heat.record.notes[f"empty_{kind}"] == 1.0
    told = cf.explain("gradient", signed(), two_images()[0])  # a warning would be an error
    assert not any(name.startswith("empty") for name in told.record.notes)


@pytest.mark.parametrize(
    ("share", "value", "said"),
    [(0.5, 2.0, ""), (0.6, 2.0, "saturated"), (0.6, -2.0, "saturated"), (1.0, -2.0, "constant")],
)
def test_a_map_is_saturated_where_more_than_half_of_it_shares_the_greatest_size(
    share: float, value: float, said: str
) -> None:
    values = np.linspace(-1.0, 1.0, 100)
    values[: round(100 * share)] = value
    assert emptiness(values) == said


class Drawing(nn.Module):
    """Draws at random in every pass, also in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.body = small_network().eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) + torch.randn(len(x), 2)  # never as little apart as rounding may be


class OverBatch(nn.Module):
    """Statistics of the batch, also in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.body = small_network().eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x - x.mean((0, 2, 3), keepdim=True))


@pytest.mark.parametrize(
    ("network", "words"), [(Drawing, "the model uses random numbers"), (OverBatch, "batch statistics")]
)
def test_a_model_that_is_no_function_of_one_image_is_said_by_check_and_reliability(
    network: type[nn.Module], words: str
) -> None:
    image = noise_image(2, 1)
    predictor = TorchPredictor(network(), classes=["no", "yes"])
    assert words in findings_of(predictor, image)[0]
    plan = Plan(predictor=predictor, methods=(), target="class:1", trust=True)
    _, extra = solve("a", image, EXPLAINERS.make("gradient"), plan)
    first = extra["trust"][0]
    assert (first["name"], first["passed"]) == ("one answer", False) and words in first["sentence"]
    assert first["value"] > first["threshold"]


def test_a_function_of_one_image_gets_no_such_line() -> None:
    image, predictor = noise_image(2, 1), TorchPredictor(Noisy().train(), classes=["no", "yes"])
    assert not [line for line in findings_of(predictor, image) if "differ" in line or "batch" in line]
    plan = Plan(predictor=predictor, methods=(), target="class:1", trust=True)
    _, extra = solve("a", image, EXPLAINERS.make("gradient"), plan)
    assert "one answer" not in [row["name"] for row in extra["trust"]]


@pytest.mark.warns_of_range
def test_check_says_that_a_range_looks_wrong() -> None:
    bright = cf.Image(255 * X[0])
    found = findings_of(TorchPredictor(small_network()), bright)
    assert any("cf.Preprocessing(window=(0, 255))" in line for line in found)
    declared = TorchPredictor(small_network(), preprocessing=Preprocessing(window=(0, 255)))
    assert not any("Preprocessing" in line for line in findings_of(declared, bright))


def test_the_output_of_a_model_file_is_said_on_the_command_line(tmp_path: Path, capsys: Any) -> None:
    soft = nn.Sequential(small_network(), nn.Softmax(dim=1)).eval()
    torch.jit.trace(soft, torch.as_tensor(X[:1])).save(str(tmp_path / "soft.pt"))
    (tmp_path / "soft.json").write_text('{"model": "soft.pt", "classes": ["no", "yes"]}')
    np.save(tmp_path / "a.npy", X[0])
    words = ["explain", str(tmp_path / "a.npy"), "--methods", "occlusion", "--out", str(tmp_path / "run")]
    words += [
        "--target",
        "class:1",
        "--set",
        "occlusion.box=8",
        "--set",
        "occlusion.stride=8",
        "--json",
        "--trust",
    ]
    for name in ("soft.pt", "soft.json"):
        assert main([*words, "--model", str(tmp_path / name)]) == 2
        assert "--output probabilities" in capsys.readouterr().err
        assert main([*words, "--model", str(tmp_path / name), "--output", "probabilities"]) == 0
    described, trusted = tmp_path / "soft.json", {"trust": True}
    assert load_predictor(described, output="probabilities", **trusted).output == "probabilities"
    assert load_predictor(described, classes=["a", "b"], **trusted).classes == ("a", "b")
    assert load_predictor(described, **trusted).classes == ("no", "yes")
    np.save(tmp_path / "a.npy", 0 * X[0])
    assert main([*words, "--model", str(described), "--output", "probabilities"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert (
        "contrafact: occlusion, class:1: the map is 0 everywhere: no part of the image changes the target"
        in said
    )
    assert main([*words, "--bundle", "knee", "--output", "logits"]) == 2
    assert "got a model of a bundle" in capsys.readouterr().err


def test_a_counterfactual_can_be_saved_read_and_plotted(tmp_path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    frames = np.random.default_rng(0).uniform(0, 1, (4, 1, 8, 8)).astype(np.float32)
    strip = cf.Counterfactual(
        frames=frames,
        requested=np.arange(4.0),
        scores=np.array([-1.0, 0.0, 1.0, 2.0]),
        latent_distance=np.arange(4.0),
        origin=0,
        reconstruction_error=0.25,
        above_tolerance=False,
        outcome="reached",
        goal=None,
        reconstruction=frames[0],
        grid=cf.Grid((8, 8), spacing_mm=(2, 2)),
    )
    again = cf.read_result(strip.save(tmp_path / "strip.npz"))
    for name in ("frames", "requested", "scores", "latent_distance", "reconstruction"):
        np.testing.assert_array_equal(getattr(again, name), getattr(strip, name))
    plain = ("origin", "reconstruction_error", "above_tolerance", "outcome", "goal", "record", "grid")
    assert all(getattr(again, name) == getattr(strip, name) for name in plain)
    np.testing.assert_array_equal(np.asarray(strip), frames)
    axes = strip.plot().axes
    assert [ax.get_title() for ax in axes] == ["image, -1.00", "0.00", "1.00", "2.00"]
    np.testing.assert_array_equal(axes[2].images[0].get_array(), frames[2, 0])
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize("outputs", [(1, 2), [1, 2], {0: 1, 1: 2}])
def test_a_truth_value_is_no_head(outputs: Any) -> None:
    for head in (True, False):
        with pytest.raises(InputError, match="head must be the index or the name of an output; got"):
            pick(outputs, head)


class SecondOfThree(nn.Module):
    """The middle one of three outputs is the greatest."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * x).mean((1, 2, 3))[:, None] * torch.tensor([0.1, 3.0, 1.0])


@pytest.mark.parametrize("names", [["1", "2", "3"], ["2", "0", "1"], ["class:1", "class:2", "class:0"]])
def test_class_names_of_digits_are_names_when_bare_and_numbers_are_numbers(names: list[str]) -> None:
    predictor = cf.load_predictor(SecondOfThree(), classes=names)
    image = noise_image(2, 1)

    def asked(target: Any) -> str:
        return cf.explain("gradient", predictor, image, target=target).record.target  # type: ignore[no-any-return]

    assert [asked(t) for t in (None, 1, np.int64(2), "class:2")] == ["class:1", "class:1", "class:2", "class:2"]
    if names[0].isdigit():
        assert [asked(name) for name in names] == ["class:0", "class:1", "class:2"]


class ThreeChannels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv = nn.Conv2d(3, 3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x / 255).square().mean((2, 3))  # type: ignore[no-any-return]


def test_a_grey_picture_in_colour_keeps_the_channels_that_were_given() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (12, 12), dtype=np.uint8)
    colour = np.stack([grey] * 3, axis=-1)
    declared = Preprocessing(window=(0, 255))
    predictor = TorchPredictor(ThreeChannels(), preprocessing=declared)
    heat = cf.explain("gradient", predictor, Picture.fromarray(colour), target=0)
    there = cf.explain("gradient", predictor, np.moveaxis(colour, -1, 0), target=0)
    np.testing.assert_array_equal(heat.values, there.values)


@pytest.mark.parametrize("many", [np.array([0, 2]), torch.tensor([0, 2])])
def test_targets_in_an_array_are_a_list_of_them_and_one_number_is_one(many: Any) -> None:
    predictor = TorchPredictor(SecondOfThree())
    images = [noise_image(2, 1), noise_image(2, 2)]
    found = [heat.record.target for heat in cf.explain("gradient", predictor, images, target=many)]
    assert found == ["class:0", "class:2"]
    for one in (many[1], [many[1]]):
        heats = cf.explain("gradient", predictor, images[:1], target=one)
        assert heats[0].record.target == "class:2"
    with pytest.raises(InputError, match="expected a target"):
        cf.explain("gradient", predictor, images[:1], target=many[1] * 0.5)


def test_two_targets_of_one_text_are_asked_apart() -> None:
    predictor = TorchPredictor(nn.Conv2d(1, 2, 1))
    images = [noise_image(2, 1), noise_image(2, 1)]
    masks = np.zeros((2, *images[0].grid.shape), bool)
    masks[0, :4], masks[1, -4:] = True, True
    targets = [RegionTarget(index=1, place="mask", reference=mask) for mask in masks]
    first, second = cf.explain("gradient", predictor, images, target=targets)
    assert first.values[:4].any() and not first.values[4:].any()
    assert second.values[-4:].any() and not second.values[:-4].any()


SHOWN = """
import numpy as np, pytest
from conftest import RANGE, small_network
from contrafact.models import TorchPredictor
from contrafact.cli import _warnings_in_one_line

def ask():
    with _warnings_in_one_line():  # as the command line does: it is printed, and no error
        TorchPredictor(small_network())(np.full((1, 1, 8, 8), 200.0, np.float32))

def test_a_product_path(): ask()

@pytest.mark.filterwarnings(RANGE)
def test_a_toy_in_its_own_units(): ask()

@pytest.mark.warns_of_range
def test_that_asks_for_it(): ask()
"""


def test_a_warning_that_no_test_asked_for_fails_it_though_the_command_line_prints_it(tmp_path: Path) -> None:
    (tmp_path / "test_shown.py").write_text(SHOWN)
    root = Path(__file__).parents[2]
    words = ["-c", str(root / "pyproject.toml"), "-p", "conftest", "-p", "no:cacheprovider"]
    paths = os.pathsep.join([str(root / "tests"), str(root / "src"), os.environ.get("PYTHONPATH", "")])
    found = subprocess.run(
        [sys.executable, "-m", "pytest", *words, str(tmp_path / "test_shown.py")],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    lines = [line.split(" - ")[0] for line in found.stdout.splitlines() if line.startswith(("ERROR", "FAILED"))]
    assert [line.rsplit("::")[-1] for line in lines] == ["test_a_product_path"], found.stdout + found.stderr


def test_a_window_at_native_resolution_is_never_shrunk() -> None:
    spec = {"size": (64, 64), "least": 48, "most": 64}
    assert Preprocessing(**spec)(torch.zeros(1, 1, 48, 64)).shape == (1, 1, 64, 64)
    with pytest.raises(InputError, match=r"at most 64 pixels a side.*got 48 x 65; cut a window out"):
        Preprocessing(**spec)(torch.zeros(1, 1, 48, 65))
    with pytest.raises(InputError, match="most must be a whole number above 0"):
        Preprocessing(most=0)
    with pytest.raises(InputError, match="least must be at most `most`, 40; got 48$"):
        Preprocessing(most=40, least=48)
    assert Preprocessing(most=48, least=48).least == 48


def test_smaller_images_are_enlarged_only_where_the_model_says_from_which_size() -> None:
    images = torch.arange(48 * 48.0).view(1, 1, 48, 48)
    spec = {"size": (64, 64), "window": (0.0, 255.0)}
    with pytest.raises(InputError, match="at least 64 x 64; got 48 x 48"):
        Preprocessing(**spec)(images)
    assert Preprocessing(**spec, least=48)(images).shape == (1, 1, 64, 64)
    with pytest.raises(InputError, match="at least 48 x 48; got 47 x 48"):
        Preprocessing(**spec, least=48)(images[:, :, 1:])
    for wrong in (0, 1.5, "48"):
        with pytest.raises(InputError, match="least must be a whole number"):
            Preprocessing(**spec, least=wrong)
