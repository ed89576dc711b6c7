"""The command line. `main` turns every error into one line and an exit code."""

from __future__ import annotations

import contextlib
import sys
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

from cyclopts import App, CycloptsError

from contrafact.core import ContrafactError, ContrafactWarning, InputError

app = App(
    name="contrafact",
    help="Explains what a deep network saw in a medical image: where, how, and how far to trust it.",
    help_format="markdown",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)
# Named by text, so that --help imports nothing heavy.
for _verb, _place in (
    ("demo", "demo:demo"),
    ("explain", "explain:explain"),
    ("fit", "fit:fit"),
    ("study", "study:study"),
    ("view", "view:view"),
    ("read", "read:read"),
    ("export", "export:export"),
    ("send", "send:send"),
    ("convert", "convert:convert"),
    ("list", "listing:list_"),
    ("check", "check:check"),
):
    app.command(f"contrafact.cli.{_place}", name=_verb)


def main(words: list[str] | None = None) -> int:
    """0 success, 2 the user's mistake (one line: expected, got, do), 1 a failure."""
    words = list(sys.argv[1:] if words is None else words)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        with _warnings_in_one_line():
            app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except (CycloptsError, InputError) as error:
        return _say(error, 2, debug)
    except KeyboardInterrupt:
        print("stopped; what was finished is kept", file=sys.stderr)
        return 1
    except (ContrafactError, OSError, MemoryError) as error:
        return _say(error, 1, debug)
    except Exception as error:
        return _say(error, 1, debug, hint=f"{type(error).__name__}: ", tail=" (--debug shows where)")
    return 0


@contextlib.contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Inside, a warning of Contrafact's own is one line on the error stream, said once."""
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


def _say(error: BaseException, code: int, debug: bool, hint: str = "", tail: str = "") -> int:
    if debug:
        traceback.print_exception(error)
    line = " ".join(str(error).split()) or type(error).__name__
    print(f"contrafact: {hint}{line}{tail}", file=sys.stderr)
    return code
