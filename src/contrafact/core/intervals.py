"""Shares: how sure one is, and how much of a gradient its mean keeps."""

from __future__ import annotations

import math
from typing import Any

LEAST_MEAN = 1e-3  # share of a gradient that its mean over the cells must keep to mean anything
Z = 1.959963984540054  # 95 %, two-sided


def wilson(correct: int, judged: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; all of it where nothing was judged. Unlike a bootstrap it has a width
    where all or none are right.

    Source: Wilson 1927.
    """
    if judged == 0:
        return 0.0, 1.0
    share, bend = correct / judged, Z * Z / judged
    middle = (share + bend / 2) / (1 + bend)
    half = Z / (1 + bend) * math.sqrt(share * (1 - share) / judged + bend / (4 * judged))
    return (0.0 if correct == 0 else middle - half), (1.0 if correct == judged else middle + half)


def mean_share(slopes: Any) -> float:
    """How much of a gradient is left in its mean over the cells, as a share: 1 where it has one sign in every
    channel, 0 where it cancels, as before a normalisation. 0 as well for a gradient that is zero.

    slopes  array or tensor (N, K, *cells)
    """
    flat = slopes.reshape(*slopes.shape[:2], -1)
    return float(abs(flat.mean(2)).sum()) / max(float(abs(flat).mean(2).sum()), 1e-30)
