"""An image with planted factors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Image


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """A synthetic image with planted factors.

    image    the image; `image.about["factors"]` holds the factors too
    factors  planted values by name, in the units of the function that made the phantom
    masks    where each factor is visible, bool (*S), by name
    """

    image: Image
    factors: Mapping[str, float]
    masks: Mapping[str, NDArray[np.bool_]]
