"""Files of readers' answers: SQLite, in which an answer is on disk when its transaction ends."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from contrafact.core import ContrafactError, InputError, check_file
from contrafact.core.reading import reading

NAME = 40  # characters of a reader's name
CONFIDENCES = range(1, 6)  # 1 unsure, 5 certain


@contextlib.contextmanager
def looking(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file of answers to read it. Raise InputError where it is none, or damaged."""
    if os.path.lexists(path):
        check_file(path, "a file of answers")
    with (
        reading(path, "a readable file of answers"),
        contextlib.closing(sqlite3.connect(path, timeout=20, isolation_level=None)) as base,
    ):
        yield base


@contextlib.contextmanager
def changing(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a transaction that is on disk when it ends. Raise ContrafactError where it cannot be written."""
    with looking(path) as base:
        try:
            base.execute("pragma synchronous = full")
            base.execute("begin immediate")
            try:
                yield base
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # the first error is the one to tell
                    base.execute("rollback")
                raise
            base.execute("commit")
        except sqlite3.Error as error:
            raise ContrafactError(f"could not write the answers to '{path}' ({error})") from error


def reader_name(text: str) -> str:
    """Return a reader's name with single spaces. Raise InputError for one that is empty or too long."""
    name = " ".join(text.split())
    if not (0 < len(name) <= NAME and name.isprintable()):
        raise InputError(f"expected a name of 1 to {NAME} letters")
    return name


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
