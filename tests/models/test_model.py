"""Predictors from every kind of model, their targets, and what is refused."""

from __future__ import annotations

import functools
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from conftest import grey_preprocessing, small_network
from contrafact.core import InputError, UnsupportedError
from contrafact.models import (
    BlackBox,
    Preprocessing,
    TorchPredictor,
    load_predictor,
    log_odds,
    parse_target,
    probabilities,
    resize,
)

trusting = functools.partial(load_predictor, trust=True, trust_code=True)
X = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (open, ("/tmp/contrafact-was-here", "w"))


def described(folder: Path, **changes: object) -> Path:
    save_file(small_network().state_dict(), folder / "w.safetensors")
    about = {
        "factory": "conftest:small_network",
        "weights": "w.safetensors",
        "classes": ["a", "b"],
        **changes,
    }
    (folder / "m.json").write_text(json.dumps(about))
    return folder / "m.json"


def test_a_description_a_state_dict_torchscript_export_and_onnx_say_the_same(tmp_path: Path) -> None:
    module = small_network().eval()
    wanted = module(X).detach()
    torch.save(module.state_dict(), tmp_path / "w.pt")
    torch.jit.save(torch.jit.trace(module, X), tmp_path / "m.ts")
    shape = ({0: torch.export.Dim("n", min=1, max=64)},)
    torch.export.save(torch.export.export(module, (X,), dynamic_shapes=shape), tmp_path / "m.pt2")
    made = {
        "json": trusting(described(tmp_path)),
        "state": trusting(described(tmp_path, weights="w.pt")),
        "script": trusting(tmp_path / "m.ts", classes=["a", "b"]),
        "export": load_predictor(tmp_path / "m.pt2", classes=["a", "b"]),
        "module": load_predictor(module, classes=["a", "b"]),
        "function": load_predictor(lambda x: module(torch.from_numpy(x)).detach().numpy(), classes=["a", "b"]),
    }
    for name, predictor in made.items():
        with getattr(predictor, "frozen", lambda: torch.no_grad())():
            torch.testing.assert_close(predictor(X), wanted, atol=1e-5, rtol=1e-5, msg=name)


def test_onnx_is_a_black_box_that_says_the_same(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    import warnings

    module = small_network().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(module, (X[:1],), tmp_path / "m.onnx", dynamo=False)
    predictor = load_predictor(tmp_path / "m.onnx", classes=["a", "b"])
    assert isinstance(predictor, BlackBox)
    torch.testing.assert_close(predictor(X), module(X).detach(), atol=1e-5, rtol=1e-5)
    about = {"model": "m.onnx", "classes": ["a", "b"], "preprocessing": {"window": [0, 2]}}
    (tmp_path / "d.json").write_text(json.dumps(about))
    described_onnx = load_predictor(tmp_path / "d.json")
    torch.testing.assert_close(described_onnx(2 * X), predictor(X))
    assert described_onnx.classes == ("a", "b")
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(InputError, match="not a readable ONNX model"):
        load_predictor(tmp_path / "bad.onnx")


def test_a_scikit_learn_estimator_is_a_predictor() -> None:
    from sklearn.linear_model import LinearRegression, LogisticRegression

    flat = X.reshape(3, -1).numpy()
    model = LogisticRegression().fit(flat, [0, 1, 1])
    predictor = load_predictor(model)
    np.testing.assert_allclose(predictor(X).numpy(), model.predict_proba(flat), rtol=1e-5)
    assert predictor.classes == ("0", "1")
    regression = load_predictor(LinearRegression().fit(flat, [0.0, 1.0, 2.0]))
    assert regression(X).shape == (3, 1)


@pytest.mark.parametrize("name", ["m.pt", "m.ts"])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, name: str) -> None:
    marker = Path("/tmp/contrafact-was-here")
    marker.unlink(missing_ok=True)
    torch.save(Evil(), tmp_path / name)
    with pytest.raises(InputError, match="pickled code and was not opened"):
        load_predictor(tmp_path / name)
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError):
        trusting(described(tmp_path, weights="raw.pt"))
    torch.save(Evil(), tmp_path / "w.pt")
    with pytest.raises(InputError, match="pickled code"):
        trusting(described(tmp_path, weights="w.pt"))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classs": []}, "did you mean 'classes'"),
        ({"weights": "none.safetensors"}, "does not exist"),
        ({"factory": "conftest:no_such"}, "factory must be"),
        ({"arguments": {"outputs": 5}}, "do not fit"),
        ({"factory": "os:system", "arguments": {"command": "touch /tmp/contrafact-was-here"}}, "neither a"),
        ({"model": "m.json"}, "must be a model file"),
        ({"preprocessing": {"sizes": [3]}}, "did you mean 'size'"),
    ],
)
def test_a_bad_description_is_refused_in_one_line(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        trusting(described(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_missing_foreign_and_broken_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_predictor(tmp_path / "none.onnx")
    (tmp_path / "m.h5").write_text("x")
    with pytest.raises(InputError, match="tf2onnx"):
        load_predictor(tmp_path / "m.h5")
    (tmp_path / "m.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        load_predictor(tmp_path / "m.json")
    (tmp_path / "w.safetensors").write_bytes(b"123")
    path = tmp_path / "d.json"
    path.write_text(json.dumps({"factory": "conftest:small_network", "weights": "w.safetensors"}))
    with pytest.raises(InputError, match="not a readable safetensors"):
        trusting(path)


def test_log_odds_are_those_of_the_probabilities() -> None:
    logits = torch.tensor([[1.0, -2.0, 0.5], [30.0, 0.0, -30.0]])
    p = logits.softmax(dim=1)
    expected = torch.log(p[:1] / (1 - p[:1]))
    torch.testing.assert_close(log_odds(logits, "logits")[:1], expected)
    assert log_odds(logits, "logits")[1, 0] == pytest.approx(30.0, abs=1e-3)  # exact where p rounds to 1
    two = torch.tensor([[0.3, 1.7]])
    assert float(log_odds(two, "logits")[0, 1]) == pytest.approx(1.4)
    torch.testing.assert_close(log_odds(torch.sigmoid(two), "probabilities"), two)


def test_ordinal_outputs_become_grades() -> None:
    outputs = torch.tensor([[4.0, 2.0, -3.0]])
    shares = probabilities(outputs, "ordinal")
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(1))
    assert shares.argmax() == 2
    grade = parse_target("grade", kind="ordinal", classes=list("0123"))
    assert float(grade(outputs)) == pytest.approx(float(torch.sigmoid(outputs).sum()))
    crossed = probabilities(torch.tensor([[-1.0, 1.0]]), "ordinal")
    assert (crossed >= 0).all()


def test_margins_of_grades_are_of_their_probabilities() -> None:
    outputs = torch.tensor([[2.0, -1.0], [0.5, 0.25]])
    shares = probabilities(outputs, "ordinal")
    margin = parse_target("margin:2,0", kind="ordinal", classes=list("012"))
    torch.testing.assert_close(margin(outputs), (shares[:, 2] / shares[:, 0]).log())
    probable = parse_target("margin:1,0", kind="probabilities", classes=list("012"))
    torch.testing.assert_close(probable(shares), (shares[:, 1] / shares[:, 0]).log())


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("clas:1", "logits", "did you mean 'class'"),
        ("class:7", "logits", "class index must be 0 to 1; got 7"),
        ("class:-1", "logits", "class index must be 0 to 1"),
        ("class:pneumonai", "logits", "did you mean 'pneumonia'"),
        ("class", "logits", "takes 1 class"),
        ("margin:1", "logits", "takes 2 class"),
        ("grade", "logits", "needs an ordinal model"),
        ("class:0", "regression", "use value:0"),
    ],
)
def test_a_bad_target_is_refused(text: str, kind: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_target(text, kind=kind, classes=["normal", "pneumonia"])


@pytest.mark.parametrize("text", ["class:1", "class:pneumonia", "margin:1,0", "probability:1", "value:1"])
def test_every_target_has_a_finite_gradient(text: str) -> None:
    predictor = TorchPredictor(small_network(), classes=["normal", "pneumonia"])
    x = X.clone().requires_grad_()
    (slope,) = torch.autograd.grad(predictor.target(text)(predictor(x)).sum(), x)
    assert torch.isfinite(slope).all()
    assert slope.abs().sum() > 0


def test_preprocessing_refuses_invented_pixels_and_foreign_channels() -> None:
    wanted = grey_preprocessing()
    with pytest.raises(InputError, match="at least 16 x 16; got 8 x 20"):
        wanted(torch.zeros(1, 1, 8, 20))
    with pytest.raises(InputError, match=r"takes 1 channel\(s\); got 3"):
        wanted(torch.zeros(1, 3, 16, 16))
    with pytest.raises(InputError, match="2D images; got 3D"):
        wanted(torch.zeros(1, 1, 16, 16, 16))
    torch.testing.assert_close(wanted(torch.full((1, 1, 32, 32), 255.0)), torch.ones(1, 1, 16, 16))
    three = Preprocessing(channels=3)(torch.ones(1, 1, 4, 4))
    assert three.shape == (1, 3, 4, 4)


def test_resizing_to_the_same_size_changes_nothing_and_a_constant_stays_constant() -> None:
    x = torch.rand(1, 2, 9, 7)
    assert resize(x, (9, 7)) is x
    torch.testing.assert_close(resize(torch.full((1, 1, 9, 9), 3.0), (4, 4)), torch.full((1, 1, 4, 4), 3.0))
    assert resize(torch.rand(1, 1, 8, 8, 8), (4, 4, 4)).shape == (1, 1, 4, 4, 4)


def test_preprocessing_goes_from_window_to_mean_and_deviation_channel_by_channel() -> None:
    values = torch.tensor([-100.0, 0.0, 100.0, 300.0, 500.0]).reshape(1, 1, 1, 5)
    windowed = Preprocessing(window=(-100, 300))(values)
    torch.testing.assert_close(windowed.flatten(), torch.tensor([0.0, 0.25, 0.5, 1.0, 1.5]))
    both = Preprocessing(window=(-100, 300), channels=2, mean=(0.25, 0.5), std=(0.5, 0.25))(values)
    torch.testing.assert_close(both[0, 0, 0], torch.tensor([-0.5, 0.0, 0.5, 1.5, 2.5]))
    torch.testing.assert_close(both[0, 1, 0], torch.tensor([-2.0, -1.0, 0.0, 2.0, 4.0]))


@pytest.mark.parametrize("axes", [2, 3])
def test_shrinking_takes_every_pixel_into_account(axes: int) -> None:
    for at in range(16):
        line = torch.zeros(1, 1, *(16,) * axes)
        line[:, :, at] = 1.0
        small = resize(line, (4,) * axes)
        assert float(small.max()) > 0.05, at
        assert float(small.mean()) == pytest.approx(1 / 16, rel=0.4), at  # less at the rim


def test_a_volume_that_shrinks_along_one_axis_and_grows_along_another_loses_no_voxel() -> None:
    for at in range(16):
        volume = torch.zeros(1, 1, 4, 16, 16)
        volume[..., at] = 1.0
        small = resize(volume, (8, 4, 4))
        assert small.shape == (1, 1, 8, 4, 4)
        torch.testing.assert_close(small.mean(), torch.tensor(1 / 16))


def test_frozen_restores_everything_bit_for_bit_also_after_an_error() -> None:
    module = small_network().train()
    module[0].eval()
    module[3].weight.requires_grad_(False)
    predictor = TorchPredictor(module)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    frozen = predictor.frozen()
    frozen.__enter__()
    assert not module.training
    assert not any(p.requires_grad for p in module.parameters())
    module[1].running_mean.add_(1)
    assert not frozen.__exit__(RuntimeError, RuntimeError("boom"), None)
    assert module.training
    assert not module[0].training
    assert not module[3].weight.requires_grad
    assert module[0].weight.requires_grad
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())


def test_the_digest_follows_the_weights() -> None:
    a, b = small_network(), small_network()
    assert TorchPredictor(a).digest == TorchPredictor(b).digest
    with torch.no_grad():
        b[0].weight[0] += 1e-3
    assert TorchPredictor(a).digest != TorchPredictor(b).digest


def test_a_model_of_other_outputs_or_nan_is_refused() -> None:
    with pytest.raises(InputError, match="expected 3 output"):
        TorchPredictor(small_network(), classes=["a", "b", "c"])(X)
    broken = small_network()
    nn.init.constant_(broken[7].bias, float("nan"))
    with pytest.raises(InputError, match="NaN or infinite outputs"):
        TorchPredictor(broken)(X)
    with pytest.raises(InputError, match="did you mean 'logits'"):
        TorchPredictor(small_network(), output="logit")


def test_torchscript_cannot_be_watched_and_says_so(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(small_network().eval(), X), tmp_path / "m.ts")
    predictor = trusting(tmp_path / "m.ts", classes=["a", "b"])
    with pytest.raises(UnsupportedError, match="cannot be watched"), predictor.watch("0"):
        pass


def test_half_precision_models_are_asked_in_their_own_type() -> None:
    predictor = TorchPredictor(small_network().to(torch.bfloat16).eval(), classes=["a", "b"])
    assert predictor(X).dtype == torch.float32


def test_an_exported_program_with_a_pickle_inside_is_refused(tmp_path: Path) -> None:
    import io
    import zipfile

    torch.export.save(torch.export.export(small_network().eval(), (X,)), tmp_path / "m.pt2")
    evil = io.BytesIO()
    torch.save(Evil(), evil)
    with zipfile.ZipFile(tmp_path / "m.pt2") as good, zipfile.ZipFile(tmp_path / "bad.pt2", "w") as bad:
        for name in good.namelist():
            bad.writestr(name, evil.getvalue() if name.endswith(".pt") else good.read(name))
    marker = Path("/tmp/contrafact-was-here")
    marker.unlink(missing_ok=True)
    with pytest.raises(InputError, match="pickled code"):
        load_predictor(tmp_path / "bad.pt2")
    assert not marker.exists()


class InPlace(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.div_(255).flatten(1)[:, :2]


def test_a_model_that_works_in_place_leaves_the_image_alone() -> None:
    images = np.full((2, 1, 4, 4), 100.0, np.float32)
    as_they_are = Preprocessing(window=(0, 1))  # this network scales them itself
    TorchPredictor(InPlace(), preprocessing=as_they_are)(images)
    BlackBox(lambda x: np.divide(x, 255, out=x).reshape(len(x), -1)[:, :2])(images)
    assert (images == 100).all()


@pytest.mark.parametrize(
    ("answer", "output", "words"),
    [
        (np.zeros((3, 1)), "logits", "2 outputs or more; got 1"),
        (np.zeros(5), "logits", "one row of outputs per image"),
        (np.zeros(()), "logits", "one row of outputs per image"),
        (np.zeros((3, 2, 4)), "logits", "one row of outputs per image"),
    ],
)
def test_outputs_of_another_shape_are_refused(answer: np.ndarray, output: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        BlackBox(lambda _: answer, output=output)(X)


def test_black_boxes_are_known_by_what_they_hold() -> None:
    from sklearn.linear_model import LogisticRegression

    flat = X.reshape(3, -1).numpy()
    one, same, other = (LogisticRegression(C=c).fit(flat, [0, 1, 1]) for c in (1.0, 1.0, 9.0))
    assert load_predictor(one).digest == load_predictor(same).digest != load_predictor(other).digest


def test_a_value_of_an_ordinal_model_is_one_of_its_cumulative_logits() -> None:
    with pytest.raises(InputError, match="class index must be 0 to 1; got 2"):
        parse_target("value:2", kind="ordinal", classes=["0", "1", "2"])
    assert parse_target("value:1", kind="ordinal", classes=["0", "1", "2"]).index == 1


class Viewing(nn.Module):
    """Flattens by `view`, which counts on the order of values in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.line = nn.Conv2d(1, 3, 3, padding=1), nn.Linear(3 * 6 * 6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.line(self.conv(x).view(len(x), -1)))


def test_a_network_that_counts_on_the_order_in_memory_runs() -> None:
    network = Viewing().eval()
    images = torch.rand(4, 1, 6, 6)
    predictor = TorchPredictor(network, classes=["a", "b"])
    torch.testing.assert_close(predictor(images), network(images))
    torch.testing.assert_close(predictor(images), network(images))  # also after the first time


def test_memory_order_changes_no_answer_and_not_the_images() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8 * 36, 2)
    ).eval()
    images = torch.rand(4, 3, 8, 8)
    before = images.clone()
    torch.testing.assert_close(TorchPredictor(network, classes=["a", "b"])(images), network(images))
    assert torch.equal(images, before)


@pytest.mark.parametrize("form", ["class:{}", "probability:{}", "value:{}", "region:{}", "margin:{},0"])
@pytest.mark.parametrize("names", [["1", "2", "3"], ["2", "0", "1"], ["no", "1", "yes"], ["00", "01", "10"]])
def test_the_text_of_a_target_reads_back_as_the_same_target(form: str, names: list[str]) -> None:
    for index in range(3):
        text = form.format(index)
        found = parse_target(text, kind="logits", classes=names)
        assert (str(found), getattr(found, "index", None)) == (text, index)


def test_digits_are_a_name_where_no_class_has_that_number() -> None:
    assert str(parse_target("class:10", kind="logits", classes=["00", "01", "10"])) == "class:2"
    assert str(parse_target("class:01", kind="logits", classes=["01", "00"])) == "class:0"


DESCRIBED: list[tuple[dict[str, Any], str]] = [
    ({"classes": 5}, "'classes' in 'net.json' must be a list of names; got 5"),
    ({"classes": [1, 2]}, "'classes' in 'net.json' must be a list of names"),
    ({"output": 3}, "'output' in 'net.json' must be text"),
    ({"preprocessing": {"window": "x"}}, "window must be .low, high. with low < high; got 'x'"),
    ({"preprocessing": {"window": "ab"}}, "window must be"),
    ({"preprocessing": {"window": [0, 1, 2]}}, "window must be"),
    ({"preprocessing": {"size": "big"}}, "size must be whole numbers"),
    ({"preprocessing": {"size": 8}}, "size must be whole numbers"),
    ({"preprocessing": {"channels": "3"}}, "channels must be a whole number"),
    ({"preprocessing": {"mean": 0.5, "std": 0.5}}, "mean must be a number for each channel"),
    ({"preprocessing": {"mean": [None], "std": [1]}}, "mean must be a number for each channel"),
    ({"preprocessing": [1]}, "'preprocessing' in 'net.json' must be a table"),
    ({"head": [1]}, "'head' in 'net.json' must be"),
    ({"tokens": 3}, "'tokens' in 'net.json' must be a list"),
]


@pytest.mark.parametrize(("says", "line"), DESCRIBED)
def test_a_malformed_description_is_refused_in_one_line(
    says: dict[str, Any], line: str, tmp_path: Path
) -> None:
    save_file(small_network().state_dict(), tmp_path / "net.safetensors")
    about = {"factory": "conftest:small_network", "weights": "net.safetensors", **says}
    (tmp_path / "net.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match=line) as caught:
        trusting(tmp_path / "net.json")
    assert "\n" not in str(caught.value)


def test_json_without_end_is_no_description(tmp_path: Path) -> None:
    (tmp_path / "net.json").write_text('{"classes": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(InputError, match="nested too deeply"):
        load_predictor(tmp_path / "net.json")


def test_no_probability_of_a_grade_is_minus_nothing() -> None:
    """The answer beside a knee read "KL 3 -0 %"."""
    from contrafact.models.targets import grade_probabilities

    found = grade_probabilities(torch.tensor([[2.0, -1.0, -1.0, 0.0]]))
    assert not torch.signbit(found).any()
    assert found.sum() == pytest.approx(1)
