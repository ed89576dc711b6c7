"""Binary masks and label maps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core.errors import InputError

SHOWN = 8  # greatest number of labels listed in an error


def labels_in(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return the values (*S) of a mask or label map as integers.

    raises  InputError for fractions (a mask that was resampled with interpolation), negative, NaN and infinite
            values
    """
    numbers = np.asarray(values, dtype=np.float64)
    odd = int((~np.isfinite(numbers)).sum())
    if odd:
        raise InputError(
            f"expected a mask of 0 and 1, or whole labels; got {odd} NaN or infinite value(s): write 0 "
            "where there is no label"
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
    """Whether an array must be a label map: it holds other values than 0 and 1, or 0 and 255.

    raises  InputError, as `labels_in`
    """
    if values.dtype == bool:
        return False
    known = set(np.unique(labels_in(values)).tolist())
    return not (known <= {0, 1} or known <= {0, 255})


def mask_of(
    values: NDArray[Any], *, label: int | None, classes: int = 0, label_map: bool = False
) -> NDArray[np.bool_]:
    """Return a bool mask (*S) from a binary mask or a label map.

    values   0 and 1, or 0 and 255: a binary mask of any class. Other whole numbers: a label map, of which the
             voxels with the value `label` are taken (possibly none)
    label_map  treat the values as labels in any case; otherwise an array of 0 and 1 only is a binary mask
    label    class of the target; None: no class, and a label map is refused
    classes  number of classes of the model; a label map with greater labels is refused. 0: unknown
    raises   InputError for a label map that cannot be used, and as `labels_in`
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
            f"expected a mask of 0 and 1 (or 255); got labels {names}, and the target has no class to "
            "select one"
        )
    if classes and known[-1] >= classes:
        raise InputError(
            f"expected labels from 0 to {classes - 1}, as the model has {classes} classes; got {names}: give a "
            "mask of 0 and 1"
        )
    return np.asarray(labels == label)
