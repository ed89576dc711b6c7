"""ONNX graphs are asked as they declare their input; state dicts are read as trainers save them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import contrafact as cf
from conftest import small_network
from contrafact.core import ContrafactError, ContrafactWarning, InputError, UnsupportedError
from contrafact.models import Preprocessing, load_predictor

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
KINDS = {"float": onnx.TensorProto.FLOAT, "half": onnx.TensorProto.FLOAT16, "double": onnx.TensorProto.DOUBLE}
KINDS["uint8"] = onnx.TensorProto.UINT8


def graph(path: Path, shape: list[Any], *, kind: str = "float", second: bool = False) -> Path:
    """A graph of two outputs: the mean of channel 0 and that of the last channel, of axes as in `shape`."""
    last = len(shape) == 4 and isinstance(shape[-1], int) and shape[-1] <= 4
    spatial = [1, 2] if last else list(range(2, len(shape)))
    helper, nodes = onnx.helper, []
    nodes.append(helper.make_node("Cast", ["images"], ["floats"], to=onnx.TensorProto.FLOAT))
    nodes.append(helper.make_node("ReduceMean", ["floats"], ["means"], axes=spatial, keepdims=0))
    nodes.append(helper.make_node("Gather", ["means", "ends"], ["out"], axis=1))
    inputs = [helper.make_tensor_value_info("images", KINDS[kind], shape)]
    inputs += [helper.make_tensor_value_info("age", KINDS["float"], [1])] if second else []
    if second:
        nodes[-1] = helper.make_node("Gather", ["means", "ends"], ["ungrown"], axis=1)
        nodes.append(helper.make_node("Add", ["ungrown", "age"], ["out"]))
    outputs = [helper.make_tensor_value_info("out", KINDS["float"], [None, 2])]
    ends = helper.make_tensor("ends", onnx.TensorProto.INT64, [2], [0, -1])
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, [ends]), opset_imports=[helper.make_opsetid("", 13)]
    )
    model.ir_version = 8
    path.write_bytes(model.SerializeToString())
    return path


IMAGES = np.random.default_rng(0).integers(0, 200, (5, 3, 6, 8)).astype(np.float32)
MEANS = IMAGES.mean(axis=(2, 3))[:, [0, 2]]


@pytest.mark.parametrize(
    "shape",
    [
        ["N", 3, 6, 8],
        ["N", 6, 8, 3],
        [2, 3, 6, 8],
        [2, 6, 8, 3],
        ["N", 3, "H", "W"],
        ["N", "H", "W", 3],
        [1, 3, 6, 8],
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_is_asked_as_it_declares(tmp_path: Path, shape: list[Any], kind: str) -> None:
    predictor = load_predictor(graph(tmp_path / "m.onnx", shape, kind=kind), classes=["a", "b"])
    np.testing.assert_allclose(predictor(IMAGES).numpy(), MEANS, rtol=1e-5)
    assert predictor.preprocessing.channels == 3


def test_a_volume_is_asked_too(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 6)).astype(np.float32)
    predictor = load_predictor(graph(tmp_path / "m.onnx", ["N", 3, 4, 5, 6]), classes=["a", "b"])
    np.testing.assert_allclose(predictor(volume).numpy(), volume.mean(axis=(2, 3, 4))[:, [0, 2]], rtol=1e-4)


def test_a_fixed_size_is_its_preprocessing(tmp_path: Path) -> None:
    predictor = load_predictor(graph(tmp_path / "m.onnx", [1, 6, 8, 3]), classes=["a", "b"])
    assert predictor.preprocessing.size == (6, 8)
    assert predictor(np.full((2, 1, 12, 16), 7, np.float32)).numpy() == pytest.approx(7)
    with pytest.raises(InputError, match="at least 6"):
        predictor(np.zeros((1, 3, 4, 4), np.float32))
    given = Preprocessing(size=(5, 5))
    other = load_predictor(graph(tmp_path / "n.onnx", [1, 6, 8, 3]), classes=["a", "b"], preprocessing=given)
    with pytest.raises(InputError, match=r"is \(1, 6, 8, 3\); got images \(any, 5, 5, 3\)"):
        other(np.zeros((1, 3, 6, 8), np.float32))


def test_values_that_the_type_cannot_hold_are_refused(tmp_path: Path) -> None:
    predictor = load_predictor(graph(tmp_path / "m.onnx", ["N", 3, 6, 8], kind="uint8"), classes=["a", "b"])
    np.testing.assert_allclose(predictor(IMAGES + 0.4).numpy(), MEANS, rtol=1e-5)
    with pytest.raises(InputError, match="is uint8, from 0 to 255; got values from -3"):
        predictor(IMAGES - IMAGES.min() - 3)
    half = load_predictor(graph(tmp_path / "h.onnx", ["N", 3, 6, 8], kind="half"), classes=["a", "b"])
    with pytest.raises(InputError, match="is float16"):
        half(IMAGES * 1e6)


def test_graphs_of_several_inputs_or_of_no_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one input, the images, in 'm.onnx'; got 'images', 'age'"):
        load_predictor(graph(tmp_path / "m.onnx", ["N", 3, 6, 8], second=True))
    with pytest.raises(InputError, match=r"with 4 or 5 axes.*\(any, 3, 6\)"):
        load_predictor(graph(tmp_path / "m.onnx", ["N", 3, 6]))


# State dicts --------------------------------------------------------------------------------------------


def description(folder: Path, state: object) -> Path:
    torch.save(state, folder / "w.pt")
    about = {"factory": "conftest:small_network", "weights": "w.pt", "classes": ["a", "b"]}
    (folder / "m.json").write_text(json.dumps(about))
    return folder / "m.json"


X = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "model._orig_mod.", "module.model."])
def test_prefixes_of_wrappers_are_removed_and_said(tmp_path: Path, prefix: str) -> None:
    network = small_network().eval()
    state = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    with pytest.warns(ContrafactWarning, match=f"begin with '{prefix}'.*removed"):
        predictor = load_predictor(description(tmp_path, state), trust_code=True)
    torch.testing.assert_close(predictor(X), network(X).detach())


def test_names_that_fit_nothing_are_refused(tmp_path: Path) -> None:
    state = {name + ".other": tensor for name, tensor in small_network().state_dict().items()}
    with pytest.raises(InputError, match="do not fit"):
        load_predictor(description(tmp_path, state), trust_code=True)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_the_tensors_of_a_checkpoint_are_found(tmp_path: Path, key: str) -> None:
    network = small_network().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = description(tmp_path, {key: network.state_dict(), "epoch": 3})
        predictor = load_predictor(path, trust_code=True)
    torch.testing.assert_close(predictor(X), network(X).detach())


def test_a_file_of_tensors_is_not_called_code(tmp_path: Path) -> None:
    torch.save(small_network().state_dict(), tmp_path / "w.pt")
    with pytest.raises(
        InputError, match=r"holds \d+ tensors \(a state_dict\) and no network: write a description"
    ):
        load_predictor(tmp_path / "w.pt")


# Unusual networks ---------------------------------------------------------------------------------------


class Checkpointed(nn.Module):
    """The small network, whose activations are computed again in the backward pass."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.network, self.reentrant = small_network(), reentrant

    def forward(self, images: torch.Tensor) -> Any:
        return checkpoint(self.network, images, use_reentrant=self.reentrant)


ASKED = (
    "gradient",
    "integrated-gradients",
    "gradcam",
    "guided-backprop",
    "lrp",
    "excitation-backprop",
    "occlusion",
)


def outcomes(module: nn.Module) -> dict[str, str]:
    """What becomes of each method: its map equals that of the plain network, or it is refused."""
    found = {}
    for method in ASKED:
        wanted = cf.explain(method, small_network().eval(), X[0].numpy(), target="class:1").values
        try:
            got = cf.explain(method, module, X[0].numpy(), target="class:1").values
        except ContrafactError as error:
            found[method] = f"refused: {error}"
        else:
            np.testing.assert_allclose(got, wanted, atol=1e-6, err_msg=method)
            found[method] = "works"
    return found


def refused_of(module: nn.Module) -> set[str]:
    return {method for method, outcome in outcomes(module).items() if outcome != "works"}


@pytest.mark.filterwarnings(
    "ignore:None of the inputs have requires_grad:UserWarning"
)  # torch's, of checkpoints
def test_checkpointing_networks_work_or_are_refused_by_name() -> None:
    assert refused_of(Checkpointed(False).eval()) == {"lrp", "excitation-backprop"}
    again = outcomes(Checkpointed(True).eval())
    assert {method for method, outcome in again.items() if outcome == "works"} == {"occlusion"}
    assert all("use_reentrant=False" in again[m] for m in ("gradient", "gradcam", "lrp"))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's, while it compiles
def test_networks_without_gradients_of_weights_and_compiled_ones_work() -> None:
    still = small_network().eval().requires_grad_(False)
    assert refused_of(still) == set()
    assert refused_of(torch.compile(small_network().eval(), backend="eager")) == set()


def test_a_frozen_script_gives_gradients_and_hides_its_layers() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, of scripts
        frozen = torch.jit.freeze(torch.jit.script(small_network().eval()))
    assert refused_of(frozen) == {"gradcam", "guided-backprop", "lrp", "excitation-backprop"}
    assert not any(hasattr(module, "training") for module in frozen.modules())


def test_quantised_networks_and_those_without_values_are_refused() -> None:
    with torch.device("meta"):
        empty = small_network()
    with pytest.raises(InputError, match="no values"):
        load_predictor(empty)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of the old way to quantise
        packed = torch.ao.quantization.quantize_dynamic(
            nn.Sequential(nn.Flatten(), nn.Linear(256, 2)), {nn.Linear}
        )
    with pytest.raises(UnsupportedError, match=r"quantised layers \(Linear\)"):
        load_predictor(packed)
