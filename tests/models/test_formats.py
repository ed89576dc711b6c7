"""Formats that need no other library: a small model of each, from its file to a map on the command line."""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from safetensors.torch import save_file

import contrafact as cf
from conftest import small_network
from contrafact.cli import main
from contrafact.core import FORMATS, ContrafactWarning, InputError, registry
from contrafact.models import Preprocessing, load_predictor
from contrafact.models.opened import Opened
from contrafact.models.source import ModelSource

X = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
NETS = """
import torch
from parts import body

def make(outputs=2):
    return body(outputs)
"""
PARTS = """
from torch import nn

def body(outputs):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, outputs),
    )
"""


def picture(folder: Path, *, size: int = 16, mode: str = "L") -> Path:
    values = np.random.default_rng(0).integers(0, 255, (size, size, 3)).astype(np.uint8)
    Picture.fromarray(values).convert(mode).save(folder / "image.png")
    return folder / "image.png"


def explained(folder: Path, model: str, *options: str, **image: Any) -> list[dict[str, Any]]:
    """Run `check` and `explain` as a user types them; return the rows of the run."""
    path = str(picture(folder, **image))
    assert main(["check", model, "--image", path, *options]) == 0
    out = folder / "run"
    words = ["explain", path, "--model", model, "--methods", "occlusion", "--no-checks", "--out", str(out)]
    assert main([*words, *options]) == 0
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "parts.py").write_text(PARTS)
    return tmp_path / "nets.py"


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_weights_fill_the_network_of_a_file_that_is_trusted(tmp_path: Path, nets: Path, suffix: str) -> None:
    network, path = small_network().eval(), tmp_path / f"w{suffix}"
    state = network.state_dict()
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    factory = f"{nets}:make"
    with pytest.raises(InputError, match="--trust-code"):
        load_predictor(path, factory=factory)
    predictor = load_predictor(path, factory=factory, trust_code=True)
    torch.testing.assert_close(predictor(X), network(X).detach())
    with pytest.raises(InputError, match="do not fit"):
        load_predictor(path, factory=factory, arguments={"outputs": 3}, trust_code=True)


@pytest.mark.slow
def test_check_and_explain_take_weights_with_a_factory(tmp_path: Path, nets: Path) -> None:
    save_file(small_network().state_dict(), tmp_path / "w.safetensors")
    words = ("--factory", f"{nets}:make", "--arguments", '{"outputs": 2}', "--trust-code")
    words = (*words, "--classes", "well,ill", "--preprocessing", '{"window": [0, 255]}')
    (row,) = explained(tmp_path, str(tmp_path / "w.safetensors"), *words)
    assert any("well" in answer or "ill" in answer for answer in row["answers"])


def test_a_factory_of_the_allow_list_needs_no_trust(tmp_path: Path) -> None:
    from monai.networks.nets import DenseNet

    about = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "init_features": 4, "growth_rate": 2}
    about["block_config"] = [1, 1]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = DenseNet(**about).eval()
    torch.save({"state_dict": network.state_dict()}, tmp_path / "w.ckpt")
    predictor = load_predictor(tmp_path / "w.ckpt", factory="monai.networks.nets:DenseNet", arguments=about)
    x = torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(predictor(x), network(x).detach())


def test_weights_without_a_network_say_what_to_give(tmp_path: Path) -> None:
    torch.save(small_network().state_dict(), tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"holds \d+ tensors \(0.weight.*--factory"):
        load_predictor(tmp_path / "w.pth")


@pytest.mark.parametrize("wrong", ["nets.py:none", "missing.py:make", "nets.py:body"])
def test_a_factory_that_fails_is_one_line(tmp_path: Path, nets: Path, wrong: str) -> None:
    nets.write_text(NETS + "\nbody = dict\n")
    torch.save(small_network().state_dict(), tmp_path / "w.pth")
    with pytest.raises(InputError) as caught:
        load_predictor(tmp_path / "w.pth", factory=str(tmp_path / wrong), trust_code=True)
    assert "\n" not in str(caught.value) and wrong.split(":")[0] in str(caught.value)


def lightning(path: Path, **more: Any) -> Path:
    """A checkpoint as Lightning writes it: a prefix, a loss's weight, settings and numbers of its own kinds."""
    from lightning_fabric.utilities.data import AttributeDict

    state = {f"net.{name}": tensor for name, tensor in small_network().state_dict().items()}
    about = {
        "state_dict": {**state, "loss.weight": torch.ones(2)},
        "pytorch-lightning_version": "2.6.0",
        "hyper_parameters": AttributeDict(lr=0.1, folder=Path("data"), more=argparse.Namespace(a=1)),
        "callbacks": {"ModelCheckpoint": {"best_model_score": np.float64(0.5), "history": np.arange(3)}},
    }
    torch.save({**about, **more}, path)
    return path


def test_a_lightning_checkpoint_is_read_by_its_prefix(tmp_path: Path, nets: Path) -> None:
    path, network = lightning(tmp_path / "last.ckpt"), small_network().eval()
    with pytest.warns(ContrafactWarning, match=r"begin with 'net\.'.*removed; 1 other tensors were left out"):
        predictor = load_predictor(path, factory=f"{nets}:make", trust_code=True)
    torch.testing.assert_close(predictor(X), network(X).detach())


def test_notes_of_a_checkpoint_are_neither_looked_up_nor_run(
    tmp_path: Path, monkeypatch: Any, nets: Path
) -> None:
    path = lightning(tmp_path / "last.ckpt")

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("numpy rebuilt a value of the file")

    monkeypatch.setattr(np._core.multiarray, "scalar", refuse)
    with pytest.warns(ContrafactWarning, match="begin with"):
        load_predictor(path, factory=f"{nets}:make", trust_code=True)


def test_a_checkpoint_with_another_object_is_refused_by_its_name(tmp_path: Path, nets: Path) -> None:
    path = lightning(tmp_path / "last.ckpt", model=Picture.new("L", (2, 2)))
    with pytest.raises(InputError, match=r"holds pickled code and was not opened \(PIL"):
        load_predictor(path, factory=f"{nets}:make", trust_code=True)


def test_two_parts_that_fit_are_named(tmp_path: Path, nets: Path) -> None:
    state = small_network().state_dict()
    both = {f"{part}.{name}": tensor for part in ("student", "teacher") for name, tensor in state.items()}
    torch.save({"state_dict": both}, tmp_path / "w.ckpt")
    with pytest.raises(InputError, match=r"2 times, under 'student\.', 'teacher\.'"):
        load_predictor(tmp_path / "w.ckpt", factory=f"{nets}:make", trust_code=True)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("m.h5", "tf2onnx.convert --keras m.h5"),
        ("m.keras", "load_model.'m.keras'"),
        ("m.tflite", "--tflite m.tflite"),
        ("m.joblib", "skops.io.dump"),
        ("m.engine", "ONNX file"),
        ("saved", "--saved-model saved"),
    ],
)
def test_what_is_not_opened_names_the_command_that_exports_it(tmp_path: Path, name: str, command: str) -> None:
    if name == "saved":
        (tmp_path / "saved").mkdir()
        (tmp_path / "saved" / "saved_model.pb").write_bytes(b"x")
    else:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=command):
        load_predictor(tmp_path / name)


def test_an_unknown_model_is_told_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "m.xyz").touch()
    with pytest.raises(InputError, match=r"a folder of MONAI .*name the file of the model"):
        load_predictor(tmp_path / "empty")
    with pytest.raises(InputError, match=r"\.onnx file \(onnx\)"):
        load_predictor(tmp_path / "m.xyz")
    with pytest.raises(InputError, match="does not exist"):
        load_predictor("tomm:resnet18@weights.pth")


def test_a_format_of_another_package_is_one_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True, slots=True)
    class Mine:
        """A format of another package."""

        schemes: ClassVar[tuple[str, ...]] = ("mine",)
        reads: ClassVar[str] = "mine:NAME"

        def recognises(self, source: ModelSource) -> bool:
            return source.scheme == "mine"

        def open(self, source: ModelSource) -> Opened:
            declared = {"classes": ["a", source.name], "preprocessing": Preprocessing(channels=1)}
            return Opened(network=small_network(), declared=declared)

    FORMATS.names()
    monkeypatch.setattr(FORMATS, "_classes", dict(FORMATS._classes))
    FORMATS.register("mine")(Mine)
    assert registry.FORMATS is FORMATS
    predictor = load_predictor("mine:second")
    assert predictor.classes == ("a", "second")
    (tmp_path / "m.json").write_text(json.dumps({"model": "mine:third", "output": "sigmoid"}))
    described = load_predictor(tmp_path / "m.json")
    assert described.classes == ("a", "third") and described.output == "sigmoid"
    assert load_predictor("mine:x", classes=["b", "c"]).classes == ("b", "c")


# A server ------------------------------------------------------------------------------------------------


class Answers(BaseHTTPRequestHandler):
    """A server of the protocol: the mean of the image and its negative; one image at a time."""

    shape: ClassVar[list[int]] = [1, 16, 16, 1]
    others: ClassVar[list[dict[str, Any]]] = []  # inputs beside the images
    asked: ClassVar[list[list[int]]] = []

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def answer(self, code: int, about: Any) -> None:
        body = json.dumps(about).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path != "/v2/models/mean":
            self.answer(404, {"error": "no such model"})
            return
        about = {"name": "images", "datatype": "FP32", "shape": self.shape}
        self.answer(200, {"name": "mean", "inputs": [about, *self.others], "outputs": [{"name": "out"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        given, *others = body["inputs"]
        self.asked.append(given["shape"])
        mean = float(np.mean(given["data"])) * float(np.prod([one["data"][0] for one in others]))
        self.answer(
            200, {"outputs": [{"name": "out", "shape": [1, 2], "datatype": "FP32", "data": [mean, -mean]}]}
        )


@pytest.fixture
def address() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Answers.asked.clear()
    yield f"http://127.0.0.1:{server.server_port}/v2/models/mean"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_served_model_is_asked_as_it_declares(address: str) -> None:
    predictor = load_predictor(address, classes=["a", "b"])
    expected = X.mean(dim=(1, 2, 3))
    torch.testing.assert_close(predictor(X)[:, 0], expected)
    assert Answers.asked == [[1, 16, 16, 1]] * 2  # channels last, one at a time
    assert predictor.digest == load_predictor(address, classes=["a", "b"]).digest
    here = load_predictor(lambda x: np.stack([m := x.mean(axis=(1, 2, 3)), -m], axis=1), classes=["a", "b"])
    maps = [cf.explain("occlusion", p, X[0].numpy(), target="class:0", box=4).values for p in (predictor, here)]
    np.testing.assert_allclose(*maps, atol=1e-6)


@pytest.mark.slow
def test_check_and_explain_take_an_address(tmp_path: Path, address: str) -> None:
    (row,) = explained(tmp_path, address, "--classes", "a,b")
    assert row["answers"][0].startswith("a")


def test_what_a_server_does_not_have_is_one_line(address: str) -> None:
    with pytest.raises(InputError, match="answered 404.*no such model.*expected http://HOST/v2/models/NAME"):
        load_predictor(address + "s")
    with pytest.raises(InputError, match="could not be asked"):
        load_predictor("http://127.0.0.1:9/v2/models/mean")


def test_a_served_model_of_several_inputs_is_asked_with_constants(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answers, "others", [{"name": "age", "datatype": "FP32", "shape": [-1, 1]}])
    with pytest.raises(InputError, match=r"declares images, age: give values for the others.*--inputs"):
        load_predictor(address)
    with pytest.raises(InputError, match="are images, age; got 'sex'"):
        load_predictor(address, inputs={"sex": 1})
    predictor = load_predictor(address, inputs={"age": 60})
    torch.testing.assert_close(predictor(X)[:, 0], 60 * X.mean(dim=(1, 2, 3)))
    assert predictor.digest != load_predictor(address, inputs={"age": 61}).digest


def test_a_description_sends_no_image_away_unless_it_is_trusted(tmp_path: Path, address: str) -> None:
    (tmp_path / "m.json").write_text(json.dumps({"model": address, "classes": ["a", "b"]}))
    with pytest.raises(InputError, match="to which images would be sent"):
        load_predictor(tmp_path / "m.json")
    assert load_predictor(tmp_path / "m.json", trust=True).classes == ("a", "b")


# skops ---------------------------------------------------------------------------------------------------


def estimator(**more: Any) -> Any:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    images = rng.normal(size=(60, 64))
    return LogisticRegression(**more).fit(images, np.where(images[:, 9] > 0, "ill", "well"))


@pytest.mark.slow
def test_an_estimator_in_a_skops_file(tmp_path: Path) -> None:
    skops = pytest.importorskip("skops.io", reason="no skops: pip install 'contrafact[skops]'")
    model = estimator()
    skops.dump(model, tmp_path / "m.skops")
    predictor = load_predictor(tmp_path / "m.skops")
    x = torch.rand(3, 1, 8, 8)
    expected = torch.as_tensor(model.predict_proba(x.reshape(3, -1).numpy()), dtype=torch.float32)
    torch.testing.assert_close(predictor(x), expected)
    assert predictor.classes == ("ill", "well") and predictor.preprocessing.size == (8, 8)
    (row,) = explained(tmp_path, str(tmp_path / "m.skops"))
    assert "ill" in row["answers"][0]


def test_an_unknown_class_in_a_skops_file_is_refused(tmp_path: Path) -> None:
    skops = pytest.importorskip("skops.io", reason="no skops: pip install 'contrafact[skops]'")
    model = estimator()
    model.note = registry.Registry("thing", "none")
    skops.dump(model, tmp_path / "m.skops")
    with pytest.raises(InputError, match="contrafact.core.registry.Registry, which skops does not know"):
        load_predictor(tmp_path / "m.skops")
