"""`contrafact convert`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from contrafact.cli.progress import say

Flag = Annotated[bool, Parameter(negative="")]


def convert(
    source: Literal["torchesegeta"], config: Path, *, out: Path | None = None, json: Flag = False
) -> None:
    """Convert a configuration of another tool to a study file, and list the settings that are left out.

    Example: `contrafact convert torchesegeta config.json`

    Args:
        source: torchesegeta.
        config: Configuration of that tool (JSON).
        out: The study file; default: next to it, with the suffix .toml. An existing file is never overwritten.
        json: Print the result as JSON.
    """
    from contrafact.core import InputError
    from contrafact.io import write_atomic
    from contrafact.study import convert_torchesegeta

    _ = source  # only one source exists
    converted = convert_torchesegeta(config)
    path = out or config.with_suffix(".toml")
    if path.exists():
        raise InputError(f"expected a new file; '{path}' exists: choose another with --out")
    write_atomic(path, converted.text.encode())
    lines = [f"study: {path}", *(f"left out: {note}" for note in converted.notes)]
    say({"study": str(path), "left_out": converted.notes}, as_json=json, lines=lines)
