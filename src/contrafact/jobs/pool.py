"""Cells of a study, one after another or in processes that can be killed.

A method that hangs inside a library cannot be asked to stop: its process is ended, and another goes on
with the next cell. Nothing here knows what a cell is.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from contrafact.core import ContrafactError

ENGINES = ("processes", "local")

Solve = Callable[[Any], Any]
Start = Callable[[Any, str], Solve]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a cell has no result. kind: error, limit (stopped after its time) or died (its process did)."""

    kind: str
    error: str
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One finished cell: its number, what it gave, or why it gave nothing."""

    number: int
    result: Any
    seconds: float


def run_cells(
    cells: Sequence[Any],
    start: Start,
    setting: Any,
    *,
    devices: Sequence[str] = ("cpu",),
    limit_seconds: float | None = None,
    engine: str = "processes",
) -> Iterator[Outcome]:
    """Outcomes as they come; a cell that fails is a `Failure`, and the others go on.

    raises   ContrafactError when no worker can start (the model does not load): that is no cell's failure

    start    (setting, device) -> solve, called once in every process; both must be importable
    devices  one process for each entry; a device may be named more than once
    engine   processes, or local: in this process, without a limit
    """
    if engine == "local":
        yield from _locally(cells, start(setting, devices[0]))
        return
    pending = deque(range(len(cells)))
    workers = [Worker(start, setting, device) for device in list(devices)[: max(1, len(cells))]]
    try:
        while pending or any(worker.number is not None for worker in workers):
            for worker in workers:
                if worker.number is None and pending and worker.ready:
                    worker.give(pending.popleft(), cells)
            yield from _collect(workers, limit_seconds)
            if not any(worker.alive for worker in workers):
                raise ContrafactError(f"no worker could start: {workers[0].failure.error}")
    finally:
        for worker in workers:
            worker.stop()


def _locally(cells: Sequence[Any], solve: Solve) -> Iterator[Outcome]:
    for number, cell in enumerate(cells):
        began = time.monotonic()
        yield Outcome(number, solved(solve, cell), time.monotonic() - began)


def solved(solve: Solve, cell: Any) -> Any:
    try:
        return solve(cell)
    except Exception as error:  # the one place where any method's failure becomes a row
        return Failure("error", " ".join(str(error).split()) or type(error).__name__, traceback.format_exc())


def _collect(workers: Sequence[Worker], limit: float | None) -> Iterator[Outcome]:
    """What came within a moment; workers past their limit are ended and begun anew."""
    doors = {worker.door: worker for worker in workers if worker.alive}
    for door in wait(list(doors), timeout=0.1):
        worker = doors[door]  # type: ignore[index]
        number, seconds = worker.number, worker.seconds
        try:
            found = worker.door.recv()
        except (EOFError, ConnectionResetError):
            code = worker.end()
            failure = Failure("died", f"the worker process died (exit code {code}); out of memory?")
            if number is None:
                worker.failure = failure  # before its first cell: another would die as well
            else:
                worker.begin()
                yield Outcome(number, failure, seconds)
            continue
        if number is None:
            worker.greeted(found)
            continue
        worker.number = None
        yield Outcome(number, found, seconds)
    for worker in workers:
        if limit is None or worker.number is None or worker.seconds <= limit:
            continue
        if not worker.door.poll():  # what has just come is collected, not thrown away
            number, seconds = worker.number, worker.seconds
            worker.end()
            worker.begin()
            yield Outcome(number, Failure("limit", f"stopped after its limit of {limit:g} s"), seconds)


class Worker:
    """One process and the pipe to it.

    life  what the process does: (door, start, setting, device); the first word it sends is a greeting
    """

    def __init__(
        self, start: Start, setting: Any, device: str, life: Callable[..., None] | None = None
    ) -> None:
        self._about, self._life = (start, setting, device), life or _serve
        self.failure = Failure("died", "no worker process could start")
        self.begin()

    def begin(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy locks of torch's threads
        self.door, inner = context.Pipe()
        self._process = context.Process(target=self._life, args=(inner, *self._about), daemon=True)
        self._process.start()
        inner.close()
        self.number: int | None = None
        self.ready, self.alive, self._since = False, True, 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._since

    def greeted(self, word: Any) -> None:
        if isinstance(word, Failure):
            self.failure = word
            self.end()
        else:
            self.ready = True

    def give(self, number: int, cells: Sequence[Any]) -> None:
        self.number, self._since = number, time.monotonic()
        with contextlib.suppress(OSError):  # a process that died meanwhile is found by `_collect`
            self.door.send(cells[number])

    def end(self) -> int | None:
        self.alive, self.ready, self.number = False, False, None
        self._process.terminate()
        self._process.join(2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.door.close()
        return self._process.exitcode

    def stop(self) -> None:
        if self.alive:
            self.end()


def _serve(door: Connection, start: Start, setting: Any, device: str) -> None:
    """The life of a worker: begin, say so, answer cell after cell."""
    try:
        solve = start(setting, device)
    except Exception as error:  # said to the parent, which tells the user
        door.send(Failure("error", " ".join(str(error).split()), traceback.format_exc()))
        return
    door.send("ready")
    while True:
        try:
            cell = door.recv()
        except (EOFError, KeyboardInterrupt):
            return
        door.send(solved(solve, cell))
