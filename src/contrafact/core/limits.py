"""What reading a file may cost."""

from __future__ import annotations

import math
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from contrafact.core.errors import InputError

DEFAULT = 2**28  # values of an image: 1 GiB as float32
MEMBERS = 1000  # of an archive
READING_ARRAYS = threading.Lock()  # CPython 3.11 may fail where two threads parse headers of NumPy's files
STORED = 64  # bytes in a file of stored results, for each value of the largest image: 16 images


@dataclass(slots=True)
class _Limits:
    values: int = DEFAULT


_limits = _Limits()


def set_largest_image(values: int = DEFAULT) -> None:
    """Set how many values (voxels times channels) an image file may declare, in this process.

    A picture of one page may have a quarter as many pixels. The limit is checked before anything is
    decompressed.

    raises  InputError for a number below 1
    """
    if values < 1:
        raise InputError(f"the largest image must have at least 1 value; got {values}")
    _limits.values = int(values)


def largest_image() -> int:
    """Return how many values an image file may declare."""
    return _limits.values


def check_size(path: Path, shape: Sequence[int], *, page: bool = False) -> None:
    """Raise InputError for a declared shape that is empty, or larger than the limit.

    page  the shape is (H, W), of a picture of one page: a quarter of the limit
    """
    number, most = math.prod(shape), _limits.values // (4 if page else 1)
    if min(shape, default=0) < 1:
        raise InputError(f"'{path.name}' declares the shape {tuple(shape)}; expected sizes of at least 1")
    if number > most:
        raise InputError(
            f"'{path.name}' declares {number:,} {'pixels' if page else 'values'}, {tuple(shape)}; the limit is "
            f"{most:,}: give a part or a smaller copy, or raise the limit with set_largest_image (explain: "
            "--largest-image, study: largest_image)"
        )


def check_stored(archive: zipfile.ZipFile) -> None:
    """Raise InputError for an archive of results with more members, or more bytes once unpacked, than a result
    has; before any member is read."""
    entries = archive.infolist()
    check_packing(entries)
    size, most = sum(entry.file_size for entry in entries), STORED * _limits.values
    if len(entries) > MEMBERS or size > most:
        raise InputError(
            f"expected at most {MEMBERS:,} arrays of {most:,} bytes in all; got {len(entries):,} of {size:,}: "
            "raise the limit with set_largest_image"
        )


@contextmanager
def stored_arrays(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the arrays in a file of results, each read when it is asked for; raise InputError as `check_stored`
    before any is. One thread at a time reads."""
    with READING_ARRAYS, path.open("rb") as opened:
        with zipfile.ZipFile(opened) as archive:
            check_stored(archive)
        opened.seek(0)
        with np.load(opened, allow_pickle=False) as file:
            yield file


def check_packing(entries: Sequence[zipfile.ZipInfo]) -> None:
    """Raise InputError for members that NumPy does not write: Python unpacks bzip2 and LZMA without a limit."""
    if any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in entries):
        raise InputError("expected arrays as NumPy writes them; got members in another compression")
