"""Check that an ONNX file names no external data outside its folder, by parsing its bytes."""

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
DEEPEST = 64  # greatest depth of nested graphs


def check_onnx(path: Path, content: bytes) -> None:
    """Raise InputError if tensors of the file lie outside its folder, or if it is not ONNX."""
    try:
        for name in external_files(content):
            inside(path.parent, name, what=f"the external data of '{path.name}'")
    except (IndexError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"'{path.name}' is not a readable ONNX model: {error}") from error


def external_files(content: bytes) -> set[str]:
    """Return the files that a model's tensors name as their `location`."""
    return set(_locations(memoryview(content), "model", 0))


def _locations(content: memoryview, kind: str, depth: int) -> Iterator[str]:
    if depth > DEEPEST:
        raise RecursionError("its graphs are nested too deeply")
    for number, part in _fields(content):
        inner = FIELDS[kind].get(number)
        if inner == "external":
            pair = {n: bytes(text).decode() for n, text in _fields(part) if n in (1, 2)}
            if pair.get(1) == "location":
                yield pair.get(2, "")
        elif inner is not None:
            yield from _locations(part, inner, depth + 1)


def _fields(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and content of the length-delimited fields of a protobuf message; skip the others."""
    position = 0
    while position < len(content):
        key, position = _varint(content, position)
        wire = key & 7
        if wire == 2:
            size, position = _varint(content, position)
            if position + size > len(content):
                raise IndexError("it ends too early")
            yield key >> 3, content[position : position + size]
            position += size
        elif wire == 0:
            _, position = _varint(content, position)
        elif wire in (1, 5):
            position += 8 if wire == 1 else 4
        else:
            raise IndexError(f"a field of unknown wire type {wire}")


def _varint(content: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise IndexError("a number is too long")
