"""An image whose cause we planted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Image


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """image    its factors stand in `image.about["factors"]` too
    factors  what was planted, by name, in the units their maker states
    masks    where each factor shows, bool (*S), by the same names
    """

    image: Image
    factors: Mapping[str, float]
    masks: Mapping[str, NDArray[np.bool_]]
