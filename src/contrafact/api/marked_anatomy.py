"""How much of a counterfactual's change lies in the anatomy that a label map marks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Counterfactual, Grid, Image, labels_in


def change_inside(found: Counterfactual, labels: Image, numbers: Iterable[int] = ()) -> float | None:
    """Return the share of a counterfactual's absolute change, summed over channels, that lies in the labels;
    None where nothing is changed.

    labels   a label map, of which each voxel of the frames takes the nearest value; 0 is background
    numbers  labels that count; none: all
    """
    values, wanted = labels_in(labels.values[0]), list(numbers)
    marked = np.isin(values, wanted) if wanted else values != 0
    return _share(found, _changes(found), marked, labels.grid)


def change_places(found: Counterfactual, labels: Image, names: Mapping[int, str]) -> dict[str, float]:
    """Return the share of a counterfactual's absolute change in each named label, the greatest first; empty
    where nothing is changed. Arguments as of `change_inside`; labels that do not occur are left out."""
    values, change = labels_in(labels.values[0]), _changes(found)
    shares = {
        name: _share(found, change, values == number, labels.grid)
        for number, name in names.items()
        if (values == number).any()
    }
    known = [(name, share) for name, share in shares.items() if share is not None]
    return dict(sorted(known, key=lambda one: -one[1]))


def _changes(found: Counterfactual) -> NDArray[np.float64]:
    """Return the absolute change (*S) from the first to the last frame, over all channels."""
    first, last = found.frames[found.origin], found.frames[found.end]
    return np.asarray(np.abs(last.astype(np.float64) - first).sum(axis=0))


def _share(
    found: Counterfactual, change: NDArray[np.float64], marked: NDArray[np.bool_], grid: Grid
) -> float | None:
    """Return the share of a change in a mask on this grid; None where nothing is changed."""
    if grid != found.grid:
        marked = on_grid_of(found.grid, marked, grid)
    return float(change[marked].sum() / change.sum()) if change.any() else None


def on_grid_of(grid: Grid, marked: NDArray[np.bool_], own: Grid) -> NDArray[np.bool_]:
    """Return a mask (*S) on another grid, by the nearest voxel in space; False outside the mask's own grid."""
    axes = len(grid.shape)
    steps = np.linalg.inv(own.affine) @ grid.affine
    places: Any = np.stack([*np.indices(grid.shape), *[np.zeros(grid.shape)] * (3 - axes)])
    at = np.tensordot(steps[:3, :3], places, axes=1) + steps[:3, 3].reshape(3, *[1] * axes)
    nearest = np.rint(at[:axes]).astype(int)
    size = np.array(own.shape).reshape(axes, *[1] * axes)
    inside = ((nearest >= 0) & (nearest < size)).all(axis=0)
    return np.asarray(marked[tuple(np.clip(nearest, 0, size - 1))] & inside)
