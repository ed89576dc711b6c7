"""Outputs of every kind: one logit with two names, several heads, several inputs, survival, embeddings."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from torch import nn

import contrafact as cf
from conftest import small_network
from contrafact.cli import main
from contrafact.core import InputError
from contrafact.models import BlackBox, SimilarityTarget, TorchPredictor, load_predictor
from contrafact.models.targets import log_odds

X = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
TWO = ("without", "with")


# One logit with two names --------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["logits", "sigmoid"])
def test_one_logit_with_two_names_has_both_classes(output: str) -> None:
    network = small_network(1).eval()
    predictor = TorchPredictor(network, classes=TWO, output=output)
    logit = network(X)[:, 0].detach()
    outputs = predictor(X).detach()
    torch.testing.assert_close(predictor.probabilities(outputs)[:, 1], logit.sigmoid())
    torch.testing.assert_close(predictor.probabilities(outputs).sum(dim=1), torch.ones(3))
    torch.testing.assert_close(predictor.target("class:with")(outputs), logit)
    torch.testing.assert_close(predictor.target("class:without")(outputs), -logit)
    torch.testing.assert_close(predictor.target("margin:with,without")(outputs) > 0, logit > 0)
    maps = [cf.explain("gradient", predictor, X[0].numpy(), target=name).values for name in TWO]
    np.testing.assert_allclose(maps[0], -maps[1], atol=1e-7)


def test_one_probability_with_two_names() -> None:
    predictor = BlackBox(lambda x: x.mean(axis=(1, 2, 3))[:, None], classes=TWO, output="probabilities")
    torch.testing.assert_close(predictor(X)[:, 1], X.mean(dim=(1, 2, 3)))
    torch.testing.assert_close(predictor(X).sum(dim=1), torch.ones(3))


def test_one_channel_of_a_segmenter_with_two_names() -> None:
    predictor = TorchPredictor(nn.Conv2d(1, 1, 3, padding=1), classes=("background", "lesion"))
    assert predictor(X).shape == (3, 2, 16, 16)
    torch.testing.assert_close(predictor(X)[:, 0], torch.zeros(3, 16, 16))


def test_one_output_without_names_says_both_ways() -> None:
    words = r"name both classes .*'with'.*--classes without,with.*output='sigmoid'.*--output"
    with pytest.raises(InputError, match=words):
        TorchPredictor(small_network(1))(X)


# Several heads -------------------------------------------------------------------------------------------


class Heads(nn.Module):
    """Several outputs, in the container that is given."""

    def __init__(self, kind: str, names: tuple[str, ...] = ("finding", "age"), sizes: tuple[int, ...] = (3, 1)):
        super().__init__()
        self.kind, self.names = kind, names
        self.parts = nn.ModuleList(small_network(size) for size in sizes)

    def forward(self, x: torch.Tensor) -> Any:
        values = [part(x) for part in self.parts]
        return dict(zip(self.names, values, strict=True)) if self.kind == "dict" else tuple(values)


def test_several_heads_are_asked_for_by_name() -> None:
    network = Heads("dict").eval()
    with pytest.raises(InputError, match=r"several outputs: finding \(3\), age \(1\); .*--head finding"):
        TorchPredictor(network)(X)
    with pytest.raises(InputError, match=r"several outputs: 0 \(3\), 1 \(1\); say which one: head='0'"):
        TorchPredictor(Heads("tuple").eval())(X)
    age = TorchPredictor(network, head="age", output="regression", classes=["age"])
    torch.testing.assert_close(age(X).detach(), network(X)["age"].detach())
    assert TorchPredictor(network, head=0)(X).shape == (3, 3)


def test_main_outputs_and_deep_supervision_need_no_name() -> None:
    for names in (("logits", "hidden"), ("aux", "out")):
        network = Heads("dict", names).eval()
        main_one = "logits" if "logits" in names else "out"
        predictor = TorchPredictor(network, output="sigmoid")
        torch.testing.assert_close(predictor(X).detach(), network(X)[main_one].detach())
    equal = TorchPredictor(Heads("tuple", sizes=(2, 2)).eval())  # votes of one shape
    assert equal(X).shape == (3, 2)


# Several inputs ------------------------------------------------------------------------------------------


class WithAge(nn.Module):
    """Class 1 is the mean of the image times the age, and the row of an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.site = nn.Embedding(3, 1)

    def forward(self, images: torch.Tensor, age: torch.Tensor, site: torch.Tensor) -> torch.Tensor:
        score = images.mean(dim=(1, 2, 3)) * age[:, 0] + self.site(site)[:, 0, 0]
        return torch.stack([-score, score], dim=1)


@pytest.mark.filterwarnings("ignore::contrafact.core.errors.EmptyMapWarning")
def test_other_inputs_are_kept_constant() -> None:
    network = WithAge()
    predictor = load_predictor(network, inputs={"age": 60.0, "site": 2}, classes=TWO)
    expected = network(X, torch.full((3, 1), 60.0), torch.full((3, 1), 2)).detach()
    torch.testing.assert_close(predictor(X).detach(), expected)
    other = load_predictor(network, inputs={"age": 30.0, "site": 2}, classes=TWO)
    assert other.digest != predictor.digest
    heat = cf.explain("gradient", predictor, X[0].numpy(), target="with")
    np.testing.assert_allclose(heat.values, 2 * 60 / 256, rtol=1e-5)
    with pytest.raises(InputError, match="the input 'age' must be a number or a list of numbers; got 'old'"):
        load_predictor(network, inputs={"age": "old"})


def test_other_inputs_of_a_graph_are_kept_constant(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    network = WithAge().eval()
    example = (X[:1], torch.ones(1, 1), torch.zeros(1, 1, dtype=torch.int64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        names = ["images", "age", "site"]
        axes = {name: {0: "N"} for name in names}
        path = tmp_path / "m.onnx"
        torch.onnx.export(network, example, path, input_names=names, dynamic_axes=axes, dynamo=False)
    with pytest.raises(InputError, match="got 'images', 'age', 'site': give values for the others.*--inputs"):
        load_predictor(path)
    with pytest.raises(InputError, match="are 'images', 'age', 'site'; got 'sex'"):
        load_predictor(path, inputs={"age": 60, "site": 1, "sex": 1})
    predictor = load_predictor(path, inputs={"age": 60, "site": 1})
    expected = network(X, torch.full((3, 1), 60.0), torch.full((3, 1), 1)).detach()
    torch.testing.assert_close(predictor(X), expected, atol=1e-5, rtol=1e-5)
    (tmp_path / "m.json").write_text(json.dumps({"model": "m.onnx", "inputs": {"age": 60, "site": 1}}))
    described = load_predictor(tmp_path / "m.json")
    torch.testing.assert_close(described(X), predictor(X))
    assert described.digest == predictor.digest != load_predictor(path, inputs={"age": 61, "site": 1}).digest


# Survival ------------------------------------------------------------------------------------------------


def test_survival_is_a_product_of_hazards() -> None:
    hazards = torch.tensor([[0.1, 0.2, 0.5], [0.01, 0.9, 0.3]], dtype=torch.float64)
    alive = (1 - hazards).cumprod(dim=1)
    predictor = TorchPredictor(small_network(3), classes=["1 y", "2 y", "3 y"], output="survival")
    outputs = torch.logit(hazards)
    torch.testing.assert_close(predictor.probabilities(outputs), alive)
    torch.testing.assert_close(predictor.target("class:2 y")(outputs), torch.logit(alive[:, 1]))
    torch.testing.assert_close(predictor.target("risk")(outputs), -alive.sum(dim=1))
    extreme = torch.tensor([[-200.0, 200.0, 0.0]], requires_grad=True)
    odds = log_odds(extreme, "survival")
    assert torch.isfinite(odds).all() and torch.isfinite(torch.autograd.grad(odds.sum(), extreme)[0]).all()
    with pytest.raises(InputError, match="needs a survival model"):
        TorchPredictor(small_network()).target("risk")
    with pytest.raises(InputError, match="classes that exclude each other"):
        predictor.target("margin:0,1")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).integers(0, 255, (16, 16)).astype(np.uint8)
    Picture.fromarray(values).save(tmp_path / "x.png")
    return tmp_path / "x.png"


def described(folder: Path, **about: Any) -> str:
    torch.save(small_network(3).state_dict(), folder / "w.pt")
    fixed = {"factory": "conftest:small_network", "arguments": {"outputs": 3}, "weights": "w.pt"}
    (folder / "m.json").write_text(json.dumps({**fixed, "preprocessing": {"window": [0, 255]}, **about}))
    return str(folder / "m.json")


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def test_the_risk_of_a_survival_model_is_explained(tmp_path: Path, picture: Path) -> None:
    model = described(tmp_path, output="survival", classes=["1 year", "2 years", "3 years"])
    words = ["explain", str(picture), "--model", model, "--methods", "gradient", "--trust-code", "--no-checks"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    (row,) = rows_of(tmp_path / "run")
    assert row["record"]["target"] == "risk" and row["answers"][0].startswith("1 year ")
    shares = [int(text.split()[-2]) for text in row["answers"]]
    assert shares == sorted(shares, reverse=True)


# Embeddings ----------------------------------------------------------------------------------------------


def test_similarity_to_a_reference_image(tmp_path: Path) -> None:
    network = small_network(5).eval()
    predictor = TorchPredictor(network, output="regression")
    target = SimilarityTarget.to(predictor, X[0].numpy())
    outputs = network(X).detach()
    expected = torch.nn.functional.cosine_similarity(outputs, outputs[:1])
    torch.testing.assert_close(target(outputs), expected)
    assert float(target(outputs)[0]) == pytest.approx(1, abs=1e-6)
    heat = cf.explain("occlusion", predictor, X[1].numpy(), target=target, box=4)
    assert heat.values.any() and heat.record.target.startswith("similarity:")
    with pytest.raises(InputError, match=r"needs embeddings \(N, 5\)"):
        target(torch.ones(1, 4))
    with pytest.raises(InputError, match="needs embeddings"):
        SimilarityTarget.to(TorchPredictor(nn.Conv2d(1, 2, 1)), X[0].numpy())


def test_explain_takes_a_reference_image(tmp_path: Path, picture: Path) -> None:
    reference = tmp_path / "reference.png"
    Picture.fromarray(np.eye(16, dtype=np.uint8) * 255).save(reference)
    model, out = described(tmp_path, output="regression"), tmp_path / "run"
    words = ["explain", str(picture), "--model", model, "--methods", "gradient", "--trust-code", "--no-checks"]
    for _ in range(2):  # the second time nothing is computed again
        assert main([*words, "--target", f"similarity:{reference}", "--out", str(out)]) == 0
    (row,) = rows_of(out)
    assert row["record"]["target"] == f"similarity:{reference}"
    Picture.fromarray(255 - np.eye(16, dtype=np.uint8) * 255).save(reference)
    assert main([*words, "--target", f"similarity:{reference}", "--out", str(out)]) == 0
    assert len(rows_of(out)) == 2  # another picture under the same name is another question
