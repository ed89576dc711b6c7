"""Jobs for a process of their own; importing them imports nothing heavy."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def no_job(path: str) -> Iterator[dict[str, Any]]:
    yield {"done": 1, "total": 1, "text": path, "error": ""}


def slow_job(path: str) -> Iterator[dict[str, Any]]:
    """Three quick rows, one of them failed, then one that never ends."""
    for done in range(1, 4):
        yield {"done": done, "total": 9, "text": f"row {done}", "error": "no" if done == 2 else ""}
    try:
        time.sleep(600)
    finally:
        Path(path).with_suffix(".ended").touch()
        yield {}


def failing_job(path: str) -> Iterator[dict[str, Any]]:
    yield {"done": 1, "total": 2, "text": "row", "error": ""}
    raise ValueError("the disk\nis full")


def dying_job(path: str) -> Iterator[dict[str, Any]]:
    yield {"done": 1, "total": 2, "text": "row", "error": ""}
    os._exit(7)
