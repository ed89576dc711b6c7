"""Statistical power of the binomial test, and the number of observations that reaches a given power."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from contrafact.core.intervals import Z, wilson

__all__ = ["Z", "judgements_needed", "mcnemar_power", "pairs_needed", "power", "wilson"]


def power(judged: int, share: float, *, chance: float = 0.5, error: float = 0.05) -> float:
    """Return the power of the exact binomial test of `share` against `chance`, error/2 on each side."""
    if judged == 0:
        return 0.0
    null = _binomial(judged, chance)
    low = np.cumsum(null) <= error / 2
    high = np.cumsum(null[::-1])[::-1] <= error / 2
    return float(_binomial(judged, share)[low | high].sum())


@lru_cache(maxsize=16)
def judgements_needed(share: float = 0.58, *, chance: float = 0.5, wanted: float = 0.8) -> int:
    """Return the smallest number of judgements from which on the power stays at `wanted` or above (the power is
    not monotone, because counts are whole numbers).

    raises  ValueError if a million judgements are not enough
    """
    few, many = 0, 16
    while power(many, share, chance=chance) < wanted:
        few, many = many, 2 * many
        if many > 1 << 20:
            raise ValueError(f"expected a share that 2^20 judgements can tell from {chance}; got {share}")
    zigzag = max(20, many // 4)
    enough = many + zigzag
    for judged in range(many + zigzag, few, -1):
        if power(judged, share, chance=chance) < wanted:
            break
        enough = judged
    return enough


def mcnemar_power(pairs: int, gained: float, lost: float) -> float:
    """Return the power of the exact McNemar test, 5 % two-sided.

    gained, lost  share of the pairs that are right in the second arm alone, and in the first alone; above 0
    """
    differing = gained + lost
    shares = _binomial(pairs, differing) if differing < 1 else np.eye(pairs + 1)[pairs]
    counts = np.flatnonzero(shares > 1e-9)
    return float(sum(shares[n] * power(int(n), gained / differing) for n in counts))


@lru_cache(maxsize=16)
def pairs_needed(gained: float, lost: float, *, wanted: float = 0.8) -> int:
    """Return the smallest number of pairs with which the exact McNemar test reaches a power.

    raises  ValueError if 2^14 pairs are not enough
    """
    few, many = 0, 16
    while mcnemar_power(many, gained, lost) < wanted:
        few, many = many, 2 * many
        if many > 1 << 14:
            raise ValueError(f"expected shares that 2^14 pairs can tell apart; got {gained} and {lost}")
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if mcnemar_power(middle, gained, lost) >= wanted else (middle, many)
    return many


def _binomial(judged: int, share: float) -> NDArray[np.float64]:
    """Return the binomial probabilities of 0 to `judged` successes."""
    logs = np.array([math.lgamma(k + 1) for k in range(judged + 1)])
    counts = np.arange(judged + 1)
    terms = logs[-1] - logs - logs[::-1] + counts * math.log(share) + counts[::-1] * math.log1p(-share)
    return np.asarray(np.exp(terms))
