"""Confidence intervals of a share and of a mean, and the share of a gradient that its spatial mean keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

LEAST_MEAN = 1e-3  # smallest meaningful `mean_share`
Z = 1.959963984540054  # 95 %, two-sided


def wilson(correct: float, judged: int) -> tuple[float, float]:
    """Return Wilson's 95 % confidence interval of a share; (0, 1) without observations. Unlike a bootstrap
    interval it has a positive width at shares of 0 and 1. A sum of shares of clusters (patients with several
    images) may be given for `correct`: the interval is then too wide rather than too narrow.

    Source: Wilson 1927.
    """
    if judged == 0:
        return 0.0, 1.0
    share, bend = correct / judged, Z * Z / judged
    middle = (share + bend / 2) / (1 + bend)
    half = Z / (1 + bend) * math.sqrt(share * (1 - share) / judged + bend / (4 * judged))
    return (0.0 if correct == 0 else middle - half), (1.0 if correct == judged else middle + half)


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return Student's 95 % confidence interval of a mean; None for fewer than two values.

    Differs: the quantile of Student's t is Cornish and Fisher's expansion, within 0.3 % from 9 values on.
    """
    count = len(values)
    if count < 2:
        return None
    mean, free = sum(values) / count, count - 1
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / free)
    t = Z + (Z**3 + Z) / (4 * free) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * free**2)
    half = t * spread / math.sqrt(count)
    return mean - half, mean + half


def mean_share(slopes: Any) -> float:
    """Return the share of a gradient that its mean over the cells keeps: 1 if each channel has one sign, 0 if
    it cancels (as before a normalisation layer) or is zero.

    slopes  array or tensor (N, K, *cells)
    """
    flat = slopes.reshape(*slopes.shape[:2], -1)
    return float(abs(flat.mean(2)).sum()) / max(float(abs(flat).mean(2).sum()), 1e-30)
