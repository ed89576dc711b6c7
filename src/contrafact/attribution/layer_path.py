"""Paths to an image as a layer sees them: what the layer's units pass on of the change."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from contrafact.attribution.differentiable import layer_at, needs_gradients, upsample
from contrafact.core import Question
from contrafact.perturbation.fill import fill_values


def along(
    question: Question, baseline: str | float, shares: Sequence[float], layer: str | None, method: str
) -> list[tuple[Tensor, Tensor]]:
    """`layer_at` for every point of the straight line from the baseline (share 0) to the images (1)."""
    predictor = needs_gradients(question, method)
    end = torch.as_tensor(question.images).to(predictor.device)
    start = fill_values(end, baseline)
    return [layer_at(question, start + share * (end - start), layer, method) for share in shares]


def to_image(question: Question, maps: Tensor) -> Tensor:
    """(N, K, *S') summed over filters, on the image's grid."""
    return upsample(maps.sum(dim=1).float(), question.images.shape[2:])
