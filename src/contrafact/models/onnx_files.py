"""External data of an ONNX file, found in its bytes: files that a model may not name outside its folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from contrafact.core import InputError, inside

# Field numbers of onnx.proto that lead to tensors: message -> {field: message}.
FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external"},
}
DEEPEST = 64  # graphs within graphs


def check_onnx(path: Path, content: bytes) -> None:
    """Raise InputError for a file whose tensors lie outside its folder, or that is no ONNX."""
    try:
        for name in external_files(content):
            inside(path.parent, name, what=f"the external data of '{path.name}'")
    except (IndexError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"'{path.name}' is not a readable ONNX model: {error}") from error


def external_files(content: bytes) -> set[str]:
    """Return the files that a model's tensors name as their `location`."""
    return set(_walk(memoryview(content), "model", 0))


def _walk(content: memoryview, kind: str, depth: int) -> Iterator[str]:
    if depth > DEEPEST:
        raise RecursionError("its graphs lie too deep in each other")
    for number, part in _fields(content):
        inner = FIELDS[kind].get(number)
        if inner == "external":
            pair = {n: bytes(text).decode() for n, text in _fields(part) if n in (1, 2)}
            if pair.get(1) == "location":
                yield pair.get(2, "")
        elif inner is not None:
            yield from _walk(part, inner, depth + 1)


def _fields(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Numbers and contents of a message's fields that have a length; others are passed over."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        wire = key & 7
        if wire == 2:
            size, at = _varint(content, at)
            if at + size > len(content):
                raise IndexError("it ends too early")
            yield key >> 3, content[at : at + size]
            at += size
        elif wire == 0:
            _, at = _varint(content, at)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise IndexError(f"a field of the unknown kind {wire}")


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise IndexError("a number that is too long")
