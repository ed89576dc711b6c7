"""Other images of the same kind: what methods compare with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from contrafact.core import InputError, Question


def others(question: Question, method: str) -> NDArray[np.float32]:
    """The question's background (M, C, *S), or an error that says how to give one."""
    if question.background is None:
        raise InputError(
            f"{method} compares with other images of the same kind; give background=[...], or "
            "--background FOLDER"
        )
    return question.background
