"""Diversity of several counterfactuals of one image."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from contrafact.core import InputError
from contrafact.metrics.counterfactual_context import CounterfactualContext


def diversity(several: Sequence[CounterfactualContext]) -> float:
    """Return the mean absolute difference between every two counterfactuals of one image, as a share of the
    range; 0: all are identical.

    several  counterfactuals of one image, by different methods or with different seeds
    raises   InputError for fewer than two, or counterfactuals of different images
    Source: Mothilal et al. 2020 (arXiv 1905.07697), sec. 4. Differs: per voxel.
    """
    if len(several) < 2:
        raise InputError(f"diversity needs at least 2 counterfactuals of one image; got {len(several)}")
    first = several[0]
    if any(not np.array_equal(other.start, first.start) for other in several[1:]):
        raise InputError("diversity needs counterfactuals of one image; got those of different images")
    gaps = [np.abs(a.goal.astype(np.float64) - b.goal).mean() for a, b in itertools.combinations(several, 2)]
    return float(np.mean(gaps) / first.span)
