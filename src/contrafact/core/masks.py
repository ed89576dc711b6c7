"""Masks and label maps: which voxels a file of labels names."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core.errors import InputError

SHOWN = 8  # labels named in an error


def labels_in(values: NDArray[Any]) -> NDArray[np.int64]:
    """Whole labels (*S) of an array that should hold nothing else.

    raises  InputError for fractions (a mask that was resampled with interpolation), negative values, and
            values that are no finite numbers
    """
    numbers = np.asarray(values, dtype=np.float64)
    odd = int((~np.isfinite(numbers)).sum())
    if odd:
        raise InputError(
            f"expected a mask of 0 and 1, or whole labels; got {odd} value(s) that are NaN or infinite: write "
            "0 where there is no label"
        )
    whole = np.rint(numbers)
    if numbers.size and (float(np.abs(numbers - whole).max()) > 1e-3 or whole.min() < 0):
        raise InputError(
            "expected a mask of 0 and 1, or whole labels; got values from "
            f"{numbers.min():g} to {numbers.max():g} with fractions or below 0: resample masks with the "
            "nearest neighbour"
        )
    return whole.astype(np.int64)


def is_label_map(values: NDArray[Any]) -> bool:
    """Whether whole numbers can only be labels: they are neither 0 and 1 nor 0 and 255 alone.

    raises  InputError, as `labels_in`
    """
    if values.dtype == bool:
        return False
    known = set(np.unique(labels_in(values)).tolist())
    return not (known <= {0, 1} or known <= {0, 255})


def mask_of(
    values: NDArray[Any], *, label: int | None, classes: int = 0, label_map: bool = False
) -> NDArray[np.bool_]:
    """The voxels (*S) that a mask or a label map names.

    values   0 and 1, or 0 and 255: a mask, of whatever class. Whole numbers above 1: a label map, of which only
             the voxels of `label` count (none where no voxel has it)
    label_map  the values are labels, whatever they are. Each array is judged by itself: labels of 0 and 1 alone
             are taken for a mask unless this is said
    label    the class that is asked about; None: there is none, and a label map is refused
    classes  how many classes the model has; a label map that names more is refused. 0: not known
    raises   InputError, in one line
    """
    if values.dtype == bool:
        return np.asarray(values)
    labels = labels_in(values)
    known = np.unique(labels)
    if not label_map and not is_label_map(known):
        return np.asarray(labels > 0)
    names = ", ".join(map(str, known[:SHOWN])) + (", …" if len(known) > SHOWN else "")
    if label is None:
        raise InputError(
            f"expected a mask of 0 and 1 (or 255); got labels {names}, and the target names no class to choose "
            "one by"
        )
    if classes and known[-1] >= classes:
        raise InputError(
            f"expected labels from 0 to {classes - 1}, as the model has {classes} classes; got {names}: give a "
            "mask of 0 and 1"
        )
    return np.asarray(labels == label)
