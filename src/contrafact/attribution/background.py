"""Background images: other images of the same kind, which some methods use as a comparison."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from contrafact.core import InputError, Question


def others(question: Question, method: str) -> NDArray[np.float32]:
    """Return the question's background images (M, C, *S).

    raises  InputError without a background, with the two ways to pass one
    """
    if question.background is None:
        raise InputError(
            f"{method} compares with other images of the same kind; got none; pass background=[...] or "
            "--background FOLDER"
        )
    return question.background
