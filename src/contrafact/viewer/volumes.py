"""Volumes of a run as NIfTI, for the viewer's planes and rendering."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Grid, InputError
from contrafact.export.arrays import nifti_bytes
from contrafact.export.run_files import grid_of
from contrafact.io import Run, stored_grid

SIDE = 320  # voxels along an axis at most; larger volumes are averaged
NAMES = ("image", "values", "frames", "reconstruction", "change")


def volume(run: Run, row: Mapping[str, Any], name: str, *, frame: int = 0, channel: int = 0) -> bytes:
    """Return one volume of a result as compressed NIfTI, float32, with its affine in RAS+ mm.

    name     image, values (a heatmap), frames (the one numbered `frame`), reconstruction, or change: that
             frame minus the original
    channel  channel of an image with several
    raises   InputError for an array that the result lacks, and for images that are not volumes
    """
    if name not in NAMES:
        raise InputError(f"expected one of {', '.join(NAMES)}; got '{name}'")
    arrays = run.arrays(row)
    stored = "frames" if name == "change" else name
    if stored not in arrays:
        raise InputError(f"expected a result with {stored}; this is a {row['kind']}")
    own = name != "image"
    grid = grid_of(row, arrays) if own else stored_grid(row, arrays["image"].shape[1:], arrays["affine"])
    if len(grid.shape) != 3:
        raise InputError(f"expected a volume; got an image of {grid.shape[0]} by {grid.shape[1]}")
    values = arrays[stored]
    if stored == "frames":
        _within(frame, len(values), "frame")
        start = values[int(row["origin"])] if name == "change" else 0
        values = values[frame] - start
    if values.ndim == 4:
        _within(channel, len(values), "channel")
        values = values.mean(axis=0) if name == "change" else values[channel]
    values, grid = lighter(values, grid)
    return gzip.compress(nifti_bytes(values, grid, about=f"contrafact {name}"), 1, mtime=0)


def lighter(values: NDArray[Any], grid: Grid, side: int = SIDE) -> tuple[NDArray[Any], Grid]:
    """Average blocks along axes longer than `side` and adapt the affine. (D, H, W)"""
    by = [max(1, -(-n // side)) for n in values.shape]
    if max(by) == 1:
        return values, grid
    kept = [n // b for n, b in zip(values.shape, by, strict=True)]
    cut = values[tuple(slice(n * b) for n, b in zip(kept, by, strict=True))]
    blocks = cut.reshape([n for pair in zip(kept, by, strict=True) for n in pair])
    affine = grid.affine @ np.diag([*by, 1.0])
    affine[:3, 3] += grid.affine[:3, :3] @ [(b - 1) / 2 for b in by]  # to the centre of the first block
    return blocks.mean(axis=(1, 3, 5), dtype=np.float32), Grid(tuple(kept), affine=affine)


def _within(number: int, count: int, what: str) -> None:
    if not 0 <= number < count:
        raise InputError(f"expected a {what} from 0 to {count - 1}; got {number}")
