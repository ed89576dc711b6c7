"""Tensors on disk: safetensors beside a JSON that says what they are. Never a pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contrafact.core import InputError


def write_atomic(path: Path, content: bytes) -> None:
    """Write beside, flush to the disk, rename: a reader sees the old file or the new, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    write_atomic(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    if not path.exists():
        raise InputError(f"expected '{path.name}' in '{path.parent}'; it is not there")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise InputError(f"'{path}' is not readable JSON: too many brackets inside each other") from error
    except (ValueError, OSError) as error:
        raise InputError(f"'{path}' is not readable JSON: {error}") from error


def write_tensors(path: Path, tensors: Mapping[str, Any], *, about: Mapping[str, str] | None = None) -> None:
    """Contiguous tensors to a safetensors file, atomically."""
    from safetensors.torch import save

    content = save({k: v.contiguous() for k, v in tensors.items()}, metadata=dict(about or {}))
    write_atomic(path, content)


def read_tensors(path: Path) -> dict[str, Any]:
    """Tensors of a safetensors file; anything else is refused in one line."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.exists():
        raise InputError(f"expected weights at '{path}'; the file does not exist")
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"'{path.name}' is not a safetensors file ({error}); other kinds are never opened"
        ) from error
