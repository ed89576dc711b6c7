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
    """A configuration of another tool becomes a study file; a line says what did not come along.

    Example: `contrafact convert torchesegeta config.json`

    Args:
        source: torchesegeta.
        config: Its configuration (JSON).
        out: The study file; default: beside it, ending in .toml. One that exists is not written over.
        json: Print the result as JSON.
    """
    from contrafact.core import InputError
    from contrafact.io import write_atomic
    from contrafact.study import convert_torchesegeta

    _ = source  # there is one
    found = convert_torchesegeta(config)
    path = out or config.with_suffix(".toml")
    if path.exists():
        raise InputError(f"expected a new file; '{path}' exists: name another with --out")
    write_atomic(path, found.text.encode())
    lines = [f"study: {path}", *(f"left out: {note}" for note in found.notes)]
    say({"study": str(path), "left_out": found.notes}, as_json=json, lines=lines)
