"""Read and check the JSON description of a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contrafact.core import InputError, nearest
from contrafact.models.json_tables import read_table

COMMENT = "//"  # keys that begin so are for people, as `contrafact init` writes them
KEYS = (
    "model",
    "factory",
    "arguments",
    "weights",
    "classes",
    "output",
    "preprocessing",
    "head",
    "tokens",
    "inputs",
)


def read_description(path: Path) -> Mapping[str, Any]:
    """Return the table of a model description, without its comments.

    raises  InputError for invalid JSON, an unknown key, or a value of the wrong type
    """
    description = read_table(path, "a model description")
    description = {key: value for key, value in description.items() if not key.startswith(COMMENT)}
    for key, value in description.items():
        if key not in KEYS:
            raise InputError(f"'{path.name}' has an unknown key '{key}'{nearest(key, KEYS)}")
        expected = _wrong(key, value)
        if expected:
            raise InputError(f"'{key}' in '{path.name}' must be {expected}; got {value!r:.60}")
    return description


def _wrong(key: str, value: Any) -> str:
    """Return the expected type in words if the value is of another type, else an empty text."""
    if key == "classes" and not _list_of(value, str):
        return "a list of names"
    if key == "tokens" and not _list_of(value, int):
        return "a list of whole numbers"
    if key == "output" and not isinstance(value, str):
        return "text, such as logits"
    if key == "head" and (not isinstance(value, (int, str, type(None))) or isinstance(value, bool)):
        return "the index or the name of an output"
    if key in ("preprocessing", "arguments", "inputs") and not isinstance(value, dict):
        return "a table"
    return ""


def _list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(v, kind) and not isinstance(v, bool) for v in value)
