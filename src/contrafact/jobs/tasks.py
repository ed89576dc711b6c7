"""One task of a pool: how it is solved, and its outcome or failure."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Solve = Callable[[Any], Any]
Start = Callable[[Any, str], Solve]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task has no result. kind: error, limit (stopped after its time limit) or died (the process did)."""

    kind: str
    error: str
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One finished task: its number, its result or `Failure`, and its time."""

    number: int
    result: Any
    seconds: float


def solved(solve: Solve, task: Any) -> Any:
    """Return the result of one task, or a `Failure`."""
    try:
        return solve(task)
    except Exception as error:  # a failure of any kind becomes a row
        return Failure("error", " ".join(str(error).split()) or type(error).__name__, traceback.format_exc())
