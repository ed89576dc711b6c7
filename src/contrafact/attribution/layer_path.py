"""Paths to an image as a layer sees them: what the layer's units pass on of the change."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from contrafact.attribution.differentiable import needs_gradients, score, upsample
from contrafact.core import Question, UnsupportedError


def layer_at(question: Question, images: Tensor, layer: str | None, method: str) -> tuple[Tensor, Tensor]:
    """Activations (N, K, *S') of a layer at `images`, and the target's gradient there."""
    predictor = question.predictor
    images = images.detach().requires_grad_()
    with torch.enable_grad(), predictor.watch(layer) as seen:  # type: ignore[attr-defined]
        values = score(question, predictor(images))
        if not seen or seen[-1].ndim < 3:
            raise UnsupportedError(f"{method} needs a layer with a spatial map; got '{layer}'")
        (slopes,) = torch.autograd.grad(values.sum(), seen[-1])
    return seen[-1].detach(), slopes


def along(
    question: Question, start: Tensor, shares: Sequence[float], layer: str | None, method: str
) -> list[tuple[Tensor, Tensor]]:
    """`layer_at` for every point of the straight line from `start` (share 0) to the images (1)."""
    predictor = needs_gradients(question, method)
    end = torch.as_tensor(question.images).to(predictor.device)
    return [layer_at(question, start + share * (end - start), layer, method) for share in shares]


def to_image(question: Question, maps: Tensor) -> Tensor:
    """(N, K, *S') summed over filters, on the image's grid."""
    return upsample(maps.sum(dim=1).float(), question.images.shape[2:])
