"""Which of several regions a change needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ADD, REMOVE = 0.9, 0.98  # shares of the greatest effect: an addition is small, a removal leaves nothing


def smallest_place(effects: NDArray[np.floating], share: float) -> NDArray[np.intp]:
    """Return the index (N,) of the first place with that share of the greatest effect.

    effects  (P, N) of a change in P places, the smallest first, on N images
    """
    greatest = effects.max(axis=0)
    return (effects >= greatest - (1 - share) * np.abs(greatest)).argmax(axis=0)
