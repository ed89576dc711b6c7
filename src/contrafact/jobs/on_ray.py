"""The tasks of `run_tasks` on Ray: actors on one machine or a cluster, each with its models loaded once.

An actor that dies, with its machine or alone, is replaced, and its task runs again on another, twice at most.
The results come back to the process that started, which alone writes the run folder. Files that tasks name must
be readable under the same path on every machine.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import socket
import time
import traceback
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from contrafact.core import ContrafactError, InputError
from contrafact.jobs.tasks import Failure, Outcome, Start, solved

AGAIN = 2  # how often a task runs again whose actor died


class Solver:
    """The actor: it solves one task after another."""

    def __init__(self, start: Start, setting: Any, device: str) -> None:
        try:
            self.solve: Any = start(setting, device)
            self.failure: Failure | None = None
        except Exception as error:  # told by `ready`; an actor that raises here has lost its message
            self.failure = Failure("error", " ".join(str(error).split()), traceback.format_exc())

    def ready(self) -> Failure | None:
        """Return why the actor cannot work, or None."""
        return self.failure

    def run(self, task: Any) -> Any:
        """Return the result of a task, or a `Failure`."""
        return solved(self.solve, task)


@dataclass
class _Actors:
    """The actors of a run, and what each of them is at."""

    ray: Any
    about: tuple[Any, Any]  # start, and the setting in the object store
    starting: dict[Any, tuple[Any, str]] = field(default_factory=dict)  # its first answer -> actor, device
    idle: list[tuple[Any, str]] = field(default_factory=list)
    busy: dict[Any, tuple[Any, str, int, float]] = field(default_factory=dict)  # -> actor, device, task, since
    failure: Failure = field(default_factory=lambda: Failure("died", "no actor could start"))

    def begin(self, device: str) -> None:
        """Start an actor; one of a GPU has it alone."""
        wanted = {"num_cpus": 1, "num_gpus": 1 if device.startswith("cuda") else 0}
        # Ray shows each actor its own GPU as the first.
        own = "cuda" if device.startswith("cuda") else device
        actor = self.ray.remote(Solver).options(**wanted).remote(*self.about, own)
        self.starting[actor.ready.remote()] = (actor, device)

    def end(self, actor: Any) -> None:
        """End an actor, and the task that it is at."""
        with contextlib.suppress(Exception):  # it is gone already
            self.ray.kill(actor)

    def stop(self) -> None:
        """End all of them."""
        for actor, *_ in (*self.starting.values(), *self.idle, *self.busy.values()):
            self.end(actor)


def run_on_ray(
    tasks: Sequence[Any],
    start: Start,
    setting: Any,
    *,
    devices: Sequence[str],
    limit_seconds: float | None = None,
    address: str | None = None,
) -> Iterator[Outcome]:
    """Yield outcomes as tasks finish, as `run_tasks` does.

    devices  one actor per entry
    address  of a running cluster ("auto", "ray://HOST:10001"); None: a local one, ended afterwards
    raises   InputError where Ray is not installed, or nothing answers at the address; ContrafactError if no
             actor can start
    """
    ray = _ray()
    mine = not ray.is_initialized()
    devices = list(devices)[: max(1, len(tasks))]
    if mine:
        _connect(ray, address, len(devices))
    actors = _Actors(ray, (start, ray.put(setting)))
    try:
        for device in devices:
            actors.begin(device)
        yield from _spread(actors, tasks, limit_seconds)
    finally:
        actors.stop()
        if mine:
            ray.shutdown()


def _spread(actors: _Actors, tasks: Sequence[Any], limit: float | None) -> Iterator[Outcome]:
    pending, deaths = deque(range(len(tasks))), Counter[int]()
    while pending or actors.busy:
        while pending and actors.idle:
            actor, device = actors.idle.pop()
            number = pending.popleft()
            actors.busy[actor.run.remote(tasks[number])] = (actor, device, number, time.monotonic())
        if not (actors.busy or actors.idle or actors.starting):
            raise ContrafactError(f"no worker could start: {actors.failure.error}")
        waited = [*actors.busy, *actors.starting]
        for ref in actors.ray.wait(waited, num_returns=1, timeout=0.1)[0]:
            if ref in actors.starting:
                _greet(actors, ref)
            else:
                yield from _collect(actors, ref, pending, deaths)
        yield from _late(actors, limit)


def _greet(actors: _Actors, ref: Any) -> None:
    """Handle an actor's first answer."""
    actor, device = actors.starting.pop(ref)
    try:
        failure = actors.ray.get(ref)
    except actors.ray.exceptions.RayError as error:
        failure = Failure("died", " ".join(str(error).split())[:300])
    if failure is None:
        actors.idle.append((actor, device))
    else:
        actors.failure = failure
        actors.end(actor)


def _collect(actors: _Actors, ref: Any, pending: deque[int], deaths: Counter[int]) -> Iterator[Outcome]:
    """Yield the outcome of a task; where its actor died, start another and put the task back, twice at most."""
    actor, device, number, since = actors.busy.pop(ref)
    seconds = time.monotonic() - since
    try:
        result = actors.ray.get(ref)
    except actors.ray.exceptions.RayError as error:
        actors.end(actor)
        actors.begin(device)
        deaths[number] += 1
        if deaths[number] <= AGAIN:
            pending.appendleft(number)
            return
        line = " ".join(str(error).split())[:300]
        yield Outcome(number, Failure("died", f"its worker died {AGAIN + 1} times: {line}"), seconds)
        return
    actors.idle.append((actor, device))
    yield Outcome(number, result, seconds)


def _late(actors: _Actors, limit: float | None) -> Iterator[Outcome]:
    """Yield the tasks that exceed the limit; their actors are ended and replaced."""
    now = time.monotonic()
    for ref, (actor, device, number, since) in list(actors.busy.items()):
        if limit is None or now - since <= limit or actors.ray.wait([ref], timeout=0)[0]:
            continue
        del actors.busy[ref]
        actors.end(actor)
        actors.begin(device)
        yield Outcome(number, Failure("limit", f"stopped after its limit of {limit:g} s"), now - since)


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise InputError("the engine ray needs Ray; run: pip install 'contrafact[ray]'") from error


def _connect(ray: Any, address: str | None, count: int) -> None:
    where = "on this machine" if address is None else f"at '{address}'"
    if address is not None and not _answers(address):  # Ray itself asks for minutes
        raise InputError(f"no Ray cluster {where}: nothing answers there")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    options |= {"num_cpus": count, "include_dashboard": False} if address is None else {"address": address}
    try:
        ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(f"no Ray cluster {where}: {' '.join(str(error).split())[:200]}") from error


def _answers(address: str) -> bool:
    """Whether something listens at HOST:PORT or ray://HOST:PORT; unknown, and so true, of other addresses."""
    found = re.fullmatch(r"(?:ray://)?\[?([^\[\]/]+)\]?:(\d+)", address)
    if found is None:
        return True
    try:
        with socket.create_connection((found[1], int(found[2])), timeout=10):
            return True
    except (OSError, OverflowError):
        return False
