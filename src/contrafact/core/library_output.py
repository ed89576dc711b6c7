"""What libraries print while they read or copy: it goes to a logger, not between the lines of a command."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import re
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

# Libraries that warn of a damaged file through a logger, which prints where the application sets none up.
NOISY = ("tifffile", "nibabel.global", "torch.export", "PIL.TiffImagePlugin")
LOG = logging.getLogger("contrafact.libraries")
LOG.addHandler(logging.NullHandler())
_stderr = threading.Lock()


class _ToOurs(logging.Filter):
    """Hand the records of another logger to `LOG` while a block of `routed` runs in any thread."""

    def __init__(self) -> None:
        super().__init__()
        self.lock, self.blocks = threading.Lock(), 0

    def filter(self, record: logging.LogRecord) -> bool:
        LOG.handle(record)
        return False

    def count(self, step: int) -> None:
        with self.lock:
            self.blocks += step
            for logger in map(logging.getLogger, NOISY):
                (logger.addFilter if self.blocks else logger.removeFilter)(self)


_to_ours = _ToOurs()


@contextmanager
def routed() -> Iterator[None]:
    """Send what the loggers of libraries say in the block to the logger `contrafact.libraries`."""
    _to_ours.count(1)
    try:
        yield
    finally:
        _to_ours.count(-1)


@contextmanager
def unprinted(known: re.Pattern[str]) -> Iterator[list[str]]:
    """Send lines that native code writes to stderr in the block to the logger `contrafact.libraries`, where
    their begin matches `known`; the others, as of other threads, are written to stderr after the block.

    Stderr belongs to the whole process: it is replaced in the main thread alone, and one block runs at a time.
    In any other thread the library prints.

    gives  a list that holds the matching lines after the block
    """
    lines: list[str] = []
    with _stderr:
        kept, file = _replaceable()
        if file is None:
            yield lines
            return
        with file:
            try:
                os.dup2(file.fileno(), 2)
                yield lines
            finally:
                os.dup2(kept, 2)
                os.close(kept)
                file.seek(0)
                lines += _sorted_out(file.read(), known)


def _replaceable() -> tuple[int, IO[bytes] | None]:
    """Return a copy of stderr and a file in its place; no file where stderr is to stay as it is."""
    if threading.current_thread() is not threading.main_thread():
        return -1, None
    try:
        kept = os.dup(2)
    except OSError:  # a process without stderr
        return -1, None
    try:
        return kept, tempfile.TemporaryFile()
    except OSError:  # a full disk
        os.close(kept)
        return -1, None


def _sorted_out(written: bytes, known: re.Pattern[str]) -> list[str]:
    """Return and log the lines that match, and write the others to stderr."""
    found, others = [], b""
    for line in written.splitlines(keepends=True):
        text = line.decode("utf-8", "replace").strip()
        if known.match(text):
            found.append(text)
            LOG.warning("%s", text)
        else:
            others += line
    with contextlib.suppress(OSError):
        while others:
            others = others[os.write(2, others) :]
    return found


def deep_copy(model: Any) -> Any:
    """Return a copy of a network, or of what holds one, without torch's warning of trees in a program."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        return copy.deepcopy(model)
