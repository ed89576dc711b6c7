"""What the verbs show while they work."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any


@contextlib.contextmanager
def bar(text: str, total: float, *, quiet: bool) -> Iterator[Callable[..., None]]:
    """A progress bar on stderr with the remaining time: `move(done, text="...")`; into a file or a
    pipe, one line each time."""
    if quiet:
        yield lambda *_, **__: None
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(text, total)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(text, total=total)

        def move(done: float, *, text: str | None = None, total: float | None = None) -> None:
            progress.update(task, completed=done, description=text, total=total)

        yield move


def _lines(text: str, total: float) -> Callable[..., None]:
    whole, began, first = total, time.monotonic(), None

    def move(done: float, *, text: str | None = text, total: float | None = None) -> None:
        nonlocal whole, began, first
        whole = total or whole
        if first is None or done < first:
            first, began = done, time.monotonic()  # what a resumed run found done took no time now
        left = ""
        if first < done < whole:
            seconds = (time.monotonic() - began) * (whole - done) / (done - first)
            left = f", {timedelta(seconds=round(seconds))} left"
        print(f"{text} ({100 * done / whole:.0f} %{left})", file=sys.stderr, flush=True)

    return move


@contextlib.contextmanager
def gentle_stop() -> Iterator[Callable[[], bool]]:
    """Ctrl-C asks the work to end at its next step; a second Ctrl-C ends it at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(_signal: int, _frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        print("stopping after this step; once more to stop at once", file=sys.stderr)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def say(value: Any, *, as_json: bool, lines: list[str]) -> None:
    """JSON for machines, lines for people, on stdout."""
    if as_json:
        json.dump(value, sys.stdout, indent=2, ensure_ascii=False, default=str)
        sys.stdout.write("\n")
    else:
        print("\n".join(lines))
