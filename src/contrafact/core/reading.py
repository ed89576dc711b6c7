"""One kind of error, in one line that names the file, for all that a library raises while it reads one; what it
logs meanwhile goes to the logger `contrafact.libraries`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contrafact.core.errors import ContrafactError, InputError
from contrafact.core.library_output import routed


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a library raises while it reads a file into one line that names the file.

    what    what the file should be ("a readable picture")
    raises  InputError
    """
    try:
        with routed():
            yield
    except ContrafactError:
        raise
    except MemoryError as error:
        raise InputError(f"'{path.name}' needs more memory than there is: give a smaller copy") from error
    except RecursionError as error:
        raise InputError(f"'{path.name}' is not {what}: it is nested too deeply") from error
    except Exception as error:  # readers raise many types; all mean that the file cannot be read
        raise InputError(f"'{path.name}' is not {what}: {one_line(error)}") from error


def one_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type; without advice that a user cannot follow."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0].split(" Use force=True")[0].rstrip(" .:") if lines else ""
    return ascii(text)[1:-1][:200] if not text.isprintable() else text[:200] or type(error).__name__


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Add the name of a file to each error of Contrafact in the block that does not name it."""
    try:
        yield
    except ContrafactError as error:
        if name in str(error):
            raise
        raise type(error)(f"'{name}': {error}") from error
