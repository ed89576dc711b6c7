"""Write and read safetensors and JSON files, atomically and without pickles."""

from __future__ import annotations

import glob
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contrafact.core import InputError, check_file
from contrafact.core.reading import one_line, reading


def write_atomic(path: Path, content: bytes, *, shared: bool = False) -> None:
    """Write to a temporary file, flush, and rename: a reader sees the old file or the new, never a part.

    shared  other processes may write the same file meanwhile: the temporary file has a name of its own
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path) if shared else path.with_name(path.name + ".part")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except FileNotFoundError:
        if not (shared and path.exists()):  # another writer of the same file was first, and tidied
            raise
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    if shared:
        for left in path.parent.glob(f"{glob.escape(path.name)}.*.part"):  # of a process that was killed
            left.unlink(missing_ok=True)


def linked_or_copied(source: Path, path: Path) -> None:
    """Put a file that does not change any more at a second path, as a link where the file system has links."""
    beside = _beside(path)  # of no other writer, which would write through the link
    try:
        try:
            os.link(source, beside)
        except OSError:  # another disk, or a file system without links
            shutil.copy2(source, beside)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _beside(path: Path) -> Path:
    """Return the path of a temporary file that no other writer uses."""
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")


def write_json(path: Path, value: Any, *, shared: bool = False) -> None:
    """Write a value as JSON, as `write_atomic`."""
    write_atomic(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode(), shared=shared)


def read_json(path: Path) -> Any:
    """Return the value of a JSON file; raise InputError if it is missing or unreadable."""
    check_file(path, "a JSON file")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise InputError(f"'{path}' is not readable JSON: brackets nested too deeply") from error
    except (ValueError, OSError) as error:
        raise InputError(f"'{path}' is not readable JSON: {one_line(error)}") from error


def write_tensors(path: Path, tensors: Mapping[str, Any], *, about: Mapping[str, str] | None = None) -> None:
    """Write tensors to a safetensors file, atomically; `about` is its metadata."""
    from safetensors.torch import save

    content = save({k: v.contiguous() for k, v in tensors.items()}, metadata=dict(about or {}))
    write_atomic(path, content)


def read_tensors(path: Path) -> dict[str, Any]:
    """Return the tensors of a safetensors file; raise InputError for any other file."""
    from safetensors.torch import load_file

    check_file(path, "weights")
    with reading(path, "a safetensors file (other formats are never opened)"):
        return dict(load_file(path))
