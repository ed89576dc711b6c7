"""Progress bars, interruption and output of the commands."""

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
    """Yield a function `move(done, text="...")` that updates a progress bar on stderr with the remaining time;
    in a file or a pipe it prints one line per call. `above` is printed above the bar as it is, such as a
    picture (terminal_pictures)."""
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

        def move(done: float, *, text: str | None = None, total: float | None = None, above: str = "") -> None:
            progress.update(task, completed=done, description=text, total=total)
            if above:
                console.print(_untouched(above))

        yield move


def _untouched(text: str) -> Any:
    """Return a text that rich neither wraps nor cleans of the codes of a picture."""
    from rich.segment import ControlType, Segment, Segments

    return Segments([Segment(text, None, [(ControlType.CARRIAGE_RETURN,)])], new_lines=True)


def _lines(text: str, total: float) -> Callable[..., None]:
    """Return a function that prints progress as lines."""
    whole, began, first = total, time.monotonic(), None

    def move(done: float, *, text: str | None = text, total: float | None = None, above: str = "") -> None:
        nonlocal whole, began, first
        whole = total or whole
        if first is None or done < first:
            first, began = done, time.monotonic()  # finished parts of a resumed run took no time now
        left = ""
        if first < done < whole:
            seconds = (time.monotonic() - began) * (whole - done) / (done - first)
            left = f", {timedelta(seconds=round(seconds))} left"
        print(f"{text} ({100 * min(done / whole, 1):.0f} %{left})", file=sys.stderr, flush=True)
        if above:
            print(above, file=sys.stderr, flush=True)

    return move


@contextlib.contextmanager
def gentle_stop() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C was pressed (or SIGTERM sent), so that the work ends after its
    current step; a second one ends it at once."""
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set
        return

    def request(_signal: int, _frame: Any) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()
        print("stopping after this step; press Ctrl-C again to stop at once", file=sys.stderr)

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requested.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def say(value: Any, *, as_json: bool, lines: list[str]) -> None:
    """Print a value as JSON, or lines of text, on stdout."""
    if as_json:
        json.dump(value, sys.stdout, indent=2, ensure_ascii=False, default=str)
        sys.stdout.write("\n")
    else:
        print("\n".join(lines))
