"""A worker process that runs one job at a time, reports progress and can be ended."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from contrafact.core import ContrafactError
from contrafact.jobs.pool import Worker
from contrafact.jobs.tasks import Failure, solved
from contrafact.viewer.live.tasks import Task

BEAT = 0.03  # seconds between two checks for cancellation
ENDED = ("done", "failed", "cancelled")


@dataclass(slots=True, eq=False)
class Job:
    """A task in the queue. state: waiting, running, done, failed, cancelled"""

    task: Task
    state: str = "waiting"
    words: str = ""
    count: int = 0
    of: int | None = None
    error: str = ""
    result: Any = None
    began: float = 0.0
    seconds: float = 0.0
    stop: bool = False
    ended: threading.Event = field(default_factory=threading.Event)

    def end(self, state: str, *, error: str = "", result: Any = None) -> None:
        self.error, self.result = error, result
        self.seconds = time.monotonic() - self.began if self.began else 0.0
        self.state = state
        self.ended.set()

    def answer(self, seconds: float) -> Any:
        """Wait for the result and return it.

        raises  ContrafactError if the job failed or takes longer
        """
        if not self.ended.wait(seconds):
            self.stop = True
            raise ContrafactError(
                f"expected a result within {seconds:g} s; got none; the machine is busy: try again"
            )
        if self.state != "done":
            raise ContrafactError(self.error or self.state)
        return self.result


class JobQueue:
    """First-in, first-out queue of jobs for one process, which starts with the first job.

    start          (setting, device) -> solve(task, say), called in the process
    limit_seconds  a longer job is ended together with its process
    """

    def __init__(self, start: Callable[..., Any], setting: Any, *, limit_seconds: float = 600.0) -> None:
        self._about, self._limit = (start, setting), limit_seconds
        self._jobs: deque[Job] = deque()
        self._turn = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self.ready, self.failure = False, ""

    def wake(self) -> None:
        """Start loading, so that the first job waits less."""
        with self._turn:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()

    def put(self, job: Job) -> Job:
        self.wake()
        with self._turn:
            if self.failure or self._closed:
                job.end("failed", error=self.failure or "the viewer is being closed")
            else:
                self._jobs.append(job)
                self._turn.notify()
        return job

    def ahead(self, job: Job) -> int:
        """Return the number of jobs before this one."""
        with self._turn:
            return self._jobs.index(job) if job in self._jobs else 0

    def cancel(self, job: Job) -> None:
        """Cancel a job: a waiting job never starts, a running one is ended with its process."""
        with self._turn:
            if job in self._jobs:
                self._jobs.remove(job)
                job.end("cancelled")
            job.stop = True

    def close(self) -> None:
        with self._turn:
            self._closed = True
            self._turn.notify()
        if self._thread is not None:
            self._thread.join(5)

    def _work(self) -> None:
        worker, why = None, "the viewer is being closed"
        try:
            worker = Worker(*self._about, "cpu", life=live)
            while not self._closed and not self.failure:
                if not worker.ready:
                    self._greet(worker)
                elif (job := self._next()) is not None:
                    self._do(worker, job)
        except Exception as error:  # the process does not start
            why = f"the worker process does not start: {_words(error)}"
        finally:
            with self._turn:
                self.failure = self.failure or why
                while self._jobs:  # no process is left to run them
                    self._jobs.popleft().end("failed", error=self.failure)
            if worker is not None:
                worker.stop()

    def _greet(self, worker: Worker) -> None:
        if not worker.door.poll(BEAT):
            return
        try:
            worker.greeted(worker.door.recv())
            failure = "" if worker.alive else worker.failure.error
        except (EOFError, OSError):
            failure = f"the worker process ended while loading the model (exit code {worker.end()})"
        self.ready = not failure
        self.failure = failure

    def _next(self) -> Job | None:
        with self._turn:
            if not self._jobs:
                self._turn.wait(0.2)
            return self._jobs.popleft() if self._jobs else None

    def _do(self, worker: Worker, job: Job) -> None:
        if job.stop:  # the job was cancelled
            job.end("cancelled")
            return
        job.began, job.state = time.monotonic(), "running"
        try:
            worker.give(0, [job.task])
            self._follow(worker, job)
        except Exception as error:  # the task or result cannot be sent; other jobs continue
            job.end("failed", error=_words(error))
            self._again(worker)

    def _follow(self, worker: Worker, job: Job) -> None:
        while not job.ended.is_set():
            if job.stop or self._closed:
                self._again(worker)
                job.end("cancelled")
            elif worker.seconds > self._limit:
                self._again(worker)
                job.end("failed", error=f"stopped after its limit of {self._limit:g} s")
            elif worker.door.poll(BEAT):
                self._hear(worker, job)

    def _hear(self, worker: Worker, job: Job) -> None:
        try:
            kind, said = worker.door.recv()
        except (EOFError, OSError):
            code = self._again(worker)
            job.end("failed", error=f"the worker process ended (exit code {code}); out of memory?")
            return
        if kind == "progress":
            job.words, job.count, job.of = said
            return
        worker.number = None
        if isinstance(said, Failure):
            job.end("failed", error=said.error)
        else:
            job.end("done", result=said)

    def _again(self, worker: Worker) -> int | None:
        self.ready = False
        code = worker.end()
        worker.begin()
        return code


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def live(door: Connection, start: Callable[..., Any], setting: Any, device: str) -> None:
    """Run the worker: start, report it, run task after task and report progress."""
    solve = solved(lambda about: start(*about), (setting, device))
    door.send(solve if isinstance(solve, Failure) else "ready")
    if isinstance(solve, Failure):
        return

    def say(words: str, count: int, of: int | None) -> None:
        door.send(("progress", (words, count, of)))

    while True:
        try:
            task = door.recv()
        except EOFError:
            return
        door.send(("done", solved(lambda t: solve(t, say), task)))


def start(setting: Any, device: str) -> Any:
    """Start in the worker, where torch is imported."""
    from contrafact.viewer.live.answers import load

    return load(setting, device)
