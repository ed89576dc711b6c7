"""Models that take an image as one row of values."""

from __future__ import annotations

import math

from contrafact.models.preprocessing import Preprocessing


def size_of_row(values: int) -> tuple[Preprocessing | None, tuple[str, ...]]:
    """Return the preprocessing of images of one channel and equal sides with this number of values, and a note
    that says so; None where the number is not that of such images."""
    side = math.isqrt(max(values, 0))
    if not side or side * side != values:
        return None, ()
    note = f"it takes {values} values: images of one channel and {side} x {side} pixels were assumed"
    return Preprocessing(size=(side, side), channels=1), (note,)
