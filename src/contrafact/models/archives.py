"""Model files that are zip archives, read without torch, and written again from checked members only.

Python and torch may read one archive differently (of two members with one name, zipfile reads the last and
torch the first). So torch never sees the file: it gets a new archive that holds what was checked.
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

LARGEST_COMPRESSED = 2**28  # bytes of a compressed member once it is unpacked: code, not weights
NAME = re.compile(r"[\w.\-]+(/[\w.\-]+)+", re.ASCII)


def refuse(path: Path, holds: str) -> NoReturn:
    """Raise the one error of a file that was not opened."""
    raise InputError(
        f"'{path.name}' holds {holds} and was not opened; save its state_dict as safetensors instead"
    )


def read_members(path: Path) -> tuple[str, dict[str, bytes]]:
    """Return the folder at the root of an archive, and its members by their names below it.

    raises  InputError for a file that is no archive, for two names that differ by case only or not at all,
            names with `..` or other characters than torch writes, encrypted or huge compressed members
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            root = _check_names(path, [entry.filename for entry in entries])
            for entry in entries:
                compressed = entry.compress_type != zipfile.ZIP_STORED
                if entry.flag_bits & 1 or (compressed and entry.file_size > LARGEST_COMPRESSED):
                    refuse(path, f"an encrypted or very large compressed member '{entry.filename[:60]}'")
            return root, {entry.filename[len(root) + 1 :]: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError) as error:
        raise InputError(f"'{path.name}' is not a model that torch can read: {error}") from error


def _check_names(path: Path, names: list[str]) -> str:
    """The root folder, where every name is plain and no two are alike."""
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
    """Return a new archive in memory, uncompressed, as torch reads it."""
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
# Written by torch, not needed to run a model: debugging symbols, inputs of a trace, files of the user.
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
LETTERS = re.compile(  # what a pickle of TorchScript is written in; anything else is none of torch's
    r"PROTO|STOP|EMPTY_(DICT|LIST|TUPLE|SET)|MARK|NONE|NEWTRUE|NEWFALSE|BININT[12]?|LONG1|BINFLOAT|BINUNICODE"
    r"|(LONG_)?BIN(PUT|GET)|GLOBAL|REDUCE|BUILD|TUPLE[123]?|APPENDS?|SETITEMS?|BINPERSID|NEWOBJ|(SHORT_)?BINSTRING"
)


def checked_script(path: Path) -> io.BytesIO:
    """Return a TorchScript archive that was scanned: every piece of code, and every type its data names.

    raises  InputError for operators that read or write files, for other namespaces than torch's own, for
            classes written in another language, for members that torch did not write
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
    while plain != code:  # calls within calls, from the innermost
        plain, code = code, GETATTR.sub("x", code)
    if re.search(r"\bgetattr\b", code):
        refuse(path, "a name that is computed")


def _scan_types(path: Path, content: bytes) -> None:
    """TorchScript's own unpickler calls no Python, but makes objects of the types that are named."""
    try:
        steps = [(step.name, found) for step, found, _ in pickletools.genops(content)]
    except Exception as error:  # pickletools raises many kinds for what is no pickle
        raise InputError(f"'{path.name}' is not a model that torch can read: {error}") from error
    for step, found in steps:
        if not LETTERS.fullmatch(step):
            refuse(path, f"a pickle with {step}, which no script has,")
        kind = str(found).replace(" ", ".")
        own = kind.split(".")[0] in ("__torch__", "torch", "collections") and "from_file" not in kind
        foreign = "torch.classes" in kind and not kind.startswith(QUANTIZED)
        if step == "GLOBAL" and (not own or foreign):
            refuse(path, f"an object of the class {kind[:60]}")
