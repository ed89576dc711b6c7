"""Which of several regions a change needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHARE = 0.9


def smallest_place(effects: NDArray[np.floating]) -> NDArray[np.intp]:
    """Return the index (N,) of the first place with nine tenths of the greatest effect.

    effects  (P, N) of a change in P places, the smallest first, on N images
    """
    greatest = effects.max(axis=0)
    return (effects >= greatest - (1 - SHARE) * np.abs(greatest)).argmax(axis=0)
