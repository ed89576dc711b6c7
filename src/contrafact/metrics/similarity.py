"""Similarity of two maps of one image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from contrafact.core import InputError, nearest
from contrafact.metrics.heatmap_context import Values

KINDS = ("spearman", "ssim")


def spearman(first: Values, second: Values, region: NDArray[np.bool_] | None = None) -> float:
    """Return the rank correlation of two maps, -1 to 1; 0 if one of them is constant.

    region  bool (*S): compare only these voxels, because both maps are 0 elsewhere; None: all voxels
    """
    from scipy.stats import spearmanr  # slow to import

    if region is not None:
        first, second = first[region], second[region]
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first.ravel(), second.ravel()).statistic)


def ssim(first: Values, second: Values) -> float:
    """Return the structural similarity of the absolute values of two maps, each divided by its maximum.

    raises  InputError for fewer than 3 voxels along an axis
    """
    from skimage.metrics import structural_similarity

    width = min(7, *first.shape) // 2 * 2 + 1
    width = width if width <= min(first.shape) else width - 2
    if width < 3:
        raise InputError(f"ssim needs at least 3 voxels along every axis; got {first.shape}")
    a, b = (np.abs(m) / max(float(np.abs(m).max()), 1e-30) for m in (first, second))
    return float(structural_similarity(a, b, win_size=width, data_range=1.0))


def alike(first: Values, second: Values, kind: str, region: NDArray[np.bool_] | None = None) -> float:
    """Return the similarity of two maps, 0 (unrelated) to 1, regardless of sign: a random network may return
    the same map with the opposite sign.

    kind    "spearman" or "ssim"
    raises  InputError for an unknown kind
    """
    check_kind(kind)
    return abs(spearman(first, second, region)) if kind == "spearman" else ssim(first, second)


def check_kind(kind: str) -> None:
    """Raise InputError for an unknown similarity."""
    if kind not in KINDS:
        raise InputError(f"similarity must be {' or '.join(KINDS)}; got '{kind}'{nearest(kind, KINDS)}")
