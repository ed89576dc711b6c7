"""Which archives of models are opened: for each allow-list, texts that pass and texts that do not."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from contrafact.core import InputError
from contrafact.models import archives
from contrafact.models.archives import check_unpacked, checked_script, read_members, write_members
from contrafact.models.exported import checked_program

EMPTY = b"\x80\x02}."  # a pickled empty dictionary
LEAF: dict[str, Any] = {"type": None, "context": None, "children_spec": []}


def packed(path: Path, members: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def program(path: Path, part: Any, *, more: dict[str, bytes] | None = None, **changes: Any) -> Path:
    """An archive as torch.export writes it, with a part of our own in its graph."""
    module = {
        "module_call_graph": [{"fqn": ""}, {"fqn": "inner"}],
        "graph": {"nodes": part},
        "metadata": {"a b": 1},
    }
    made = {"graph_module": module, "opset_version": {"aten": 10}, "example_inputs": "os.system", **changes}
    return packed(path, {"m/models/model.json": json.dumps(made).encode(), **(more or {})})


def inside(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(checked_program(path)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def script(path: Path, *, code: bytes = b"", data: bytes = EMPTY, **members: bytes) -> Path:
    names = {name.replace("__", "/").replace("_dot_", "."): content for name, content in members.items()}
    whole = {"constants.pkl": EMPTY, "data.pkl": data, "code/a.py": code, **names}
    return packed(path, {f"m/{name}": content for name, content in whole.items()})


def tree(**changes: Any) -> str:
    return json.dumps(
        [1, {"type": "builtins.dict", "context": '["a", "b.c"]', "children_spec": [LEAF, LEAF], **changes}]
    )


GOOD = {
    "target": (
        "torch.ops.aten.relu.default",
        "torch.ops.aten._softmax.default",
        "_operator.add",
        "torch.sym_max",
        "math.floor",
    ),
    "expr_str": (
        "s0",
        "2*s0 + 1",
        "FloorDiv(s0, 2)",
        "Max(1, -s0)",
        "Symbol('s0', positive=True)",
        "Eq(s0, 1.5)",
        "s0 < 3",
        "oo",
        "9" * 2000,
    ),
    "in_spec": (
        tree(),
        tree(type="builtins.tuple", context=None),
        tree(type="builtins.list", context="null"),
        tree(type=None, context=None, children_spec=[]),
    ),
    "as_string": ("zeros", "ij,jk->ik", "a" * 200, ""),
    "name": ("weight_1", "a.b.c", "", "Infinity", "-NaN", "NaN"),
}
BAD = {
    "target": (
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.save.default",
        "torch.ops.other.f.default",
        "torch.ops.aten.relu.none",
        "os.system",
        "torch.ops.aten.relu",
        "_operator.attrgetter",
        "torch.load",
        "torch.ops.aten.nothing.default",
        "torch.ops.aten.__class__.default",
    ),
    "expr_str": (
        "__import__('os')",
        "open",
        "s0.x",
        "Symbol('a b')",
        "Symbol('s0', evil=True)",
        "[s0]",
        "lambda: 1",
        "s0 +",
        "9" * 2001,
        "f(s0)",
        "(s0)(1)",
        "b''",
        "'x'",
        "...",
        "None()",
    ),
    "in_spec": (
        tree(type="os"),
        tree(context='"a"'),
        tree(context='["a b"]'),
        tree(context="[1]"),
        tree(more=1),
        tree(children_spec=[{**LEAF, "type": "x"}]),
        "[2, {}]",
        "{",
        "[1]",
        json.dumps([2, LEAF]),
    ),
    "as_string": ("a/b", "it's", "a" * 201, "é", "a\nb", '"'),
    "name": ("a b", "__class__", "a.__b", "a-b", "a..b", "é", "Infinity-"),
}


@pytest.mark.parametrize(("key", "text"), [(key, text) for key, texts in GOOD.items() for text in texts])
def test_a_text_of_its_kind_is_kept_in_a_program(tmp_path: Path, key: str, text: str) -> None:
    made = json.loads(inside(program(tmp_path / "p.pt2", [{key: text}]))["m/models/model.json"])
    assert made["graph_module"]["graph"]["nodes"] == [{key: text}]


@pytest.mark.parametrize(("key", "text"), [(key, text) for key, texts in BAD.items() for text in texts])
def test_a_text_of_another_kind_is_refused(tmp_path: Path, key: str, text: str) -> None:
    with pytest.raises(InputError, match="a text that torch could run"):
        checked_program(program(tmp_path / "p.pt2", [{key: text}]))


def test_a_program_keeps_what_it_needs_and_no_more(tmp_path: Path) -> None:
    extra = {"m/extra/notes": b"x", "m/version": b"1", "m/data/sample_inputs/model.pt": b""}
    found = inside(program(tmp_path / "p.pt2", [{"metadata": {"stack": "/home/a"}, "name": "x"}], more=extra))
    made = json.loads(found["m/models/model.json"])
    assert set(found) == {"m/models/model.json", "m/version", "m/data/sample_inputs/model.pt"}
    assert made["graph_module"]["module_call_graph"] == [{"fqn": ""}]
    assert made["graph_module"]["graph"]["nodes"] == [{"metadata": {}, "name": "x"}]
    assert made["graph_module"]["metadata"] == {}
    assert "example_inputs" not in made
    assert made["opset_version"] == {"aten": 10}


@pytest.mark.parametrize(
    ("part", "changes", "why"),
    [
        ([{"a b": 1}], {}, "no plain name"),
        ([{"as_custom_obj": {}}], {}, "another library"),
        ([{"inner": [{"token": 1}]}], {}, "another library"),
        ([], {"graph_module": 3}, "another form"),
        ([], {"graph_module": {"module_call_graph": {}}}, "another form"),
    ],
)
def test_a_program_of_another_form_is_refused(tmp_path: Path, part: Any, changes: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        checked_program(program(tmp_path / "p.pt2", part, **changes))


def test_what_is_no_program_is_refused(tmp_path: Path) -> None:
    for content, why in ((b"[]", "no table"), (b"{", "can read"), (b"\xff", "can read")):
        with pytest.raises(InputError, match=why):
            checked_program(packed(tmp_path / "p.pt2", {"m/models/model.json": content}))
    with pytest.raises(InputError, match=r"2\.8 or later"):
        checked_program(packed(tmp_path / "p.pt2", {"m/version": b"1"}))
    for name in ("m/data/constants/custom_obj_0", "m/data/constants/opaque_obj_1"):
        with pytest.raises(InputError, match="pickled code"):
            checked_program(program(tmp_path / "p.pt2", [], more={name: b""}))
    with pytest.raises(InputError, match="a member that no plain program has"):
        checked_program(program(tmp_path / "p.pt2", [], more={"m/data/weights/other": b""}))


def rows(**changes: Any) -> bytes:
    row = {"path_name": "weight_0", "use_pickle": False, "tensor_meta": {"name": "a"}, **changes}
    return json.dumps({"config": {"a": {k: v for k, v in row.items() if v != "gone"}}}).encode()


def test_weights_are_plain_bytes_under_plain_names(tmp_path: Path) -> None:
    table, weight = "m/data/weights/model_weights_config.json", {"m/data/weights/weight_0": b"1234"}
    found = inside(program(tmp_path / "p.pt2", [], more={table: rows(), **weight}))
    assert found["m/data/weights/weight_0"] == b"1234"
    assert json.loads(found[table]) == json.loads(rows())
    bad = {
        rows(use_pickle=True): "pickled",
        rows(use_pickle="gone"): "pickled",
        rows(path_name=3): "pickled",
        rows(path_name="weight_1"): "no plain tensor",
        rows(path_name="tensor_0"): "no plain tensor",
        rows(tensor_meta="x"): "no plain tensor",
        rows(tensor_meta={"name": "a b"}): "could run",
        b'{"config": []}': "another form",
        b'{"config": {}, "b": 1}': "another form",
        b'{"config": {"a": 3}}': "pickled",
    }
    for content, why in bad.items():
        with pytest.raises(InputError, match=why):
            checked_program(program(tmp_path / "p.pt2", [], more={table: content, **weight}))


def test_the_single_file_of_tensors_is_written_anew(tmp_path: Path) -> None:
    saved = {}
    for label, value in {
        "good": {"a.b": torch.ones(2)},
        "list": [torch.ones(2)],
        "name": {"a b": torch.ones(1)},
        "number": {"a": 3},
    }.items():
        torch.save(value, tmp_path / "w")
        saved[label] = (tmp_path / "w").read_bytes()
    name = "m/data/weights/model.pt"
    found = inside(program(tmp_path / "p.pt2", [], more={name: saved["good"]}))
    (tmp_path / "again").write_bytes(found[name])
    assert torch.equal(torch.load(tmp_path / "again", weights_only=True)["a.b"], torch.ones(2))
    for label, why in (("list", "named tensors"), ("name", "named tensors"), ("number", "named tensors")):
        with pytest.raises(InputError, match=why):
            checked_program(program(tmp_path / "p.pt2", [], more={name: saved[label]}))
    with pytest.raises(InputError, match="pickled code"):
        checked_program(program(tmp_path / "p.pt2", [], more={name: pickle.dumps(print)}))


CODE = (
    "torch.add(a, b)",
    "ops.prim.NumToTensor(x)",
    'getattr(self, "x")',
    'getattr(getattr(self, "a"), "b")',
    "__torch__.torch.classes.quantized.Conv2d",
    "saved = 1",
)
EVIL = {
    "x = torch.from_file(a)": "from_file",
    "self.save(a)": "save",
    "ops.other.f(x)": "another library",
    "x = torch": "another name",
    "torch.classes.foo.Bar": "another library",
    "torch . ops.mine": "another",
    'getattr(torch, "x")': "another name",
    "getattr(self, name)": "computed",
    "a\0b": "zero byte",
    "ops": "another library",
}


@pytest.mark.parametrize("code", CODE)
def test_plain_code_of_a_script_is_kept(tmp_path: Path, code: str) -> None:
    with zipfile.ZipFile(checked_script(script(tmp_path / "s.pt", code=code.encode()))) as archive:
        assert archive.read("m/code/a.py") == code.encode()
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())


@pytest.mark.parametrize(("code", "why"), EVIL.items())
def test_code_that_reaches_further_is_refused(tmp_path: Path, code: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        checked_script(script(tmp_path / "s.pt", code=code.encode()))


def test_members_of_a_script_are_those_that_torch_writes(tmp_path: Path) -> None:
    left = {
        "code__b_dot_py_dot_debug_pkl": b"x",
        "extra__a": b"x",
        "traced_inputs_dot_pkl": b"x",
        "version": b"3",
    }
    with zipfile.ZipFile(checked_script(script(tmp_path / "s.pt", **left))) as archive:
        assert set(archive.namelist()) == {"m/constants.pkl", "m/data.pkl", "m/code/a.py", "m/version"}
    with pytest.raises(InputError, match="no part of a script"):
        checked_script(script(tmp_path / "s.pt", other=b""))
    with pytest.raises(InputError, match="no text"):
        checked_script(script(tmp_path / "s.pt", code=b"\xff"))
    for lacking in ("constants.pkl", "data.pkl"):
        rest = {"m/constants.pkl": EMPTY, "m/data.pkl": EMPTY, "m/version": b"1"}
        del rest[f"m/{lacking}"]
        with pytest.raises(InputError, match="pickled code"):
            checked_script(packed(tmp_path / "s.pt", rest))


def test_types_in_the_data_of_a_script_are_its_own(tmp_path: Path) -> None:
    for kind in (
        "__torch__ Net",
        "torch._utils _rebuild_tensor_v2",
        "collections OrderedDict",
        "__torch__.torch.classes.quantized Conv2d",
    ):
        module, _, name = kind.partition(" ")
        checked_script(script(tmp_path / "s.pt", data=b"\x80\x02c" + f"{module}\n{name}\n.".encode()))
    for kind in ("os system", "torch.serialization from_file", "torch.classes.foo Bar", "builtins eval"):
        module, _, name = kind.partition(" ")
        with pytest.raises(InputError, match="an object of the class"):
            checked_script(script(tmp_path / "s.pt", data=b"\x80\x02c" + f"{module}\n{name}\n.".encode()))
    with pytest.raises(InputError, match="a pickle with INT"):
        checked_script(script(tmp_path / "s.pt", data=b"I1\n."))
    with pytest.raises(InputError, match="can read"):
        checked_script(script(tmp_path / "s.pt", data=b"\x80\x02X"))


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (("m/../a",), "with the name"),
        (("m/./a",), "with the name"),
        (("m/a b",), "with the name"),
        (("a",), "with the name"),
        (("m/é",), "with the name"),
        (("m/a", "m/A"), "two members"),
        (("m/a", "n/b"), "2 folders"),
        ((), "0 folders"),
    ],
)
def test_names_in_an_archive_are_plain_and_different(tmp_path: Path, names: tuple[str, ...], why: str) -> None:
    with pytest.raises(InputError, match=why):
        read_members(packed(tmp_path / "a.pt", dict.fromkeys(names, b"")))


def test_an_archive_is_read_and_written_as_it_is(tmp_path: Path) -> None:
    members = {"a": b"1", "b/c.d": b"2" * 9}
    path = packed(tmp_path / "a.pt", {f"m/{k}": v for k, v in members.items()}, zipfile.ZIP_DEFLATED)
    assert read_members(path) == ("m", members)
    (tmp_path / "b.pt").write_bytes(write_members("m", members).read())
    assert read_members(tmp_path / "b.pt") == ("m", members)


def test_members_that_unpack_to_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LARGEST_COMPRESSED", 100)
    for size in (100, 101):
        path = packed(tmp_path / "a.pt", {"m/a": b"0" * size}, zipfile.ZIP_DEFLATED)
        if size == 100:
            check_unpacked(path)
            continue
        with pytest.raises(InputError, match="unpack to too much"):
            check_unpacked(path)
    with pytest.raises(InputError, match="does not write"):
        check_unpacked(packed(tmp_path / "a.pt", {"m/a": b"0"}, zipfile.ZIP_BZIP2))
    check_unpacked(packed(tmp_path / "a.pt", {"m/a": b"0" * 500}))
    (tmp_path / "plain").write_bytes(b"no archive")
    check_unpacked(tmp_path / "plain")


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.pt", {"m/a": b"0"})
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1  # the flag of encryption in the central directory
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="encrypted"):
        check_unpacked(path)
