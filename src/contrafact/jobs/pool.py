"""A pool of child processes that solves tasks of any kind, with a time limit for each.

A method that hangs inside a library cannot be interrupted: its process is ended, and a new one continues with
the next task.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from contrafact.core import ContrafactError
from contrafact.jobs.on_ray import run_on_ray
from contrafact.jobs.parent import end_with_parent
from contrafact.jobs.tasks import Failure, Outcome, Solve, Start, solved

ENGINES = ("processes", "local", "ray")


def run_tasks(
    tasks: Sequence[Any],
    start: Start,
    setting: Any,
    *,
    devices: Sequence[str] = ("cpu",),
    limit_seconds: float | None = None,
    engine: str = "processes",
    address: str | None = None,
) -> Iterator[Outcome]:
    """Yield outcomes as tasks finish; the result of a task that fails is a `Failure`, and the others continue.

    tasks    the tasks
    start    (setting, device) -> solve, called once in every process; `solve` returns the result of a task
    setting  first argument of `start`; `start`, setting and tasks must be picklable
    devices  one process per entry; a device may occur several times
    limit_seconds  time limit of one task
    engine   processes, or local: in this process, without a limit, or ray (`jobs/on_ray.py`)
    address  of a Ray cluster
    raises   ContrafactError if no worker can start (the model does not load)
    """
    if engine == "ray":
        where: dict[str, Any] = {"devices": devices, "limit_seconds": limit_seconds, "address": address}
        yield from run_on_ray(tasks, start, setting, **where)
        return
    if engine == "local":
        yield from _locally(tasks, start(setting, devices[0]))
        return
    pending = deque(range(len(tasks)))
    workers = [Worker(start, setting, device) for device in list(devices)[: max(1, len(tasks))]]
    try:
        while pending or any(worker.number is not None for worker in workers):
            for worker in workers:
                if worker.number is None and pending and worker.ready:
                    worker.give(pending.popleft(), tasks)
            yield from _collect(workers, limit_seconds)
            if not any(worker.alive for worker in workers):
                raise ContrafactError(f"no worker could start: {workers[0].failure.error}")
    finally:
        for worker in workers:
            worker.stop()


def _locally(tasks: Sequence[Any], solve: Solve) -> Iterator[Outcome]:
    for number, task in enumerate(tasks):
        began = time.monotonic()
        yield Outcome(number, solved(solve, task), time.monotonic() - began)


def _collect(workers: Sequence[Worker], limit: float | None) -> Iterator[Outcome]:
    """Yield outcomes that arrive within 0.1 s; restart workers that died or exceeded the time limit."""
    pipes = {worker.door: worker for worker in workers if worker.alive}
    for pipe in wait(list(pipes), timeout=0.1):
        worker = pipes[pipe]  # type: ignore[index]
        number, seconds = worker.number, worker.seconds
        try:
            message = worker.door.recv()
        except (EOFError, ConnectionResetError):
            code = worker.end()
            failure = Failure("died", f"the worker process died (exit code {code}); out of memory?")
            if number is None:
                worker.failure = failure  # before its first task: a new worker would die as well
            else:
                worker.begin()
                yield Outcome(number, failure, seconds)
            continue
        if number is None:
            worker.greeted(message)
            continue
        worker.number = None
        yield Outcome(number, message, seconds)
    for worker in workers:
        if limit is None or worker.number is None or worker.seconds <= limit:
            continue
        if not worker.door.poll():  # a result that has just arrived is collected next time
            number, seconds = worker.number, worker.seconds
            worker.end()
            worker.begin()
            yield Outcome(number, Failure("limit", f"stopped after its limit of {limit:g} s"), seconds)


class Worker:
    """One child process and the pipe (`door`) to it.

    life  main function of the process: (door, start, setting, device); its first message is "ready" or
          a `Failure`
    """

    def __init__(
        self, start: Start, setting: Any, device: str, life: Callable[..., None] | None = None
    ) -> None:
        self._about, self._life = (start, setting, device), life or _serve
        self.failure = Failure("died", "no worker process could start")
        self.begin()

    def begin(self) -> None:
        """Start the process."""
        context = multiprocessing.get_context("spawn")  # a fork would copy locks of torch's threads
        self.door, inner = context.Pipe()
        self._process = context.Process(target=_begin, args=(self._life, inner, *self._about), daemon=True)
        self._process.start()
        inner.close()
        self.number: int | None = None
        self.ready, self.alive, self._since = False, True, 0.0

    @property
    def seconds(self) -> float:
        """Time since the current task was sent."""
        return time.monotonic() - self._since

    def greeted(self, word: Any) -> None:
        """Handle the first message: the worker is ready, or it failed to start."""
        if isinstance(word, Failure):
            self.failure = word
            self.end()
        else:
            self.ready = True

    def give(self, number: int, tasks: Sequence[Any]) -> None:
        """Send task `number` to the process."""
        self.number, self._since = number, time.monotonic()
        with contextlib.suppress(OSError):  # `_collect` detects a process that has died
            self.door.send(tasks[number])

    def end(self) -> int | None:
        """End the process and return its exit code."""
        self.alive, self.ready, self.number = False, False, None
        self._process.terminate()
        self._process.join(2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.door.close()
        return self._process.exitcode

    def stop(self) -> None:
        """End the process if it runs."""
        if self.alive:
            self.end()


def _begin(life: Callable[..., None], door: Connection, *about: Any) -> None:
    """Run in the child process, until the parent ends it or ends itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all; the parent ends this process
    end_with_parent()
    with contextlib.suppress(BrokenPipeError):  # the parent has just ended
        life(door, *about)


def _serve(door: Connection, start: Start, setting: Any, device: str) -> None:
    """Run in the child process: call `start`, report ready, then solve one task after another."""
    try:
        solve = start(setting, device)
    except Exception as error:  # sent to the parent, which shows it
        door.send(Failure("error", " ".join(str(error).split()), traceback.format_exc()))
        return
    door.send("ready")
    while True:
        try:
            task = door.recv()
        except EOFError:
            return
        door.send(solved(solve, task))
