"""Figures of result pages: means, shares and other figures with 95 % intervals, and tables in Markdown."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core.intervals import wilson

Values = Sequence[float] | NDArray[np.floating[Any]] | NDArray[np.bool_]
Rows = NDArray[np.intp]
Interval = tuple[float, float, float]


def interval(
    figure: Callable[[Rows], float],
    of: int | Sequence[str],
    *,
    share: bool = False,
    among: NDArray[np.bool_] | None = None,
    rounds: int = 1000,
) -> Interval:
    """A figure of rows and its 95 % bootstrap interval: value, low, high.

    `of` is a number of rows, or the patient of every row, who is drawn with all rows. Draws in which the figure
    is NaN or a ValueError (one class alone has no AUC) are left out. Resampling gives no width to a share that
    is all or nothing: its interval is Wilson's, over the patients with a row in `among` (None: all of them).
    """
    if isinstance(of, int):
        groups = [np.array([row]) for row in range(of)]
    else:
        groups = [np.flatnonzero(np.asarray(of) == patient) for patient in sorted(set(of))]
    rng, draws = np.random.default_rng(0), list[float]()
    for _ in range(rounds):
        drawn = rng.integers(len(groups), size=len(groups))
        with contextlib.suppress(ValueError):
            draws.append(figure(np.concatenate([groups[k] for k in drawn])))
    value = float(figure(np.concatenate(groups)))
    if not np.isfinite(draws).any():
        return value, float("nan"), float("nan")
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    if share and value in (0.0, 1.0) and low == high == value:
        count = sum(among is None or bool(among[rows].any()) for rows in groups)
        low, high = wilson(int(value) * count, count)
    return value, float(low), float(high)


def cell(found: Interval, form: str = ".2f") -> str:
    """A figure with its interval in brackets."""
    value, low, high = found
    return f"{value:{form}} ({low:{form}} to {high:{form}})"


def share(right: Sequence[bool] | NDArray[np.bool_], form: str = ".2f") -> str:
    """A share with Wilson's 95 % interval; one image a patient."""
    count = len(right)
    return cell((np.mean(right).item(), *wilson(int(np.sum(right)), count)), form) if count else "–"


def mean(values: Values, form: str = ".2f") -> str:
    """The mean of the finite values with its 95 % interval, one image a patient; of a share that is all or
    nothing Wilson's. A `form` with a sign is for differences, which are no shares."""
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if not len(known):
        return "–"
    is_share = "+" not in form and set(known.tolist()) <= {0.0, 1.0}
    return cell(interval(lambda rows: known[rows].mean(), len(known), share=is_share), form)


def ratio(above: NDArray[np.floating[Any]], below: NDArray[np.floating[Any]]) -> str:
    """The ratio of two sums over the same images with its 95 % interval."""
    if not len(above):
        return "–"
    return cell(interval(lambda rows: above[rows].sum() / below[rows].sum(), len(above)))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
