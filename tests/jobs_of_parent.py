"""Tasks that never end, for workers whose parent ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contrafact.jobs.pool import run_tasks


def begin(folder: str, device: str) -> Any:
    def solve(task: Any) -> None:
        (Path(folder) / "pid").write_text(str(os.getpid()))
        while True:  # no wait that a closed pipe would end
            sum(range(10_000))

    return solve


def pool_in_a_job(folder: str) -> Iterator[str]:
    for outcome in run_tasks(["busy"], begin, folder):
        yield str(outcome)
