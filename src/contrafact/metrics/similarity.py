"""How alike two maps of one image are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from contrafact.core import InputError, nearest
from contrafact.metrics.heatmap_context import Values

KINDS = ("spearman", "ssim")


def spearman(first: Values, second: Values, region: NDArray[np.bool_] | None = None) -> float:
    """Correlation of the ranks of voxels, -1 to 1; 0 with a map that is the same everywhere.

    region  bool (*S): where maps were asked for; what is 0 elsewhere in both is no likeness
    """
    if region is not None:
        first, second = first[region], second[region]
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first.ravel(), second.ravel()).statistic)


def ssim(first: Values, second: Values) -> float:
    """Structural similarity of the sizes of two maps, each as a share of its own greatest."""
    from skimage.metrics import structural_similarity

    width = min(7, *first.shape) // 2 * 2 + 1
    width = width if width <= min(first.shape) else width - 2
    if width < 3:
        raise InputError(f"ssim needs at least 3 voxels along every axis; got {first.shape}")
    one, two = (np.abs(m) / max(float(np.abs(m).max()), 1e-30) for m in (first, second))
    return float(structural_similarity(one, two, win_size=width, data_range=1.0))


def alike(first: Values, second: Values, kind: str, region: NDArray[np.bool_] | None = None) -> float:
    """0 (nothing in common) to 1, whatever the sign: a random network may say the same upside down."""
    known(kind)
    return abs(spearman(first, second, region)) if kind == "spearman" else ssim(first, second)


def known(kind: str) -> None:
    """Refuse a similarity that there is none of."""
    if kind not in KINDS:
        raise InputError(f"similarity must be {' or '.join(KINDS)}; got '{kind}'{nearest(kind, KINDS)}")
