"""Heatmaps without information: detected once, then noted in the record and raised as a warning."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core.errors import EmptyMapWarning

LEAST = 1e-9  # units of the target; smaller values are rounding errors
SHARE = 0.5  # largest share of voxels that may have the greatest absolute value


def emptiness(values: NDArray[Any]) -> str:
    """Return why a map (*S) holds no information: zero, constant, vanishing or saturated; else an empty text.

    vanishing  all absolute values are below 1e-9: the target is saturated (a probability of 1), or only
               rounding errors remain
    saturated  more than half of the voxels have the greatest absolute value
    """
    greatest = float(np.abs(values).max(initial=0.0))
    if greatest == 0:
        return "zero"
    if values.size == 1:
        return ""
    if float(values.max()) == float(values.min()):
        return "constant"
    if greatest < LEAST:
        return "vanishing"
    return "saturated" if float((np.abs(values) == greatest).mean()) > SHARE else ""


WORDS = {
    "zero": "the map is 0 everywhere: no part of the image changes the target",
    "constant": "the map has one value everywhere: it locates nothing",
    "vanishing": "the map's values are below 1e-9: the target is saturated; use its log-odds (class:K)",
    "saturated": "more than half of the voxels have the greatest value: the map ranks nothing",
}


def warn_if_empty(result: Any) -> None:
    """Warn (`EmptyMapWarning`) if the record of a heatmap notes that it holds no information."""
    notes = result.record.notes if result.record else {}
    for kind, words in WORDS.items():
        if f"empty_{kind}" in notes:
            warnings.warn(
                f"{result.record.method}, {result.record.target}: {words}", EmptyMapWarning, stacklevel=3
            )
