"""One writer for one folder: a lock that ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from contrafact.core import InputError

NAME = ".lock"
BUSY = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)


@contextlib.contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder inside the block; on a file system without locks nothing is held.

    raises  InputError where another process, or another block of this one, holds it
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    with _opened(path) as file:
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows keeps a file that is open
                path.unlink()
            file.flush()


def _opened(path: Path) -> IO[Any]:
    """Return the locked file; open it again if its last holder has just removed it."""
    while True:
        file = path.open("a+")
        try:
            _lock(file)
            if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                return file
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in BUSY:
                return file
            file.close()
            raise InputError(
                f"another run is writing to '{path.parent}'; wait until it ends, or choose another folder"
            ) from error
        file.close()


def _lock(file: IO[Any]) -> None:
    """Lock a file without waiting."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
