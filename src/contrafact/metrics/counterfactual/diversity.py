"""Several counterfactuals of one image: are they different answers?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from contrafact.core import InputError
from contrafact.metrics.counterfactual_context import CounterfactualContext


def diversity(several: Sequence[CounterfactualContext]) -> float:
    """Mean absolute difference between every two last frames, as a share of the range; 0: all the same.

    several  strips of one image, walked in different ways or with different seeds
    raises   InputError for fewer than two, or strips of different images
    Source: Mothilal et al. 2020 (arXiv 1905.07697), sec. 4. Differs: per voxel.
    """
    if len(several) < 2:
        raise InputError(f"diversity needs at least 2 strips of one image; got {len(several)}")
    first = several[0]
    if any(not np.array_equal(other.start, first.start) for other in several[1:]):
        raise InputError("diversity needs strips of one image; got strips of different images")
    gaps = [np.abs(a.goal.astype(np.float64) - b.goal).mean() for a, b in itertools.combinations(several, 2)]
    return float(np.mean(gaps) / first.span)
