"""Figures of result pages: means and shares with intervals, and tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contrafact.core.intervals import wilson


def share(right: Sequence[bool] | NDArray[np.bool_]) -> str:
    """A share with Wilson's 95 % interval; one image a patient."""
    right = np.asarray(right, dtype=bool)
    if not len(right):
        return "–"
    low, high = wilson(int(right.sum()), len(right))
    return f"{right.mean():.2f} ({low:.2f} to {high:.2f})"


def mean(values: Sequence[float] | NDArray[np.floating], form: str = ".2f") -> str:
    """A mean with its 95 % bootstrap interval; one image a patient."""
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    if not len(values):
        return "–"
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (1000, len(values)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{values.mean():{form}} ({low:{form}} to {high:{form}})"


def ratio(above: NDArray[np.floating], below: NDArray[np.floating]) -> str:
    """The ratio of two sums over the same images with its 95 % bootstrap interval."""
    if not len(above):
        return "–"
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(above), (1000, len(above)))
    low, high = np.percentile(above[rows].sum(axis=1) / below[rows].sum(axis=1), [2.5, 97.5])
    return f"{above.sum() / below.sum():.2f} ({low:.2f} to {high:.2f})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
