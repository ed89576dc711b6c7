"""The command line. `main` reports every error as one line with an exit code."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

from cyclopts import App, CycloptsError, Parameter

from contrafact.core import ContrafactError, ContrafactWarning, InputError

app = App(
    name="contrafact",
    help="Explain the predictions of deep networks on medical images, and check how reliable explanations are.",
    help_format="markdown",
    version_flags=["--version"],
    default_parameter=Parameter(negative_iterable=()),  # no --empty-NAME beside lists
    suppress_keyboard_interrupt=False,
)
# Commands are named by text, so that --help imports no large package.
for _verb, _place in (
    ("demo", "demo:demo"),
    ("explain", "explain:explain"),
    ("fit", "fit:fit"),
    ("study", "study:study"),
    ("view", "view:view"),
    ("reader-study", "reader_study:reader_study"),
    ("export", "export:export"),
    ("send", "send:send"),
    ("convert", "convert:convert"),
    ("attributes", "attributes:attributes"),
    ("list", "listing:list_"),
    ("check", "check:check"),
    ("init", "init:init"),
):
    app.command(f"contrafact.cli.{_place}", name=_verb)
app.command("contrafact.cli.reader_study:reader_study", name="read", show=False)  # the former name


def main(words: list[str] | None = None) -> int:
    """Run a command line (None: the arguments of the process), and return its exit code.

    The code is 0 for success, 2 for invalid input (one line: expected, got, do), and 1 for a failure.
    """
    words = list(sys.argv[1:] if words is None else words)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if not words or words[0] in ("--help", "-h"):
        _load_commands()
    try:
        with _orderly_end(), _warnings_in_one_line():
            app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except (CycloptsError, InputError) as error:
        return _report(error, 2, debug)
    except KeyboardInterrupt:
        print("stopped; finished results are kept", file=sys.stderr)
        return 1
    except (ContrafactError, OSError, MemoryError) as error:
        return _report(error, 1, debug)
    except Exception as error:
        return _report(error, 1, debug, hint=f"{type(error).__name__}: ", tail=" (--debug shows where)")
    return 0


def _load_commands() -> None:
    """Import the modules of all commands, whose docstrings the list of commands shows."""
    for name in app:
        if not name.startswith("-"):
            app[name]


@contextlib.contextmanager
def _orderly_end() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the block in order, with its child processes; a second one ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stopping = threading.Event()

    def stop(_signal: int, _frame: Any) -> None:
        if stopping.is_set():
            _end_at_once()
        stopping.set()
        raise KeyboardInterrupt

    heard = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]  # of a script
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_at_once() -> None:
    """End this process and its children now; files are written so that none is left in part."""
    for child in multiprocessing.active_children():
        child.kill()
    print("stopped at once; finished results are kept", file=sys.stderr, flush=True)
    os._exit(1)


@contextlib.contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Print Contrafact's own warnings as one line on the error stream, once each, inside the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", ContrafactWarning)
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *about: Any, **more: Any) -> None:
            if issubclass(category, ContrafactWarning):
                print(f"contrafact: {message}", file=sys.stderr)
            else:
                others(message, category, *about, **more)

        warnings.showwarning = show
        yield


def _report(error: BaseException, code: int, debug: bool, hint: str = "", tail: str = "") -> int:
    """Print an error as one line, with its traceback for `debug`; return the exit code."""
    if debug:
        traceback.print_exception(error)
    line = " ".join(str(error).split()) or type(error).__name__
    print(f"contrafact: {hint}{line}{tail}", file=sys.stderr)
    return code
