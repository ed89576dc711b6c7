"""JSON files of model formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from contrafact.core import InputError
from contrafact.core.reading import one_line


def read_table(path: Path, what: str) -> dict[str, Any]:
    """Return the table of a JSON file; raise InputError for any other content.

    what  the table in words, for the error ("a model description")
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise InputError(f"'{path.name}' is not JSON: brackets nested too deeply") from error
    except (ValueError, OSError) as error:
        raise InputError(f"'{path.name}' is not JSON: {one_line(error)}") from error
    if not isinstance(table, dict):
        raise InputError(f"expected {what} in '{path.name}'; got {type(table).__name__}")
    return table


def numbers_of(value: Any, count: int | None = None) -> tuple[float, ...] | None:
    """Return a list of numbers as a tuple; None for anything else, or another count of them."""
    if not isinstance(value, list) or (count is not None and len(value) != count):
        return None
    plain = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)
    return tuple(float(v) for v in value) if plain and value else None
