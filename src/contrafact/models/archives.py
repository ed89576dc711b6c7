"""Read model files that are zip archives without torch, and rewrite them from checked members only.

Python and torch may read one archive differently (of two members with one name, zipfile reads the last and
torch the first). So torch never opens the file itself, only a new archive of the checked members.
"""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from contrafact.core import InputError
from contrafact.core.reading import reading

LARGEST_COMPRESSED = 2**28  # uncompressed bytes of compressed members, which hold code, not weights
NAME = re.compile(r"[\w.\-]+(/[\w.\-]+)+", re.ASCII)


def refuse(path: Path, holds: str) -> NoReturn:
    """Raise InputError for a file that was not opened; `holds` states what it contains."""
    raise InputError(
        f"'{path.name}' holds {holds} and was not opened; save its state_dict as safetensors instead"
    )


def read_members(path: Path) -> tuple[str, dict[str, bytes]]:
    """Return the root folder of an archive, and the contents of its members by name below it.

    raises  InputError for a file that is not an archive, names that are equal up to case, names with `..` or
            characters that torch does not write, encrypted or very large compressed members
    """
    with reading(path, "a model that torch can read"), zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        root = _check_names(path, [entry.filename for entry in entries])
        _check_entries(path, entries)
        return root, {entry.filename[len(root) + 1 :]: _read(path, archive, entry) for entry in entries}


def _read(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Return a member, unpacked no further than it declares."""
    with archive.open(entry) as file:
        content = file.read(entry.file_size + 1)
    if len(content) != entry.file_size:
        refuse(path, f"a member of another size than it declares, '{entry.filename[:60]}',")
    return content


def check_unpacked(path: Path) -> None:
    """Raise InputError for an archive whose members are encrypted or unpack to too much: torch unpacks them as
    they are."""
    if zipfile.is_zipfile(path):
        with reading(path, "a model that torch can read"), zipfile.ZipFile(path) as archive:
            _check_entries(path, archive.infolist())


def _check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    packed = [entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    if any(entry.compress_type != zipfile.ZIP_DEFLATED for entry in packed):
        refuse(path, "members in a compression that torch does not write")
    stored = sum(entry.file_size for entry in entries if entry.compress_type == zipfile.ZIP_STORED)
    if sum(entry.file_size for entry in packed) > LARGEST_COMPRESSED:
        refuse(path, "compressed members that unpack to too much")
    if any(entry.flag_bits & 1 for entry in entries) or stored > path.stat().st_size:
        refuse(path, "encrypted members, or several in one place,")


def _check_names(path: Path, names: list[str]) -> str:
    """Return the root folder; raise InputError for names that are not plain, or equal up to case."""
    seen: set[str] = set()
    for name in names:
        parts = name.split("/")
        if not NAME.fullmatch(name) or ".." in parts or "." in parts:
            refuse(path, f"a member with the name {name!r:.60}")
        if name.casefold() in seen:
            refuse(path, f"two members with the name '{name[:60]}'")
        seen.add(name.casefold())
    roots = {name.split("/")[0] for name in names}
    if len(roots) != 1:
        refuse(path, f"{len(roots)} folders at its root, where a model has one,")
    return roots.pop()


def write_members(root: str, members: Mapping[str, bytes]) -> io.BytesIO:
    """Return a new uncompressed archive in memory, as torch reads it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(f"{root}/{name}", content)
    buffer.seek(0)
    return buffer


# TorchScript --------------------------------------------------------------------------------------------

KEPT = re.compile(
    r"version|byteorder|\.data/\w+|data\.pkl|constants\.pkl|(data|constants)/\d+|code/[\w/]+\.py", re.ASCII
)
# Written by torch but not needed to run a model: debug symbols, traced inputs, user files.
LEFT_OUT = re.compile(r"code/[\w/]+\.py\.debug_pkl|traced_inputs(\.pkl|/\d+)|extra/.*", re.ASCII)
SPACES = ("aten", "prim", "prims", "quantized", "torchvision")
QUANTIZED = "__torch__.torch.classes.quantized."
BANNED = (
    (re.compile(r"\bfrom_file\b"), "from_file, which reads and overwrites files,"),
    (re.compile(r"\bsave\b"), "save, which writes files,"),
    (re.compile(rf"(?<![\w.])ops\b(?!\.(?:{'|'.join(SPACES)})\.\w)"), "operators of another library"),
    (re.compile(r"(?<![\w.])torch\b(?!\.\w)"), "'torch' under another name"),
    (
        re.compile(r"torch\s*\.\s*(?:ops|_ops|classes)\b(?!\.quantized\.)"),
        "a class or operator of another library",
    ),
    (re.compile(r"\0"), "a zero byte in its code"),
)
GETATTR = re.compile(r"getattr\((?!torch\b|ops\b)[\w.]+, \"\w+\"\)", re.ASCII)
LETTERS = re.compile(  # pickle opcodes that TorchScript uses; a file with others is not written by torch
    r"PROTO|STOP|EMPTY_(DICT|LIST|TUPLE|SET)|MARK|NONE|NEWTRUE|NEWFALSE|BININT[12]?|LONG1|BINFLOAT|BINUNICODE"
    r"|(LONG_)?BIN(PUT|GET)|GLOBAL|REDUCE|BUILD|TUPLE[123]?|APPENDS?|SETITEMS?|BINPERSID|NEWOBJ|(SHORT_)?BINSTRING"
)


def checked_script(path: Path) -> io.BytesIO:
    """Return a rewritten TorchScript archive after scanning all code and all types that its data names.

    raises  InputError for operators that access files, namespaces and classes of other libraries, and members
            that torch does not write
    """
    root, members = read_members(path)
    if "constants.pkl" not in members or "data.pkl" not in members:
        refuse(path, "pickled code")
    kept = {}
    for name, content in members.items():
        if LEFT_OUT.fullmatch(name):
            continue
        if not KEPT.fullmatch(name):
            refuse(path, f"a member that is no part of a script, '{name[:60]}',")
        if name.endswith(".py"):
            _scan_code(path, content)
        elif name.endswith(".pkl"):
            _scan_types(path, content)
        kept[name] = content
    return write_members(root, kept)


def _scan_code(path: Path, content: bytes) -> None:
    try:
        code = content.decode()
    except UnicodeDecodeError:
        refuse(path, "code that is no text")
    for pattern, holds in BANNED:
        if pattern.search(code):
            refuse(path, holds)
    plain = None
    while plain != code:  # nested calls, innermost first
        plain, code = code, GETATTR.sub("x", code)
    if re.search(r"\bgetattr\b", code):
        refuse(path, "a name that is computed")


def _scan_types(path: Path, content: bytes) -> None:
    """Check the types that a pickle names: TorchScript's unpickler runs no Python, but instantiates them."""
    try:
        steps = [(step.name, argument) for step, argument, _ in pickletools.genops(content)]
    except Exception as error:  # pickletools raises many types for an invalid pickle
        raise InputError(f"'{path.name}' is not a model that torch can read: {error}") from error
    for step, argument in steps:
        if not LETTERS.fullmatch(step):
            refuse(path, f"a pickle with {step}, which no script has,")
        kind = str(argument).replace(" ", ".")
        own = kind.split(".")[0] in ("__torch__", "torch", "collections") and "from_file" not in kind
        foreign = "torch.classes" in kind and not kind.startswith(QUANTIZED)
        if step == "GLOBAL" and (not own or foreign):
            refuse(path, f"an object of the class {kind[:60]}")
