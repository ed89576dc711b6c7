"""What reading a file may cost, and one kind of error for all that a library raises while it reads one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contrafact.core import ContrafactError, InputError

DEFAULT = 2**28  # values of an image: 1 GiB as float32
MEMBERS = 1000  # of an archive


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


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a library raises while it reads a file into one line that names the file.

    what    what the file should be ("a readable picture")
    raises  InputError
    """
    try:
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
