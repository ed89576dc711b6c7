"""How sure a share is, and how many judgements it takes to be sure."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054  # 95 %, two-sided


def wilson(correct: int, judged: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; all of it where nothing was judged.

    Source: Wilson 1927.
    """
    if judged == 0:
        return 0.0, 1.0
    share, bend = correct / judged, Z * Z / judged
    middle = (share + bend / 2) / (1 + bend)
    half = Z / (1 + bend) * math.sqrt(share * (1 - share) / judged + bend / (4 * judged))
    return (0.0 if correct == 0 else middle - half), (1.0 if correct == judged else middle + half)


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
