"""What the gradient methods share: asking for a gradient, and saying so where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.core import ContrafactError, FeatureLayer, InputError, Question, UnsupportedError
from contrafact.perturbation.memory import out_of_memory, portions, remade


def needs_gradients(question: Question, method: str) -> Any:
    """The predictor, or an error that says what to use instead."""
    if not getattr(question.predictor, "differentiable", True) or not hasattr(question.predictor, "watch"):
        raise UnsupportedError(f"{method} needs gradients and this model gives none; use occlusion instead")
    if getattr(question.target, "frozen", False):
        _check_gradient(question)
    return question.predictor


def watchable(question: Question, method: str) -> Any:
    """The predictor, or an error when its layers are hidden."""
    if not hasattr(question.predictor, "watch") or not getattr(question.predictor, "watchable", False):
        raise UnsupportedError(f"{method} looks into layers and this model hides them; use occlusion or rise")
    return question.predictor


def _check_gradient(question: Question) -> None:
    """Of a place in a map of outputs, which may have been thresholded."""
    slopes = slopes_at(question, question.images)
    if not bool(torch.isfinite(slopes).all()):
        raise UnsupportedError(f"the gradient of target {question.target} is NaN or infinite for this model")
    if not bool(slopes.any()):
        raise UnsupportedError(
            f"the gradient of target {question.target} is zero everywhere for this model (a threshold in its "
            "last layer?); use its raw outputs, or a method without gradients"
        )


def score(question: Question, outputs: Tensor) -> Tensor:
    """Target values (N,), which must depend on the image."""
    values: Tensor = question.target(outputs)
    if values.requires_grad:
        return values
    raise UnsupportedError(
        f"the target {question.target} has no gradient for this model; "
        "use a target on logits, or a method without gradients"
    )


def slopes_at(question: Question, images: Any, *, batch: int = 16) -> Tensor:
    """Gradient (N, C, *S) of the target by the image, at `images`, `batch` at a time."""
    return scored_slopes(question, images, batch=batch)[1]


def scored_slopes(question: Question, images: Any, *, batch: int = 16) -> tuple[Tensor, Tensor]:
    """Target values (N,) and their gradients (N, C, *S) at `images`, `batch` at a time; where one
    image does not fit the memory, with activations made twice instead of kept."""
    predictor: Any = question.predictor
    images = torch.as_tensor(images).to(predictor.device).detach()
    values, slopes = images.new_zeros(len(images)), torch.empty_like(images)

    def work(part: slice) -> None:
        some = images[part].requires_grad_()
        with torch.enable_grad():
            found = score(question, predictor(some))
            (slopes[part],) = torch.autograd.grad(found.sum(), some)
        values[part] = found.detach()

    try:
        portions(len(images), batch, images[0].numel(), work)
    except ContrafactError as error:
        if not out_of_memory(error.__cause__ or error):
            raise
        with remade(predictor):
            portions(len(images), 1, images[0].numel(), work)
    return values, slopes


def feature_layer(question: Question, layer: str | None, method: str, *, module: bool = False) -> FeatureLayer:
    """The layer a method looks into, noted in the record of its results; None: the predictor's own choice.

    raises  UnsupportedError for a model whose layers are hidden, or a layer without a feature map
    """
    find = getattr(question.predictor, "feature_layer", None)
    if find is None:
        raise UnsupportedError(f"{method} looks into layers and this model hides them; use occlusion or rise")
    found: FeatureLayer = find(question.images, layer, module=True) if module else find(question.images, layer)
    question.details.update(layer=found.name, cells=list(found.cells))
    return found


def layer_map(predictor: Any, images: Any, layer: FeatureLayer) -> Tensor:
    """Activations (N, K, *cells) of a layer, in the graph where one is made."""
    with predictor.watch(layer.name) as seen:
        predictor(images)
    return layer.read(seen[-1])


def activations_at(predictor: Any, images: Any, layer: FeatureLayer) -> Tensor:
    """Activations (N, K, *cells) of a layer; no gradients."""
    with torch.no_grad():
        return layer_map(predictor, images, layer)


def layer_at(question: Question, images: Any, layer: FeatureLayer) -> tuple[Tensor, Tensor]:
    """Activations (N, K, *cells) of a layer at `images`, and the target's gradient there; the backward
    pass stops at the layer."""
    predictor: Any = question.predictor
    # Parameters are frozen, so the graph must start at the image.
    images = torch.as_tensor(images).to(predictor.device).detach().requires_grad_()
    with torch.enable_grad(), predictor.watch(layer.name) as seen:
        values = score(question, predictor(images))
        (slopes,) = torch.autograd.grad(values.sum(), seen[-1], allow_unused=True)
    if slopes is None:
        raise UnsupportedError(f"the target {question.target} does not depend on layer '{layer.name}'")
    return layer.read(seen[-1].detach()), layer.read(slopes)


def chosen_filter(maps: Tensor, channel: int | None) -> Tensor:
    """One filter (N, 1, *S') of a layer's maps, or all of them."""
    if channel is None:
        return maps
    if not 0 <= channel < maps.shape[1]:
        raise InputError(f"channel must be 0 to {maps.shape[1] - 1} for this layer; got {channel}")
    return maps[:, channel : channel + 1]


def as_map(values: Tensor) -> NDArray[np.float32]:
    """A map as a float32 array."""
    return np.asarray(values.detach().float().cpu().numpy(), dtype=np.float32)


def upsample(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Linear interpolation of (N, *S') to (N, *size)."""
    if tuple(maps.shape[1:]) == tuple(size):
        return maps
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}.get(maps.ndim - 1)
    if mode is None:
        raise InputError(f"expected a map with 1 to 3 axes; got {maps.ndim - 1}")
    return torch.nn.functional.interpolate(maps[:, None], size, mode=mode)[:, 0]
