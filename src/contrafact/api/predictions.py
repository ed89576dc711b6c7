"""A model's prediction for an image, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contrafact.api.explanation import Outputs
from contrafact.core import Image
from contrafact.models import class_names, class_sizes
from contrafact.models.detections import boxes_in_words


def answers(predictor: Any, image: Image, known: Outputs | None = None) -> list[str]:
    """Return the model's predictions for an image as text, one per class."""
    outputs = (known or Outputs(predictor, image))()
    if predictor.output == "detection":
        return boxes_in_words(outputs, predictor.classes)
    names = class_names(predictor)
    if predictor.output == "regression":
        return [f"{name}: {value:.3g}" for name, value in zip(names, outputs[0], strict=True)]
    if outputs.ndim > 2:
        sizes = class_sizes(outputs, predictor.output)
        return [f"{name}: {size} voxels" for name, size in zip(names, sizes, strict=True)]
    percentages = _percentages(predictor.probabilities(outputs)[0].tolist())
    return [f"{name} {share} %" for name, share in zip(names, percentages, strict=True)]


def _percentages(probabilities: Sequence[float]) -> list[str]:
    """Return whole percentages, with up to two decimals where rounding would move a class to the other side of
    50 %, or make another class the most probable one."""
    written = [[f"{100 * share:.{digits}f}" for share in probabilities] for digits in range(3)]
    decision = _decision(probabilities)
    return next(
        (texts for texts in written if _decision([float(t) / 100 for t in texts]) == decision), written[0]
    )


def _decision(probabilities: Sequence[float]) -> tuple[list[bool], int]:
    """Return which classes have half of the probability, and the most probable one."""
    return [share >= 0.5 for share in probabilities], probabilities.index(max(probabilities))
