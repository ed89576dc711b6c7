"""Heatmaps that tell nothing: said as a warning and in the record, in Python as in the report."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core.errors import EmptyMapWarning

LEAST = 1e-9  # in units of the target: below, only rounding differs
SHARE = 0.5  # of the voxels at the greatest absolute value


def emptiness(values: NDArray[Any]) -> str:
    """Why a map (*S) tells nothing: zero, constant, vanishing or saturated; empty where it tells something.

    vanishing  no value is above a billionth of a unit: the target itself is saturated (a probability of 1), or
               only rounding is left
    saturated  more than half of the voxels share the greatest absolute value
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
    "zero": "the map is 0 everywhere: nothing in the image moved the target",
    "constant": "the map has one value everywhere: it shows no place",
    "vanishing": "the map's values are below 1e-9: the target is saturated; ask for its log-odds (class:K)",
    "saturated": "more than half of the voxels share the greatest value: the map shows no order",
}


def warn_if_empty(result: Any) -> None:
    """EmptyMapWarning for a heatmap whose record notes that it tells nothing."""
    notes = getattr(result.record, "notes", {})
    for kind, words in WORDS.items():
        if f"empty_{kind}" in notes:
            warnings.warn(
                f"{result.record.method}, {result.record.target}: {words}", EmptyMapWarning, stacklevel=3
            )
