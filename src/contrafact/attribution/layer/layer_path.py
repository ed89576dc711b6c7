"""Activations and gradients of a layer along the straight path from a baseline to an image."""

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
    """Return a layer, and its activations and gradients (`layer_at`) at points of the straight line from the
    baseline (share 0) to the images (share 1)."""
    predictor = needs_gradients(question, method)
    end = torch.as_tensor(question.images).to(predictor.device)
    start = fill_values(end, baseline)
    chosen = feature_layer(question, layer, method)
    return chosen, [layer_at(question, start + share * (end - start), chosen) for share in shares]


def to_image(layer: FeatureLayer, maps: Tensor) -> Tensor:
    """Return a layer's maps (N, K, *cells), summed over filters, on the image's grid (N, *S)."""
    return torch.as_tensor(layer.on_image(maps.sum(dim=1).float()))
