"""Check `torch.export` programs (.pt2) against an allow-list, and rewrite them as a clean archive.

torch's own loader runs code in many places: it unpickles weights, constants and sample inputs, evaluates
the text of symbolic sizes and guards, imports modules that tree specifications name, and writes names into
Python source. So every text in the program's JSON must be of a known kind, and everything that is not needed to
run the program (metadata, guards, sample inputs, extra files) is removed before torch reads it.
"""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from contrafact.core import InputError
from contrafact.models.archives import read_members, refuse, write_members

MODEL, SAMPLES = "models/model.json", "data/sample_inputs/model.pt"
PARTS = {  # folders of tensors: table, pattern of tensor names, and the single file of torch 2.8
    "data/weights": ("model_weights_config.json", re.compile(r"weight_\d+"), "model.pt"),
    "data/constants": ("model_constants_config.json", re.compile(r"tensor_\d+"), "model.pt"),
}
KEPT = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/\w+|models/model\.json|data/sample_inputs/model\.pt"
    r"|data/weights/(weight_\d+|model_weights_config\.json|model\.pt)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json|model\.pt)",
    re.ASCII,
)
LEFT_OUT = re.compile(r"extra/.*")
# Names of nodes and weights appear in generated Python: plain identifiers separated by dots.
PLAIN = re.compile(r"(?!_{2})\w+(\.(?!_{2})\w+)*|", re.ASCII)
NUMBER = re.compile(r"-?(Infinity|NaN)")
TEXT = re.compile(r"[\w .,>+\-]{0,200}", re.ASCII)  # such as an equation or a padding mode: no path, no quotes
ATEN = re.compile(r"torch\.ops\.aten\.([A-Za-z]\w*|_[a-z]\w*|__[a-z]+__)\.(\w+)", re.ASCII)
BANNED = ("from_file", "save")
OTHERS = re.compile(
    r"_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|pow|lshift|rshift|getitem)"
    r"|torch\.(sym_(float|int|max|min|not|ite|sqrt)|_sym_sqrt)|math\.(trunc|ceil|floor)"
    r"|torch\.ops\.higher_order\.wrap_with_(set_grad_enabled|autocast)"
)
TREES = (None, "builtins.tuple", "builtins.list", "builtins.dict")
FUNCTIONS = re.compile(  # torch's own, and sympy's plain arithmetic
    r"FloorDiv|ModularIndexing|Where|PythonMod|Mod|CleanDiv|CeilToInt|FloorToInt|CeilDiv|LShift|RShift"
    r"|PowByNatural|FloatPow|FloatTrueDiv|IntTrueDiv|IsNonOverlappingAndDenseIndicator|TruncToFloat|TruncToInt"
    r"|RoundToInt|RoundDecimal|ToFloat|Identity|Max|Min|Integer|Float|Rational|Add|Mul|Pow|Abs|floor|ceiling"
    r"|Eq|Ne|Lt|Le|Gt|Ge|StrictLessThan|StrictGreaterThan|LessThan|GreaterThan|Equality|Unequality|And|Or|Not"
    r"|Symbol"
)
SYMBOL = re.compile(r"[suzfi]+\d+|int_oo|oo|true|false|True|False", re.ASCII)
GRAMMAR = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.operator, ast.unaryop, ast.cmpop,
    ast.boolop, ast.Load, ast.keyword,
)  # fmt: skip
LONGEST = 2000  # characters of a symbolic size
FLAGS = ("positive", "integer", "nonnegative", "real", "evaluate")


def checked_program(path: Path) -> io.BytesIO:
    """Return a clean archive with only the program, its plain weights and its constants.

    raises  InputError for pickled code, custom or opaque objects, compiled code, several programs, operators of
            other libraries, texts that torch would evaluate, members that torch.export does not write
    """
    root, members = read_members(path)
    members = {name: content for name, content in members.items() if not LEFT_OUT.fullmatch(name)}
    for name, content in members.items():
        if name.endswith((".pkl", ".pt")):
            _tensors(path, content)
        if not KEPT.fullmatch(name):
            pickled = name.startswith(("data/constants/custom_obj", "data/constants/opaque_obj"))
            refuse(
                path, f"{'pickled code' if pickled else 'a member that no plain program has'}, '{name[:60]}',"
            )
    if MODEL not in members:
        raise InputError(f"'{path.name}' is not a program of torch.export 2.8 or later; save it again")
    program = _json(path, members[MODEL])
    clean = {name: content for name, content in members.items() if not name.endswith((".json", ".pt"))}
    for folder, (table, names, legacy) in PARTS.items():
        if f"{folder}/{legacy}" in members:  # torch 2.8: read as tensors only, and rewritten
            clean[f"{folder}/{legacy}"] = _saved(path, members[f"{folder}/{legacy}"])
        elif f"{folder}/{table}" in members:
            config = _json(path, members[f"{folder}/{table}"])
            _check_table(path, config, {n.rpartition("/")[2] for n in clean if n.startswith(folder)}, names)
            clean[f"{folder}/{table}"] = json.dumps(config).encode()
    clean[MODEL] = json.dumps(_clean_program(path, program)).encode()
    clean[SAMPLES] = b""
    return write_members(root, clean)


def _json(path: Path, content: bytes) -> dict[str, Any]:
    try:
        table = json.loads(content.decode())
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InputError(f"'{path.name}' is not a model that torch can read: {error}") from error
    if not isinstance(table, dict):
        refuse(path, "JSON that is no table")
    return table


def _tensors(path: Path, content: bytes) -> Any:
    """Return the tensors of a torch file without running code; raise InputError for any other pickle."""
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True) if content else {}
    except Exception:  # of many types; all mean that these are not plain tensors
        refuse(path, "pickled code")


def _saved(path: Path, content: bytes) -> bytes:
    """Return a torch file with the named tensors of another; raise InputError for other contents."""
    tensors = _tensors(path, content)
    plain = isinstance(tensors, Mapping) and all(
        isinstance(k, str) and PLAIN.fullmatch(k) and isinstance(v, Tensor) for k, v in tensors.items()
    )
    if not plain:
        refuse(path, "something else than named tensors")
    buffer = io.BytesIO()
    torch.save(dict(tensors), buffer)
    return buffer.getvalue()


def _check_table(path: Path, table: dict[str, Any], stored: set[str], names: re.Pattern[str]) -> None:
    """Raise InputError unless every weight is stored as plain bytes under a plain name."""
    rows = table.get("config")
    if set(table) != {"config"} or not isinstance(rows, dict):
        refuse(path, "a table of tensors of another form")
    for row in rows.values():
        file = row.get("path_name") if isinstance(row, dict) else None
        if not isinstance(file, str) or row.get("use_pickle") is not False:
            refuse(path, "pickled code in a weight or constant")
        if not names.fullmatch(file) or file not in stored or not isinstance(row.get("tensor_meta"), dict):
            refuse(path, f"a weight or constant that is no plain tensor, '{file[:60]}',")
    _check(path, rows)


def _clean_program(path: Path, program: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of a program that are needed to run it, with every text checked."""
    module = program.get("graph_module")
    calls = module.get("module_call_graph") if isinstance(module, dict) else None
    if not isinstance(module, dict) or not isinstance(calls, list):
        refuse(path, "a program of another form")
    first = [call for call in calls if isinstance(call, dict) and call.get("fqn") == ""]
    module = {**module, "module_call_graph": first, "metadata": {}, "treespec_namedtuple_fields": {}}
    wanted = ("opset_version", "range_constraints", "schema_version", "verifiers")
    clean = {key: program[key] for key in wanted if key in program}
    clean |= {"graph_module": module, "guards_code": [], "torch_version": ""}
    _without_metadata(clean)
    _check(path, clean)
    return clean


def _without_metadata(value: Any) -> None:
    """Empty the metadata of all nodes, including nested graphs: stack traces with paths of the author."""
    if isinstance(value, dict):
        if "metadata" in value:
            value["metadata"] = {}
        for item in value.values():
            _without_metadata(item)
    elif isinstance(value, list):
        for item in value:
            _without_metadata(item)


def _check(path: Path, value: Any, key: str = "") -> None:
    """Raise InputError unless every key is a plain name and every text of the kind in `KINDS` of its key."""
    if isinstance(value, dict):
        for name, item in value.items():
            if not PLAIN.fullmatch(name):
                refuse(path, f"a name that is no plain name, {name!r:.60},")
            if name in ("as_custom_obj", "as_operator", "custom_obj", "token"):
                refuse(path, f"an object or operator of another library ({name})")
            _check(path, item, name)
    elif isinstance(value, list):
        for item in value:
            _check(path, item, key)
    elif isinstance(value, str) and not KINDS.get(key, _is_name)(value):
        refuse(path, f"a text that torch could run, {value!r:.60} as {key},")


def _is_name(text: str) -> bool:
    return bool(PLAIN.fullmatch(text) or NUMBER.fullmatch(text))


def _is_operator(text: str) -> bool:
    """Whether a text names an operator of torch that does not access files."""
    if OTHERS.fullmatch(text):
        return True
    match = ATEN.fullmatch(text)
    if match is None or match[1] in BANNED:
        return False
    overload = getattr(getattr(torch.ops.aten, match[1], None), match[2], None)
    schema = getattr(overload, "_schema", None)
    return isinstance(overload, torch._ops.OpOverload) and not any(
        argument.name == "filename" for argument in getattr(schema, "arguments", ())
    )


def _is_tree(text: str) -> bool:
    """Whether a text is a tree specification of tuples, lists and dictionaries with plain keys only."""
    try:
        version, tree = json.loads(text)
        return version == 1 and _plain_tree(tree)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def _plain_tree(tree: Any) -> bool:
    if set(tree) != {"type", "context", "children_spec"} or tree["type"] not in TREES:
        return False
    keys = json.loads(tree["context"]) if tree["context"] is not None else None
    plain = keys is None or (
        isinstance(keys, list) and all(isinstance(key, str) and PLAIN.fullmatch(key) for key in keys)
    )
    return plain and all(_plain_tree(child) for child in tree["children_spec"])


def _is_size(text: str) -> bool:
    """Whether a text is arithmetic on symbols and numbers with known functions, which sympy may evaluate."""
    if len(text) > LONGEST:
        return False
    try:
        return all(_is_arithmetic(node) for node in ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _is_arithmetic(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return bool(FUNCTIONS.fullmatch(node.id) or SYMBOL.fullmatch(node.id))
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return bool(SYMBOL.fullmatch(node.value))
        return node.value is None or isinstance(node.value, (bool, int, float))
    if isinstance(node, ast.Call):
        named = all(word.arg in FLAGS for word in node.keywords)
        return named and isinstance(node.func, ast.Name) and bool(FUNCTIONS.fullmatch(node.func.id))
    return isinstance(node, GRAMMAR)


KINDS: dict[str, Callable[[str], bool]] = {
    "target": _is_operator,
    "expr_str": _is_size,
    "in_spec": _is_tree,
    "out_spec": _is_tree,
    "as_string": lambda text: bool(TEXT.fullmatch(text)),
    "as_strings": lambda text: bool(TEXT.fullmatch(text)),
}
