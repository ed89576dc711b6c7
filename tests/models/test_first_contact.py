"""What a newcomer meets: what `init` writes, inputs beside the image, one output with two names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from safetensors.torch import save_file
from torch import nn

import contrafact as cf
from conftest import small_network
from contrafact.cli import main
from contrafact.core import FORMATS, ContrafactWarning, InputError
from contrafact.models import BlackBox, Preprocessing, TorchPredictor, load_predictor
from contrafact.models.draft import drafted
from contrafact.models.opened import Opened

X = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
TWO = ("without", "with")
HEADS = """import torch
from torch import nn

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.l = nn.Conv2d(1, 4, 3), nn.Linear(4, 3)
    def forward(self, x):
        f = self.c(x).mean((2, 3))
        return f, self.l(f)

class Named(Pair):
    def forward(self, x):
        aux, out = super().forward(x)
        return {"aux": aux, "out": out}
"""


@pytest.mark.parametrize(("factory", "head", "outputs"), [("Pair", 0, 4), ("Named", "out", 3)])
def test_what_init_writes_of_several_outputs_opens(
    tmp_path: Path, factory: str, head: Any, outputs: int
) -> None:
    (tmp_path / "nets.py").write_text(HEADS)
    parts = {"c.weight": torch.rand(4, 1, 3, 3), "c.bias": torch.rand(4), "l.weight": torch.rand(3, 4)}
    save_file({**parts, "l.bias": torch.rand(3)}, tmp_path / "w.safetensors")
    out = tmp_path / "m.json"
    words = ["init", str(tmp_path / "w.safetensors"), "--factory", f"{tmp_path / 'nets.py'}:{factory}"]
    assert main([*words, "--trust-code", "--out", str(out)]) == 0
    assert json.loads(out.read_text())["head"] == head
    assert load_predictor(out, trust_code=True, output="regression")(X).shape == (3, outputs)


def test_arguments_without_a_factory_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "w.onnx").write_bytes(b"")
    assert main(["init", str(tmp_path / "w.onnx"), "--arguments", "{}", "--out", str(tmp_path / "m.json")]) == 2
    assert "expected --factory with --arguments" in capsys.readouterr().err


class Pair(nn.Module):
    """Two outputs, a value for each image and three."""

    def forward(self, x: torch.Tensor) -> Any:
        mean = x.mean(dim=(1, 2, 3))
        return {"age": mean, "finding": torch.stack([mean] * 3, dim=1)}


def test_a_head_of_one_value_is_one_of_several() -> None:
    with pytest.raises(InputError, match=r"several outputs: age \(1\), finding \(3\)"):
        TorchPredictor(Pair(), output="regression")(X)
    assert TorchPredictor(Pair(), output="regression", head="age")(X).shape == (3, 1)


def test_the_head_that_the_error_names_is_taken() -> None:
    class Both(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return tuple(Pair()(x)[name].reshape(len(x), -1) for name in ("finding", "age"))

    with pytest.raises(InputError, match="head='0'"):
        TorchPredictor(Both(), output="regression")(X)
    assert TorchPredictor(Both(), output="regression", head="0")(X).shape == (3, 3)


class WithAge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.age = nn.Linear(1, 2)

    def forward(self, images: torch.Tensor, age: torch.Tensor) -> torch.Tensor:
        return self.age(age) + images.mean(dim=(1, 2, 3))[:, None]


def test_inputs_that_do_not_fit_are_one_line() -> None:
    assert load_predictor(WithAge(), inputs={"age": 60.0})(X).shape == (3, 2)
    with pytest.raises(InputError, match="does not take whole numbers as age: write them as 60.0"):
        load_predictor(WithAge(), inputs={"age": 60})(X)
    with pytest.raises(InputError, match="inputs beside the image are age; got 'weight'"):
        load_predictor(WithAge(), inputs={"weight": 60.0})
    with pytest.raises(InputError, match="takes age beside the image: give values"):
        load_predictor(WithAge())


def test_an_onnx_graph_that_cannot_be_run_is_one_line(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    node, info, kind = onnx.helper.make_node, onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    nodes = [node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=0), node("Add", ["m", "age"], ["y"])]
    inputs = [info("x", kind, ["n", 2, 8, 8]), info("age", kind, ["n", 2])]
    graph = onnx.helper.make_graph(nodes, "g", inputs, [info("y", kind, ["n", 2])])
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(made, tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"the graph could not be run: [^\n]*age[^\n]*$"):
        load_predictor(tmp_path / "m.onnx", inputs={"age": [1, 2, 3]})(torch.rand(1, 2, 8, 8))


def test_a_logit_of_one_is_no_probability() -> None:
    predictor = BlackBox(lambda x: x[:, :, 0, 0], classes=TWO)
    assert predictor(torch.ones(2, 1, 16, 16)).tolist() == [[0, 1], [0, 1]]


def test_a_sigmoid_with_two_names_is_seen_with_gradients_too() -> None:
    predictor = TorchPredictor(nn.Sequential(small_network(1), nn.Sigmoid()).eval(), classes=TWO)
    with pytest.raises(InputError, match="got those of a sigmoid"):
        predictor(X.clone().requires_grad_())


def test_another_number_of_channels_is_one_line_with_the_next_step() -> None:
    with pytest.raises(InputError, match=r"takes 1 channel\(s\); got 3: convert the image"):
        TorchPredictor(small_network(2).eval())(X.expand(-1, 3, -1, -1))
    colours = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with pytest.raises(InputError, match=r"takes 3 channel\(s\); got 1: repeat .*\"channels\": 3"):
        TorchPredictor(colours)(X)
    assert TorchPredictor(colours, preprocessing=Preprocessing(channels=3))(X).shape == (3, 2)


class Noted:
    """A format that notes something of its models."""

    schemes = ("noted",)
    reads = "noted:NAME"
    takes_inputs = takes_factory = False

    def recognises(self, source: Any) -> bool:
        return bool(source.scheme == "noted" or source.suffix == ".noted")

    def open(self, source: Any) -> Opened:
        return Opened(network=small_network(2), notes=("the centre is not cut out",))


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    FORMATS.names()
    monkeypatch.setattr(FORMATS, "_classes", {**FORMATS._classes, "noted": Noted})
    values = np.random.default_rng(0).integers(0, 2, (16, 16)).astype(np.uint8)
    Picture.fromarray(values).save(tmp_path / "image.png")
    (tmp_path / "m.noted").touch()
    return tmp_path


def test_explain_tells_what_a_format_notes_once(noted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["explain", str(noted / "image.png"), "--model", "noted:a", "--methods", "gradient,gradient-shap"]
    assert main([*words, "--no-checks", "--out", str(noted / "run")]) == 0
    assert capsys.readouterr().err.count("contrafact: the centre is not cut out") == 1


@pytest.mark.slow
def test_a_study_tells_what_a_format_notes_once(noted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (noted / "study.toml").write_text(
        'images = ["image.png"]\nout = "run"\n[model]\npath = "m.noted"\n[methods.gradient]\n'
    )
    assert main(["study", str(noted / "study.toml"), "--engine", "local"]) == 0
    assert capsys.readouterr().err.count("contrafact: the centre is not cut out") == 1


def test_a_factory_where_the_model_says_its_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.onnx").write_bytes(b"")
    with pytest.raises(
        InputError, match=r"--factory with a file of weights alone; got '.*w.onnx', a .onnx file"
    ):
        load_predictor(tmp_path / "w.onnx", factory="nets.py:make")
    with pytest.raises(InputError, match="expected factory with arguments"):
        load_predictor(tmp_path / "w.onnx", arguments={"outputs": 2})
    with pytest.raises(InputError, match="factory with a file of weights alone; got an object"):
        load_predictor(small_network(2), factory="nets.py:make")


def test_two_classes_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="a name of its own for each class; got 'ill' 2 times"):
        load_predictor(small_network(3), classes=["ill", "well", "ill"])


def test_a_black_box_that_seems_to_return_a_probability_as_a_logit_is_told_of_once() -> None:
    boxes = torch.rand(40, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    of_sigmoid = BlackBox(lambda x: 1 / (1 + np.exp(-x.mean(axis=(1, 2, 3)))), classes=TWO)
    with pytest.warns(
        ContrafactWarning, match=r"from 0 to 1 in 32 passes, .* as logits: .*--output prob"
    ) as told:
        of_sigmoid(boxes)
        of_sigmoid(boxes)
    assert len(told) == 1
    BlackBox(lambda x: 9 * x.mean(axis=(1, 2, 3)) - 4.5, classes=TWO)(boxes)  # warnings are errors
    BlackBox(lambda x: x.mean(axis=(1, 2, 3)), classes=TWO, output="probabilities")(boxes)


MANY = torch.rand(40, 1, 16, 16, generator=torch.Generator().manual_seed(1))


def findings(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The logits of three findings: of the mean, of one pixel, and of another."""
    return np.stack([4 * x.mean(axis=(1, 2, 3)) - 2, 6 * x[:, 0, 3, 3] - 3, 5 * x[:, 0, 9, 9] - 1], axis=1)


def sigmoids(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return 1 / (1 + np.exp(-findings(x)))


@pytest.mark.parametrize("output", ["logits", "sigmoid"])
def test_a_black_box_that_seems_to_return_probabilities_of_several_findings_is_told_of_once(
    output: str,
) -> None:
    silent = BlackBox(sigmoids, output=output)
    silent(MANY[:5])  # 15 values may lie there by chance
    with pytest.warns(ContrafactWarning, match=r"do not sum to 1.*of the 3 .*--output multilabel") as told:
        silent(MANY)
        silent(MANY)
    assert len(told) == 1
    for known in (BlackBox(findings, output=output), BlackBox(sigmoids, output="multilabel")):
        known(MANY)  # warnings are errors


def test_probabilities_of_several_findings_are_taken_as_their_logits() -> None:
    classes = ["mass", "pneumonia", "effusion"]
    expected = BlackBox(findings, classes=classes, output="sigmoid")
    predictor = load_predictor(sigmoids, classes=classes, output="multilabel")
    torch.testing.assert_close(predictor(X), expected(X))
    torch.testing.assert_close(
        predictor.probabilities(predictor(X)), torch.as_tensor(sigmoids(X.numpy())).float()
    )
    torch.testing.assert_close(
        predictor.target("margin:mass,effusion")(predictor(X)), expected(X)[:, 0] - expected(X)[:, 2]
    )
    heat = cf.explain("occlusion", predictor, X[0].numpy(), target="pneumonia", box=4, stride=4)
    other = cf.explain("occlusion", expected, X[0].numpy(), target="pneumonia", box=4, stride=4)
    np.testing.assert_allclose(heat.values, other.values, atol=1e-5)
    assert predictor.digest != BlackBox(sigmoids, classes=classes, output="sigmoid").digest


def test_a_network_that_ends_in_a_sigmoid_of_several_findings_keeps_its_gradient() -> None:
    network = nn.Sequential(small_network(3), nn.Sigmoid()).eval()
    with pytest.raises(InputError, match="of a sigmoid .*--output multilabel"):
        TorchPredictor(network)(X)
    predictor = TorchPredictor(network, output="multilabel")
    torch.testing.assert_close(predictor(X).detach(), network[0](X).detach())
    ours, own = (
        cf.explain("gradient", TorchPredictor(one, output=kind), X[0].numpy(), target="class:2").values
        for one, kind in ((network, "multilabel"), (network[0], "sigmoid"))
    )
    np.testing.assert_allclose(ours, own, atol=1e-6)


def test_probabilities_that_do_not_fit_their_declaration_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"rows that sum to .* for several findings write .*--output multilabel"
    ):
        BlackBox(sigmoids, output="probabilities")(X)
    with pytest.raises(InputError, match="expected probabilities, as declared; got values from"):
        BlackBox(findings, output="multilabel")(X)
    one = BlackBox(lambda x: sigmoids(x)[:, :1], classes=TWO, output="multilabel")
    torch.testing.assert_close(one(X), torch.as_tensor(findings(X.numpy()))[:, :1] * torch.tensor([-1.0, 1.0]))


def test_init_guesses_probabilities_of_several_findings() -> None:
    drawn = X[0].numpy()
    assert drafted(Opened(network=sigmoids), {}, drawn)["output"] == "multilabel"
    shares = lambda x: sigmoids(x) / sigmoids(x).sum(axis=1, keepdims=True)  # noqa: E731
    assert drafted(Opened(network=shares), {}, drawn)["output"] == "probabilities"
    assert drafted(Opened(network=findings), {}, drawn)["output"] == "logits"


def test_inputs_of_a_function_are_kept_constant() -> None:
    def grown(images: np.ndarray[Any, Any], age: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return findings(images) * age

    predictor = load_predictor(grown, inputs={"age": 60.0}, output="sigmoid")
    torch.testing.assert_close(predictor(X), torch.as_tensor(60 * findings(X.numpy())).float())
    functions = (grown, lambda x, age: x[:, :, 0, 0] * age)
    digests = {load_predictor(one, inputs={"age": age}).digest for one in functions for age in (1, 2)}
    assert len(digests) == 4
    with pytest.raises(InputError, match="inputs beside the image are age; got 'sex'"):
        load_predictor(grown, inputs={"sex": 1})
    with pytest.raises(InputError, match="inputs beside the image are none; got 'age'"):
        load_predictor(findings, inputs={"age": 1})
    with pytest.raises(InputError, match="an estimator takes the image alone; got inputs=age"):
        load_predictor(Estimator(), inputs={"age": 1})


class Estimator:
    def predict(self, images: Any, /) -> Any:
        return images[:, 0]
