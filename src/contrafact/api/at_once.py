"""How many images of a list are explained at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contrafact import core
from contrafact.core import Image, Predictor
from contrafact.perturbation.memory import images_at_once, out_of_memory

TOGETHER = 16  # small images


def explain_at_once(method: Any, model: Predictor, images: Sequence[Image], **asked: Any) -> list[Any]:
    """Explain images as `core.explain` does: up to 16 at once, fewer large ones, and one at a time if several
    exceed the memory."""
    batch = min(TOGETHER, images_at_once(max(image.values.size for image in images)))
    try:
        return core.explain(method, model, images, batch=batch, **asked)
    except RuntimeError as error:
        if batch == 1 or not out_of_memory(error):
            raise
    return core.explain(method, model, images, batch=1, **asked)
