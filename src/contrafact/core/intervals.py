"""Confidence intervals of a share, and the share of a gradient that its spatial mean keeps."""

from __future__ import annotations

import math
from typing import Any

LEAST_MEAN = 1e-3  # smallest meaningful `mean_share`
Z = 1.959963984540054  # 95 %, two-sided


def wilson(correct: int, judged: int) -> tuple[float, float]:
    """Return Wilson's 95 % confidence interval of a share; (0, 1) without observations. Unlike a bootstrap
    interval it has a positive width at shares of 0 and 1.

    Source: Wilson 1927.
    """
    if judged == 0:
        return 0.0, 1.0
    share, bend = correct / judged, Z * Z / judged
    middle = (share + bend / 2) / (1 + bend)
    half = Z / (1 + bend) * math.sqrt(share * (1 - share) / judged + bend / (4 * judged))
    return (0.0 if correct == 0 else middle - half), (1.0 if correct == judged else middle + half)


def mean_share(slopes: Any) -> float:
    """Return the share of a gradient that its mean over the cells keeps: 1 if each channel has one sign, 0 if
    it cancels (as before a normalisation layer) or is zero.

    slopes  array or tensor (N, K, *cells)
    """
    flat = slopes.reshape(*slopes.shape[:2], -1)
    return float(abs(flat.mean(2)).sum()) / max(float(abs(flat).mean(2).sum()), 1e-30)
