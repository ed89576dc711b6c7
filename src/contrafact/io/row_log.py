"""Read a table of JSON lines as it grows: each line once, then what was appended since."""

from __future__ import annotations

import json
import os
import threading
from array import array
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from contrafact.core import InputError, check_file

Row = dict[str, Any]
DECODE = json.JSONDecoder().raw_decode


class RowLog:
    """Keys and places of the rows of a table, to which this and other processes append. Thread-safe.

    A line without its end is read again later: it may be still in writing. A table that is another file, that
    is no longer than before though it was written, or whose last line that was read is another one, is read
    from the start again, and `generation` has the next number. A change in an earlier line of a table that
    grew in the same moment is not seen.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._generation = path, -1
        self._lock = threading.RLock()
        self._forget()

    def __reduce__(self) -> Any:
        return RowLog, (self.path,)

    def _forget(self) -> None:
        self._keys, self._known, self._places = list[str](), set[str](), array("q")
        self._end = self._newlines = 0
        self._last, self._stamp = b"", (0, 0, 0)
        self._generation += 1

    def generation(self) -> int:
        """Return how often the table was another one than before."""
        file = self._opened()
        if file is not None:
            file.close()
        return self._generation

    def rows(self, start: int = 0) -> Iterator[tuple[int, Row]]:
        """Yield numbers and rows from number `start` on, without lines that are damaged."""
        file = self._opened()
        if file is None:
            return
        with file:
            with self._lock:
                generation, number = self._generation, min(start, len(self._keys))
                place = self._places[number] if number < len(self._keys) else self._end
            file.seek(place)
            for line in file:
                row = parsed(line)
                if row is None and not line.endswith(b"\n"):
                    return
                self._note(generation, place, line, row)
                place += len(line)
                if row is not None:
                    yield number, row
                    number += 1

    def row(self, number: int) -> Row | None:
        """Return one row by its number; None where it is damaged by now. Raise InputError for a number without
        a row."""
        self.update()
        with self._lock:
            count = len(self._places)
            if not 0 <= number < count:
                known = f"a row from 0 to {count - 1} of" if count else "a row, but there is none in"
                raise InputError(f"expected {known} '{self.path.name}'; got {number}")
            place = self._places[number]
        with self.path.open("rb") as file:
            file.seek(place)
            return parsed(file.readline())

    def update(self) -> None:
        """Read what was appended."""
        for _ in self.rows(len(self._keys)):
            pass

    def keys(self) -> set[str]:
        """Return the keys of all rows."""
        self.update()
        with self._lock:
            return set(self._known)

    def holds(self, key: str) -> bool:
        """Whether a row has this key."""
        self.update()
        return key in self._known

    def rows_of(self, keys: Collection[str]) -> Iterator[Row]:
        """Yield the rows that have one of these keys; of each only its own line is read."""
        self.update()
        with self._lock:
            places = [place for key, place in zip(self._keys, self._places, strict=True) if key in keys]
        if not places:
            return
        with self.path.open("rb") as file:
            for place in places:
                file.seek(place)
                row = parsed(file.readline())
                if row is not None:
                    yield row

    def newlines(self) -> int:
        """Return the number of lines, damaged ones included."""
        self.update()
        return self._newlines

    def _note(self, generation: int, place: int, line: bytes, row: Row | None) -> None:
        """Remember a line that follows what was read; leave out any other, which is known."""
        with self._lock:
            if generation != self._generation or place != self._end:
                return
            if row is not None:
                self._keys.append(row["key"])
                self._known.add(row["key"])
                self._places.append(place)
            self._end += len(line)
            self._newlines += line.endswith(b"\n")
            self._last = line

    def _opened(self) -> IO[bytes] | None:
        """Return the open table, None where there is none; forget what was read of another one.

        raises  InputError for a pipe or a folder
        """
        if not os.path.lexists(self.path):
            with self._lock:
                if self._end:
                    self._forget()
            return None
        check_file(self.path, f"'{self.path.name}' of a run")
        file = self.path.open("rb")
        about = os.fstat(file.fileno())
        stamp = (about.st_ino, about.st_size, about.st_mtime_ns)
        with self._lock:
            if stamp != self._stamp:
                if not self._continues(file, stamp):
                    self._forget()
                self._stamp = stamp
        return file

    def _continues(self, file: IO[bytes], stamp: tuple[int, int, int]) -> bool:
        """Whether a table holds what was read of it, as far as its last line shows."""
        if not self._end:
            return True
        inode, size, _ = stamp
        if inode != self._stamp[0] or size < self._end or size == self._stamp[1]:
            return False
        file.seek(self._end - len(self._last))
        return file.read(len(self._last)) == self._last


def parsed(line: bytes) -> Row | None:
    """Return a line as a row with a key; None for any other line."""
    text = line.decode("utf-8", "replace").strip()
    try:
        row, end = DECODE(text)  # json.loads takes a tenth longer
    except (ValueError, RecursionError):
        return None
    return row if end == len(text) and isinstance(row, dict) and isinstance(row.get("key"), str) else None


def content_of(path: Path) -> bytes:
    """Return the content of a table of the run, empty where there is none. Raise InputError for a pipe or a
    folder."""
    if not os.path.lexists(path):
        return b""
    check_file(path, f"'{path.name}' of a run")
    return path.read_bytes()


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Append one line of JSON; start a new line first if a crash truncated the last one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(row).encode() + b"\n"
    with path.open("a+b") as file:
        file.seek(-min(1, file.seek(0, os.SEEK_END)), os.SEEK_END)
        torn = file.read() not in (b"", b"\n")
        file.write(b"\n" + line if torn else line)
        file.flush()
        os.fsync(file.fileno())


def replaced(lines: bytes, key: str, row: Mapping[str, Any]) -> bytes:
    """Return lines of JSON with another one in the place of that of a key."""
    found = []
    for line in lines.split(b"\n"):
        try:
            old = json.loads(line)
        except (ValueError, RecursionError):
            old = None
        found.append(json.dumps(row).encode() if isinstance(old, dict) and old.get("key") == key else line)
    return b"\n".join(found)
