"""Paths to an image as a layer sees them: what the layer's units pass on of the change."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from contrafact.attribution.gradients import feature_layer, layer_at, needs_gradients
from contrafact.core import FeatureLayer, Question
from contrafact.perturbation.fill import fill_values


def along(
    question: Question, baseline: str | float, shares: Sequence[float], layer: str | None, method: str
) -> tuple[FeatureLayer, list[tuple[Tensor, Tensor]]]:
    """A layer, and `layer_at` for every point of the straight line from the baseline (share 0) to the images
    (1)."""
    predictor = needs_gradients(question, method)
    end = torch.as_tensor(question.images).to(predictor.device)
    start = fill_values(end, baseline)
    found = feature_layer(question, layer, method)
    return found, [layer_at(question, start + share * (end - start), found) for share in shares]


def to_image(layer: FeatureLayer, maps: Tensor) -> Tensor:
    """(N, K, *cells) summed over filters, on the image's grid."""
    return torch.as_tensor(layer.on_image(maps.sum(dim=1).float()))
