"""Run a command in a process group of its own, and end the group by SIGKILL at a chosen moment."""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WAIT = 300.0  # seconds until a run counts as hanging
KILLED = -signal.SIGKILL
CHANGES = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")  # audit events
WRITES = os.O_WRONLY | os.O_RDWR


@dataclass(frozen=True, slots=True)
class Moment:
    """When a command is ended: after so much processor time, or before a change of a file of its folder.

    cpu     seconds, of all processes of the group; None: not by time
    change  number of the change, from 1: opened to write, renamed, removed, a folder made; None: not by changes
    """

    cpu: float | None = None
    change: int | None = None


NEVER = Moment()


def command(words: list[str], folder: str, change: int | None) -> None:
    """Run a command line in this process, as the leader of a group; what it prints, and how often it changed
    a file of the folder, is kept beside it."""
    os.setsid()
    out = os.open(f"{folder}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    seen = 0

    def notice(event: str, given: tuple[Any, ...]) -> None:
        nonlocal seen
        if event not in CHANGES or not str(given[0]).startswith(f"{folder}/"):
            return
        if event == "open" and not given[2] & WRITES:
            return
        seen += 1
        if seen == change:
            os.killpg(0, signal.SIGKILL)

    sys.addaudithook(notice)
    from contrafact.cli import main as run

    code = run(words)
    os.write(out, f"\n{seen} changes\n".encode())
    sys.exit(code)


def start(words: list[str], folder: Path, change: int | None = None) -> Any:
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["experiments.evaluate.fuzz_files", "contrafact.cli"])
    process = context.Process(target=command, args=(words, str(folder), change))
    process.start()
    return process


def log_of(folder: Path) -> str:
    """What the commands on a folder printed."""
    log = Path(f"{folder}.log")
    return log.read_text() if log.exists() else ""


def cpu_of(group: int) -> float:
    """Return the processor time of the processes of a group, in seconds."""
    total = 0.0
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                if int((place / "stat").read_text().rsplit(")", 1)[1].split()[2]) == group:
                    total += int((place / "schedstat").read_text().split()[0]) / 1e9
    return total


def run_until(words: list[str], folder: Path, moment: Moment = NEVER) -> tuple[float, bool]:
    """Run a command to its end, or to the moment; return its processor time, and whether it was killed.

    raises  RuntimeError for a command that ends by itself with an error, or never
    """
    process, began, took = start(words, folder, moment.change), time.monotonic(), 0.0
    while process.is_alive():
        took = max(took, cpu_of(process.pid))
        if moment.cpu is not None and took >= moment.cpu:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.join()
            break
        if time.monotonic() - began > WAIT:
            process.kill()
            raise RuntimeError(f"{words[0]} hangs")
        process.join(0.01)
    if process.exitcode == KILLED and moment is not NEVER:
        return took, True
    if process.exitcode:
        raise RuntimeError(f"{words[0]} ended with {process.exitcode}: {log_of(folder)[-500:]}")
    return took, False


def changes_of(folder: Path) -> int:
    """How often the last command on a folder changed a file of it."""
    return int(log_of(folder).rsplit("\n", 2)[-2].split()[0])
