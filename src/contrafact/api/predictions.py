"""A model's prediction for an image, as text."""

from __future__ import annotations

from typing import Any

from contrafact.api.explanation import Outputs
from contrafact.core import Image
from contrafact.models import class_names, class_sizes


def answers(predictor: Any, image: Image, known: Outputs | None = None) -> list[str]:
    """Return the model's predictions for an image as text, one per class."""
    outputs = (known or Outputs(predictor, image))()
    names = class_names(predictor)
    if predictor.output == "regression":
        return [f"{name}: {value:.3g}" for name, value in zip(names, outputs[0], strict=True)]
    if outputs.ndim > 2:
        sizes = class_sizes(outputs, predictor.output)
        return [f"{name}: {size} voxels" for name, size in zip(names, sizes, strict=True)]
    probabilities = predictor.probabilities(outputs)[0]
    return [f"{name} {100 * float(p):.0f} %" for name, p in zip(names, probabilities, strict=True)]
