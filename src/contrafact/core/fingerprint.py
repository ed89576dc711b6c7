"""Digests: short texts that identify values."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from contrafact.core.trust import is_there


def fingerprint(*parts: Any) -> str:
    """Return the first 16 hex digits of the SHA-256 of plain values.

    parts   None, bool, numbers, text, bytes, arrays, dataclasses, and lists, tuples, sets and mappings of them.
            Type and length count: ("ab", "c") differs from ("a", "bc"), 1 from "1"
    raises  TypeError for any other value (its text could contain a memory address)
    """
    total = hashlib.sha256()
    _add(total, parts)
    return total.hexdigest()[:16]


def digest_of_path(path: Path) -> str:
    """Return the digest of a file, or of all files of a folder with their names; "missing" if absent."""
    if not is_there(path):
        return "missing"
    if path.is_file():
        return fingerprint(path.read_bytes())
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    return fingerprint([(str(f.relative_to(path)), fingerprint(f.read_bytes())) for f in files])


def _add(total: Any, value: Any) -> None:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, complex, str)):
        _piece(total, type(value).__name__, repr(value).encode("utf-8", "surrogatepass"))
    elif isinstance(value, (bytes, bytearray, memoryview)):
        _piece(total, "bytes", value)
    elif isinstance(value, np.ndarray):
        flat = np.ascontiguousarray(value).reshape(-1)
        _piece(total, f"array {value.dtype.str} {value.shape}", flat.view(np.uint8).data if flat.size else b"")
    elif isinstance(value, Mapping):
        _many(total, "mapping", sorted(((str(k), v) for k, v in value.items()), key=lambda pair: pair[0]))
    elif isinstance(value, (list, tuple)):
        _many(total, "list", value)
    elif isinstance(value, (set, frozenset)):
        _many(total, "set", sorted(value, key=repr))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
        _many(total, type(value).__qualname__, named)
    else:
        raise TypeError(f"expected a plain value to digest; got {type(value).__name__}")


def _piece(total: Any, kind: str, content: Any) -> None:
    total.update(f"{kind} {len(content)}:".encode())
    total.update(content)


def _many(total: Any, kind: str, values: Any) -> None:
    total.update(f"{kind} {len(values)}:".encode())
    for value in values:
        _add(total, value)
