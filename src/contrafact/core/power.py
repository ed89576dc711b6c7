"""How sure a share is, and how many judgements it takes to be sure."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from contrafact.core.intervals import Z, wilson

__all__ = ["Z", "judgements_needed", "power", "wilson"]


def power(judged: int, share: float, *, chance: float = 0.5, error: float = 0.05) -> float:
    """Chance that the exact binomial test, error/2 on either side, finds `share` different from `chance`."""
    if judged == 0:
        return 0.0
    null = _binomial(judged, chance)
    low = np.cumsum(null) <= error / 2
    high = np.cumsum(null[::-1])[::-1] <= error / 2
    return float(_binomial(judged, share)[low | high].sum())


@lru_cache(maxsize=16)
def judgements_needed(share: float = 0.58, *, chance: float = 0.5, wanted: float = 0.8) -> int:
    """The fewest judgements from which on the power stays at `wanted` or above: it goes up in a zigzag, as
    counts are whole."""
    few, many = 0, 16
    while power(many, share, chance=chance) < wanted:
        few, many = many, 2 * many
        if many > 1 << 20:
            raise ValueError(f"no number of judgements tells {share} from {chance}")
    zigzag = max(20, many // 4)
    enough = many + zigzag
    for judged in range(many + zigzag, few, -1):
        if power(judged, share, chance=chance) < wanted:
            break
        enough = judged
    return enough


def _binomial(judged: int, share: float) -> NDArray[np.float64]:
    """Probabilities of 0 to `judged` successes."""
    logs = np.array([math.lgamma(k + 1) for k in range(judged + 1)])
    counts = np.arange(judged + 1)
    terms = logs[-1] - logs - logs[::-1] + counts * math.log(share) + counts[::-1] * math.log1p(-share)
    return np.asarray(np.exp(terms))
