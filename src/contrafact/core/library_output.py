"""What libraries print while they read a file: it goes to a logger, not between the lines of a command."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

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
def unprinted() -> Iterator[list[str]]:
    """Send what native code writes to stderr in the block to the logger `contrafact.libraries`.

    gives  a list that holds these lines after the block; lines of other threads in that time are among them
    """
    lines: list[str] = []
    try:
        kept = os.dup(2)
    except OSError:  # a process without stderr
        yield lines
        return
    with _stderr, tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            lines += filter(None, map(str.strip, file.read().decode("utf-8", "replace").splitlines()))
            for line in lines:
                LOG.warning("%s", line)
