"""No code from a file: hostile models are refused at every door, and nothing of theirs has run."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import contrafact as cf
from conftest import small_network
from contrafact.bundles import list_bundles, load_bundle
from contrafact.cli import main
from contrafact.core import InputError, Trust
from contrafact.models import factories
from contrafact.models.exported import checked_program
from contrafact.models.onnx_files import external_files
from contrafact.study.runner import study
from hostile import (
    Members,
    X,
    bundle_with,
    changed,
    described,
    description,
    exported,
    members_of,
    pickled,
    refused_everywhere,
    saved,
    scripted,
    study_with,
    write,
)

WEIGHTS, CONSTANTS = "data/weights/model_weights_config.json", "data/constants/model_constants_config.json"
MODEL, SAMPLES = "models/model.json", "data/sample_inputs/model.pt"
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
Change = Callable[[Members, Path, int], Members]


@pytest.fixture(scope="module")
def honest() -> Members:
    members = exported()
    if WEIGHTS not in members:
        pytest.skip("this torch writes weights in one pickled file")
    return members


def constant(prefix: str) -> Change:
    """A constant that is an object."""

    def change(members: Members, canary: Path, protocol: int) -> Members:
        row = {"path_name": f"{prefix}_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
        members = {**members, f"data/constants/{prefix}_0": pickled(canary, protocol)}
        return changed(members, CONSTANTS, lambda table: table["config"].update(evil=row))

    return change


def weight(members: Members, canary: Path, protocol: int) -> Members:
    """A weight that is pickled."""

    def use(table: Any) -> None:
        next(iter(table["config"].values())).update(use_pickle=True, path_name="weight_0")

    return changed({**members, "data/weights/weight_0": saved(canary, protocol)}, WEIGHTS, use)


PICKLES: dict[str, Change] = {
    "opaque constant": constant("opaque_obj"),
    "custom constant": constant("custom_obj"),
    "pickled constant": constant("tensor"),
    "pickled weight": weight,
    "weights of torch 2.8": lambda m, c, p: {**m, "data/weights/model.pt": saved(c, p)},
    "constants of torch 2.8": lambda m, c, p: {**m, "data/constants/model.pt": pickled(c, p)},
    "sample inputs": lambda m, c, p: {**m, SAMPLES: saved(c, p)},
    "raw sample inputs": lambda m, c, p: {**m, SAMPLES: pickled(c, p)},
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", PICKLES)
def test_a_program_with_a_pickle_is_refused_and_not_run(
    tmp_path: Path, honest: Members, kind: str, protocol: int
) -> None:
    canary = tmp_path / "canary"
    path = write(tmp_path / "m.pt2", PICKLES[kind](honest, canary, protocol))
    for trust in (False, True):
        with pytest.raises(InputError, match="pickled code"):
            cf.load_predictor(path, classes=["no", "yes"], trust=trust, trust_code=trust)
    assert not canary.exists()


@pytest.mark.parametrize("kind", ["opaque constant", "pickled weight", "sample inputs"])
def test_a_pickle_in_a_program_is_refused_at_every_door(
    tmp_path: Path, honest: Members, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    canary = tmp_path / "canary"
    path = write(tmp_path / "m.pt2", PICKLES[kind](honest, canary, 1))
    refused_everywhere(path, "pickled code", capsys)
    assert not canary.exists()
    with contextlib.suppress(Exception):
        torch.export.load(path)  # what torch alone does with it, before it finds that this is no weight
    assert canary.exists()


@pytest.mark.parametrize(
    "first",
    [
        MODEL,
        WEIGHTS,
        CONSTANTS,
        CONSTANTS.upper(),
        "models/MODEL.json",
        "data/weights/WEIGHT_0",
    ],
)
def test_a_name_that_is_there_twice_is_refused_whatever_its_case(
    tmp_path: Path, honest: Members, first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    canary = tmp_path / "canary"
    evil = constant("opaque_obj")(honest, canary, 1)
    content = evil.get(first, evil[CONSTANTS])
    members = {**honest, "data/constants/tensor_99": evil["data/constants/opaque_obj_0"]}
    path = write(tmp_path / "m.pt2", members, first={first: content})
    refused_everywhere(path, "two members", capsys)
    assert not canary.exists()


def program(change: Callable[[Any], None]) -> Change:
    return lambda members, _canary, _protocol: changed(members, MODEL, change)


def first_node(program_: Any) -> Any:
    return program_["graph_module"]["graph"]["nodes"][0]


def touch(canary: Path) -> str:
    return f"__import__('pathlib').Path('{canary}').touch()"


def sized(members: Members, canary: Path, _: int) -> Members:
    def change(found: Any) -> None:
        values = found["graph_module"]["graph"]["tensor_values"]
        values["x" if "x" in values else "input"]["sizes"][0] = {
            "as_expr": {"expr_str": touch(canary), "hint": {"as_int": 2}}
        }

    return changed(members, MODEL, change)


def tree(members: Members, _canary: Path, _: int) -> Members:
    def change(found: Any) -> None:
        call = found["graph_module"]["module_call_graph"][0]["signature"]
        context = json.dumps([{"__enum__": True, "fqn": "evil_on_import:Kind", "name": "A"}])
        leaf = {"type": None, "context": None, "children_spec": []}
        whole = [1, {"type": "builtins.dict", "context": context, "children_spec": [leaf]}]
        call["out_spec"] = json.dumps(whole)

    return changed(members, MODEL, change)


def named(members: Members, canary: Path, _: int) -> Members:
    """A weight whose name ends the text that it is written into."""
    name = f'a") or open("{canary}", "w") or ("'

    def change(found: Any) -> None:
        spec = found["graph_module"]["signature"]["input_specs"][0]["parameter"]
        spec["parameter_name"] = name

    def rename(table: Any) -> None:
        table["config"][name] = table["config"].pop(next(iter(table["config"])))

    return changed(changed(members, MODEL, change), WEIGHTS, rename)


def filed(members: Members, _canary: Path, _: int) -> Members:
    def change(found: Any) -> None:
        node = first_node(found)
        node["target"] = "torch.ops.aten.from_file.default"
        node["inputs"] = [
            {"name": "filename", "arg": {"as_string": "victim"}, "kind": 1},
            {"name": "shared", "arg": {"as_bool": True}, "kind": 1},
            {"name": "size", "arg": {"as_int": 4}, "kind": 1},
        ]

    return changed(members, MODEL, change)


def target(text: str) -> Change:
    return program(lambda found: first_node(found).update(target=text))


TEXTS: dict[str, Change] = {
    "a size that is code": sized,
    "a tree that imports": tree,
    "a name that is code": named,
    "an operator that reads files": filed,
    "an operator of another library": target("torch.ops.evil.run.default"),
    "a function of torch": target("torch.serialization.load"),
    "a function of Python": target("torch.os.system"),
    "an attribute of an operator": target("torch.ops.aten.relu.default.__class__"),
    "an extension": target("#evil:run"),
    "an operator without overload": target("torch.ops.aten.relu"),
    "a custom object": program(
        lambda found: first_node(found)["inputs"][0].update(
            arg={"as_custom_obj": {"name": "evil", "class_fqn": "evil"}}
        )
    ),
    "a text with quotes": program(
        lambda found: first_node(found)["inputs"][0].update(arg={"as_string": "' or evil() or '"})
    ),
    "compiled code": lambda m, _c, _p: {**m, "data/aotinductor/model/evil.so": b"\x7fELF"},
    "another program": lambda m, _c, _p: {**m, "models/other.json": m[MODEL]},
    "a member above": lambda m, _c, _p: {**m, "../evil": b""},
    "an older form": lambda m, _c, _p: {**m, "serialized_exported_program.json": b"{}"},
}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_program_with_a_text_that_torch_would_run_is_refused(
    tmp_path: Path,
    honest: Members,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    canary = tmp_path / "canary"
    (tmp_path / "victim").write_bytes(b"a user's own file")
    importable(tmp_path, canary, monkeypatch)
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "m.pt2", TEXTS[kind](honest, canary, 2))
    refused_everywhere(path, "was not opened", capsys)
    assert not canary.exists()
    assert (tmp_path / "victim").read_bytes() == b"a user's own file"


@pytest.mark.parametrize("kind", ["a size that is code", "a tree that imports"])
def test_torch_alone_would_run_such_a_text(
    tmp_path: Path, honest: Members, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = tmp_path / "canary"
    importable(tmp_path, canary, monkeypatch)
    path = write(tmp_path / "m.pt2", TEXTS[kind](honest, canary, 2))
    with pytest.raises(Exception):  # noqa: B017 (after the harm is done, of whatever kind)
        torch.export.load(path)
    assert canary.exists()


def test_guards_and_metadata_of_a_program_are_not_read(tmp_path: Path, honest: Members) -> None:
    canary = tmp_path / "canary"

    def change(found: Any) -> None:
        found["guards_code"] = [f"{touch(canary)} is None"]
        found["torch_version"] = "'; evil"
        first_node(found)["metadata"]["custom"] = touch(canary)
        found["graph_module"]["metadata"] = {"custom": '{"evil": 1}'}

    members = {**changed(honest, MODEL, change), "extra/notes.txt": b"\xff\x00 any bytes"}
    path = write(tmp_path / "m.pt2", members)
    predictor = cf.load_predictor(path, classes=["no", "yes"])
    torch.testing.assert_close(predictor(X), small_network().eval()(X).detach(), atol=1e-5, rtol=1e-5)
    assert not canary.exists()
    guarded = changed(honest, MODEL, lambda found: found.update(guards_code=[f"{touch(canary)} is None"]))
    torch.export.load(write(tmp_path / "n.pt2", guarded)).module()(X)
    assert canary.exists()  # what torch alone does with the guards


def test_weights_that_torch_2_8_wrote_are_read_as_tensors_and_written_again(
    tmp_path: Path, honest: Members
) -> None:
    network = small_network()
    state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    stored = {"data/weights/model.pt": state, "data/constants/model.pt": {}}
    members = {n: c for n, c in honest.items() if not n.startswith(("data/weights", "data/constants"))}
    for name, tensors in stored.items():
        buffer = io.BytesIO()
        torch.save(tensors, buffer, _use_new_zipfile_serialization=False)
        members[name] = buffer.getvalue()
    path = write(tmp_path / "m.pt2", members)
    predictor = cf.load_predictor(path, classes=["no", "yes"])
    torch.testing.assert_close(predictor(X), small_network().eval()(X).detach(), atol=1e-5, rtol=1e-5)
    inner = members_of(checked_program(path))
    assert inner["data/weights/model.pt"] != members["data/weights/model.pt"] and inner[SAMPLES] == b""


class Mixed(nn.Module):
    """Sizes that vary, splits, no gradients inside, infinities, logic, an equation: what real programs hold."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inside = (x > 0.2) & (x < 0.8)
        with torch.no_grad():
            total = (x * 2).mean()
        h, w = x.shape[-2:]
        y = nn.functional.interpolate(x, size=(h * 2, w // 2 + 1), mode="bilinear")
        z = torch.einsum("bchw->bc", y * 1.0)
        left, right = torch.split(x, [3, x.shape[-1] - 3], dim=-1)
        parts = [z + total, inside.float().mean((2, 3)), left.sum((2, 3)), right.amax((2, 3))]
        return torch.cat([*parts, torch.full_like(z, float("inf")).clamp(max=1)], 1)


def test_an_honest_program_of_any_size_is_opened_without_trust(tmp_path: Path) -> None:
    sizes = {0: "n", 2: "h", 3: "w"}
    dims = {axis: torch.export.Dim(name, min=2 if axis == 0 else 8, max=64) for axis, name in sizes.items()}
    module = Mixed().eval()
    torch.export.save(torch.export.export(module, (X,), dynamic_shapes=(dims,)), tmp_path / "m.pt2")
    predictor = cf.load_predictor(tmp_path / "m.pt2")
    other = torch.rand(3, 1, 20, 12)
    torch.testing.assert_close(predictor(other), module(other), atol=1e-4, rtol=1e-5)


# TorchScript


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(x.flatten(1)[:, :2])
        return y * self.w


class Stateful(nn.Module):
    """Has a `__setstate__`, which runs while the file is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.ones(1)

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return self.w, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        self.w = torch.relu(state[0])
        self.training = state[1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :2] * self.w


OVER = 'torch.fill_(torch.from_file("victim", True, 4), 0.)'
SCRIPTS: dict[str, tuple[type[nn.Module], dict[str, str]]] = {
    "forward": (Plain, {"torch.relu(": f"torch.add({OVER}, "}),
    "setstate": (Stateful, {"torch.relu((state)[0])": OVER}),
    "operator": (Plain, {"torch.relu(": 'torch.add(ops.aten.from_file("victim", True, 4), '}),
    "spaces": (Plain, {"torch.relu(": 'torch.add(torch . from_file("victim", True, 4), '}),
    "another name": (Plain, {"torch.relu(": 't = torch\n    torch.add(t.arange("victim"), '}),
    "getattr": (Plain, {"torch.relu(": 'torch.add(getattr(torch, "from" "_file")("victim", True, 4), '}),
    "escapes": (Plain, {"torch.relu(": 'torch.add(getattr(torch, "from\\x5ffile")("victim", True, 4), '}),
    "save": (Plain, {"torch.relu(": 'torch.save(x, "victim")\n    torch.relu('}),
    "library": (Plain, {"torch.relu(": 'ops.image.write_file("victim", x)\n    torch.relu('}),
    "libraries": (Plain, {"torch.relu(": "o = ops\n    torch.relu("}),
    "class": (Plain, {"x: Tensor": "x: __torch__.torch.classes.evil.Evil"}),
}


@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_script_that_touches_files_is_refused_even_when_it_is_trusted(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    victim = tmp_path / "victim"
    victim.write_bytes(b"a user's own file")
    make, code = SCRIPTS[kind]
    path = scripted(make(), tmp_path / "m.ts", **code)
    assert scripted(make(), tmp_path / "same.ts").read_bytes() != path.read_bytes()
    refused_everywhere(path, "TorchScript, which is code", capsys)
    shutil.rmtree(tmp_path / "bundle")
    refused_everywhere(path, "and was not opened", capsys, trust=True)
    assert victim.read_bytes() == b"a user's own file"


@pytest.mark.parametrize("kind", ["setstate", "getattr"])
def test_torch_alone_would_overwrite_the_file(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "victim").write_bytes(b"a user's own file")
    make, code = SCRIPTS[kind]
    if kind == "getattr":
        code = {"torch.relu(": 'torch.add(torch.fill_(getattr(torch, "from" "_file")("victim", True, 2), 0.), '}
        make = Plain
    module = torch.jit.load(str(scripted(make(), tmp_path / "m.ts", **code)))
    if kind == "getattr":
        module(X[:, :, :2, :2])
    assert (tmp_path / "victim").read_bytes().startswith(bytes(8))


def test_a_script_with_a_name_twice_or_a_class_in_its_data_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = members_of(scripted(Plain(), tmp_path / "good.ts"))
    code = next(name for name in good if name.endswith(".py"))
    for first in (code, code.upper(), "data.pkl"):
        with pytest.raises(InputError, match="two members"):
            cf.load_predictor(write(tmp_path / "m.ts", good, first={first: good[code]}), trust=True)
    kinds = {"a class": b"__torch__\ntorch.classes.evil.Evil\n", "an object": b"os\nsystem\n"}
    for name, kind in kinds.items():
        data = b"\x80\x02c" + kind + b")R."
        with pytest.raises(InputError, match="an object of the class"):
            cf.load_predictor(write(tmp_path / "m.ts", {**good, "data.pkl": data}), trust=True)
        assert name
    with pytest.raises(InputError, match="no part of a script"):
        cf.load_predictor(write(tmp_path / "m.ts", {**good, "evil.so": b""}), trust=True)


@pytest.mark.parametrize("make", [Plain, Stateful])
@pytest.mark.parametrize("traced", [False, True])
def test_an_honest_script_is_opened_when_it_is_trusted(
    tmp_path: Path, make: type[nn.Module], traced: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    module = nn.Sequential(nn.Sequential(make()), nn.Identity()).eval()
    script = torch.jit.trace(module, X) if traced else torch.jit.script(module)
    torch.jit.save(script, tmp_path / "m.ts")
    for file in (tmp_path / "m.ts", described(tmp_path, "m.ts")):
        predictor = cf.load_predictor(file, classes=() if file.suffix == ".json" else ["no", "yes"], trust=True)
        torch.testing.assert_close(predictor(X), module(X).detach())
    bundle = load_bundle(bundle_with(tmp_path / "bundle", tmp_path / "m.ts"), trust=True)
    torch.testing.assert_close(bundle.predictor(X), module(X).detach())


def test_check_says_that_a_script_is_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.jit.save(torch.jit.trace(small_network().eval(), X), tmp_path / "m.ts")
    np_file = tmp_path / "x.npy"
    study_with(tmp_path, tmp_path / "m.ts")
    np_file.write_bytes((tmp_path / "a.npy").read_bytes())
    assert main(["check", str(tmp_path / "m.ts"), "--image", str(np_file)]) == 2
    said = capsys.readouterr().err
    assert "code that runs as soon as it is opened" in said and "--trust" in said and said.count("\n") == 1
    assert main(["check", str(tmp_path / "m.ts"), "--image", str(np_file), "--trust"]) == 0
    assert "it is code, which is loaded because it is trusted" in capsys.readouterr().out


# Factories


def importable(folder: Path, canary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that writes the canary as soon as it is imported."""
    text = f"""
from pathlib import Path
from torch import nn
Path({str(canary)!r}).touch()
class Net(nn.Linear):
    def __init__(self): super().__init__(2, 2)
def make() -> nn.Module: return Net()
"""
    (folder / "evil_on_import.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "evil_on_import", raising=False)


OUTSIDE = [
    "evil_on_import:Net",
    "evil_on_import:make",
    "evil_on_import",
    "os:system",
    "monai.bundle:ConfigWorkflow",
    "monai.networks.nets.unet:evil",
    "monai.networks.nets:TorchVisionFCModel",
    "monai.networks.nets:MILModel",
    "monai.networks.nets:Transchex",
    "monai.networks.nets:resnet10",
    "torch.nn.modules.module:Module",
    "torch.nn.evil_on_import:Net",
    "torch.nn:Sequential:evil_on_import",
    "contrafact.models.example_networks:nn",
    "torch:nn",
    ["evil_on_import:Net"],
    {"evil_on_import": "Net"},
    None,
]


@pytest.mark.parametrize("factory", OUTSIDE, ids=str)
def test_a_factory_outside_the_list_is_refused_before_it_is_imported(
    tmp_path: Path, factory: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    canary = tmp_path / "canary"
    importable(tmp_path, canary, monkeypatch)
    path = description(tmp_path, factory)
    refused_everywhere_described(path, "factory must be", capsys)
    assert not canary.exists() and "evil_on_import" not in sys.modules


def refused_everywhere_described(path: Path, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=words):
        cf.load_predictor(path)
    with pytest.raises(InputError, match=words):
        cf.load_predictor(path, trust=True)  # of files, not of factories
    assert main(["check", str(path)]) == 2
    folder = bundle_with(path.parent / "bundle", path)
    shutil.copy(path.parent / "w.safetensors", folder)
    with pytest.raises(InputError, match=words):
        load_bundle(folder)
    with pytest.raises(InputError, match=words):
        list(study(study_with(path.parent, path), engine="local"))
    capsys.readouterr()


@pytest.mark.parametrize(
    "name",
    [
        "Module.__class__",
        "__builtins__",
        "modules",
        "Parameter",
        "Module.register_module",
        "nets.sys",
        "",
        "A B",
    ],
)
@pytest.mark.parametrize("package", ["torch.nn", "monai.networks.nets", "contrafact.models.example_networks"])
def test_only_a_class_that_the_package_defines_is_a_factory(tmp_path: Path, package: str, name: str) -> None:
    with pytest.raises(InputError, match="factory must be"):
        cf.load_predictor(description(tmp_path, f"{package}:{name}"))


def test_a_class_that_a_package_only_imported_is_not_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import contrafact.models.example_networks as own

    class Foreign(nn.Linear):
        pass

    monkeypatch.setattr(own, "Foreign", Foreign, raising=False)
    path = description(tmp_path, "contrafact.models.example_networks:Foreign", arguments={"in_features": 2})
    with pytest.raises(InputError, match="factory must be a class of"):
        cf.load_predictor(path)


@pytest.mark.parametrize(
    ("factory", "arguments", "words"),
    [
        (
            "monai.networks.nets:EfficientNetBN",
            {"model_name": "efficientnet-b0"},
            "'pretrained' of EfficientNetBN",
        ),
        ("monai.networks.nets:ResNetFeatures", {"model_name": "resnet10"}, "'pretrained' of ResNetFeatures"),
        ("monai.networks.nets:DenseNet121", {"pretrained": True}, "'pretrained' of DenseNet121"),
        ("monai.networks.nets:HoVerNet", {"pretrained_url": "x"}, "'pretrained_url' of HoVerNet"),
        ("monai.networks.nets:ResNet", {"block": "../evil.pt"}, "must not contain a path"),
        ("monai.networks.nets:UNet", {"act": ["relu", {"x": "http://evil"}]}, "must not contain a path"),
        ("monai.networks.nets:UNet", {"act": {"_target_": "os.system"}}, "plain names"),
        ("torch.nn:Linear", ["in_features"], "must be a table"),
    ],
)
def test_a_factory_neither_reads_files_nor_fetches_weights(
    tmp_path: Path, factory: str, arguments: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("it asked the network")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(InputError, match=words):
        cf.load_predictor(description(tmp_path, factory, arguments=arguments))


def test_networks_of_the_list_are_made_with_options_of_their_layers(tmp_path: Path) -> None:
    import monai.networks.nets as nets

    size: dict[str, Any] = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "channels": [4, 8]}
    size |= {"strides": [2], "act": ["leakyrelu", {"negative_slope": 0.2}], "norm": "batch"}
    cases: list[tuple[str, nn.Module, dict[str, Any]]] = [
        ("monai.networks.nets:UNet", nets.UNet(**size), size),
        ("torch.nn:Conv2d", nn.Conv2d(1, 2, 3), {"in_channels": 1, "out_channels": 2, "kernel_size": 3}),
    ]
    for factory, module, arguments in cases:
        path = description(tmp_path, factory, arguments=arguments)
        save_file(module.state_dict(), tmp_path / "w.safetensors")
        predictor = cf.load_predictor(path)
        torch.testing.assert_close(predictor(X), module.eval()(X).detach(), atol=1e-5, rtol=1e-5)


def test_an_installed_entry_point_is_a_factory_by_name_and_by_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("small", "conftest:small_network", factories.GROUP)
    asked: list[str] = []

    def entry_points(*, group: str) -> list[EntryPoint]:
        asked.append(group)
        return [point]

    monkeypatch.setattr(factories, "entry_points", entry_points)
    for factory in ("small", "conftest:small_network"):
        predictor = cf.load_predictor(description(tmp_path, factory))
        torch.testing.assert_close(predictor(X), small_network().eval()(X).detach(), atol=1e-5, rtol=1e-5)
    assert set(asked) == {"contrafact.networks"}


def test_a_trusted_factory_is_called_and_must_still_make_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = tmp_path / "canary"
    importable(tmp_path, canary, monkeypatch)
    path = description(tmp_path, "evil_on_import:make")
    save_file(nn.Linear(2, 2).state_dict(), tmp_path / "w.safetensors")
    assert cf.load_predictor(path, trust_code=True)(torch.rand(1, 2, 2, 2)).ndim == 4
    assert canary.exists()
    with pytest.raises(InputError, match="neither a torch module class nor"):
        cf.load_predictor(description(tmp_path, "os:system"), trust_code=True)


# Bundles, files beside, and pages


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    shutil.copytree(list_bundles()["phantom"], tmp_path / "bundle")
    return tmp_path / "bundle"


def edited(path: Path, **more: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))


@pytest.mark.parametrize("way", ["above", "absolute", "link", "number"])
@pytest.mark.parametrize("key", ["predictors", "seconds", "weights", "model"])
def test_what_a_bundle_names_lies_in_the_bundle(tmp_path: Path, bundle: Path, key: str, way: str) -> None:
    name = "honest.json" if key in ("predictors", "seconds") else "honest.safetensors"
    outside = tmp_path / name
    shutil.copy(bundle / name, outside)
    if key in ("predictors", "seconds"):
        shutil.copy(bundle / "honest.safetensors", tmp_path)
    if way == "link":
        (bundle / f"link-{name}").symlink_to(outside)
    named = {"above": f"../{name}", "absolute": str(outside), "link": f"link-{name}", "number": 3}[way]
    if key in ("predictors", "seconds"):
        edited(bundle / "bundle.json", **{key: {"honest": named, "cheat": "cheat.json"}})
    else:
        edited(bundle / "honest.json", **{key: named})
    with pytest.raises(InputError, match=r"must lie in|must be the name of a file"):
        load_bundle(bundle, trust=True, trust_code=True)


@pytest.mark.parametrize("name", ["generator.safetensors", "statistics.safetensors", "bundle.json"])
def test_a_link_out_of_a_bundle_is_not_followed(tmp_path: Path, bundle: Path, name: str) -> None:
    shutil.move(bundle / name, tmp_path / name)
    (bundle / name).symlink_to(tmp_path / name)
    with pytest.raises(InputError, match="leads out of it"):
        load_bundle(bundle)


def test_a_bundle_that_is_itself_a_link_is_read(tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "link").symlink_to(bundle)
    assert load_bundle(tmp_path / "link").name == "phantom"


def test_live_questions_open_a_script_only_when_the_viewer_was_started_so(tmp_path: Path) -> None:
    from contrafact.viewer.live.answers import load
    from contrafact.viewer.live.tasks import LiveSetting

    torch.jit.save(torch.jit.trace(small_network().eval(), X), tmp_path / "m.ts")
    folder = bundle_with(tmp_path / "bundle", tmp_path / "m.ts")
    with pytest.raises(InputError, match="TorchScript, which is code"):
        load(LiveSetting(bundles=(str(folder),)), "cpu")
    assert load(LiveSetting(bundles=(str(folder),), trust=Trust(scripts=True)), "cpu").models


def test_a_page_cannot_give_trust_and_the_command_line_can(tmp_path: Path) -> None:
    import functools

    from contrafact.cli.form import job
    from contrafact.viewer.study_editor.editor import StudyEditor

    torch.jit.save(torch.jit.trace(small_network().eval(), X), tmp_path / "m.ts")
    path = study_with(tmp_path, tmp_path / "m.ts")
    text = path.read_text()
    with pytest.raises(Exception, match="TorchScript, which is code"):
        list(job(str(path)))
    for line in ("trust = true\n", "trust_code = true\n"):
        path.write_text(line + text)
        with pytest.raises(InputError, match="unknown"):
            list(job(str(path)))
        path.write_text(text.replace("[model]\n", f"[model]\n{line}"))
        with pytest.raises(InputError, match="unknown"):
            list(job(str(path)))
    path.write_text(text)
    desk = StudyEditor(tmp_path, path, functools.partial(job, trust=Trust(scripts=True)))
    draft = desk.opened()["draft"]
    draft["study"]["trust"] = "true"
    assert any("trust" in one["text"] for one in desk.examine("study.toml", draft)["problems"])
    assert list(job(str(path), trust=Trust(scripts=True)))[-1]["report"]


@pytest.mark.parametrize("key", ["weights", "model"])
def test_the_form_refuses_a_description_that_leads_out_of_its_folder(tmp_path: Path, key: str) -> None:
    from contrafact.cli.form import job
    from contrafact.viewer.study_editor.editor import StudyEditor

    root = tmp_path / "root"
    root.mkdir()
    path = study_with(root, description(root, "torch.nn:Linear"))
    desk = StudyEditor(root, path, job)
    assert not desk.examine("study.toml", desk.opened()["draft"])["problems"]
    description(root, "torch.nn:Linear", **{key: "../w.safetensors"})
    shutil.copy(root / "w.safetensors", tmp_path)
    problems = desk.examine("study.toml", desk.opened()["draft"])["problems"]
    assert [one["place"] for one in problems] == ["models.0.path"] and "leads out of" in problems[0]["text"]
    with pytest.raises(InputError, match="leads out of"):
        desk.begin("study.toml")


def onnx_with(location: str, *, nested: bool) -> bytes:
    """An ONNX file whose one tensor lies elsewhere, in the graph or in a branch of a node."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2 if number < 16 else 0]) + bytes([len(content)]) + content

    pair = field(1, b"location") + field(2, location.encode())
    graph = field(5, bytes([2 << 3, 1]) + field(8, b"w") + field(13, pair))  # data type 1, a name
    if nested:
        graph = field(1, field(5, field(6, graph)))  # node, attribute, graph
    return field(7, graph)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "link.bin"])
def test_external_data_of_onnx_lies_in_the_folder_of_the_file(
    tmp_path: Path, location: str, nested: bool
) -> None:
    pytest.importorskip("onnxruntime")
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "m.onnx").write_bytes(onnx_with(location, nested=nested))
    assert external_files((folder / "m.onnx").read_bytes()) == {location}
    with pytest.raises(InputError, match="must lie in"):
        cf.load_predictor(folder / "m.onnx")


def test_external_data_beside_an_onnx_file_is_read(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    weights = torch.tensor([[[[1.0]], [[-1.0]]]])
    tensor = TensorProto(name="w", data_type=1, dims=[1, 2, 1, 1], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "w.bin"), ("offset", "0"), ("length", "8")):
        tensor.external_data.add(key=key, value=value)
    ends = [helper.make_tensor_value_info(name, 1, ["n", 2, 1, 1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "w.bin").write_bytes(weights.numpy().tobytes())
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert onnx and external_files(model.SerializeToString()) == {"w.bin"}
    predictor = cf.load_predictor(tmp_path / "m.onnx", classes=["no", "yes"])
    torch.testing.assert_close(predictor(torch.full((1, 2, 1, 1), 2.0)), 2 * weights)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_weights_and_arrays_with_pickles_are_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    canary = tmp_path / "canary"
    path = description(
        tmp_path, "torch.nn:Linear", weights="w.pt", arguments={"in_features": 2, "out_features": 2}
    )
    for content in (pickled(canary, protocol), saved(canary, protocol)):
        (tmp_path / "w.pt").write_bytes(content)
        with pytest.raises(InputError):
            cf.load_predictor(path, trust=True, trust_code=True)
        for name in ("x.npy", "x.npz", "m.ts", "m.pt", "m.pt2", "m.onnx"):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(InputError):
                cf.read_image(tmp_path / name) if name[0] == "x" else cf.load_predictor(
                    tmp_path / name, trust=True, trust_code=True
                )
    assert not canary.exists()
