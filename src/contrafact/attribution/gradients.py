"""Gradients, layers and activations of a model for the heatmap methods; errors where a model has none."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.checkpoint import CheckpointError

from contrafact.core import ContrafactError, FeatureLayer, InputError, Question, UnsupportedError
from contrafact.core.target_kinds import FrozenPlace
from contrafact.perturbation import memory
from contrafact.perturbation.memory import out_of_memory, portions, remade


def needs_gradients(question: Question, method: str, *, at_once: bool = True) -> Any:
    """Return the predictor of a question.

    at_once  check the gradient of a target of a segmenter before the method begins, for a pass with gradients.
             False, for a method whose map is a sum of gradients by the image: only if its map turns out empty
             or not finite (`Question.doubts`)
    raises   UnsupportedError for a model without gradients, or a target whose gradient is 0 everywhere or not
             finite
    """
    if not question.predictor.differentiable:
        raise UnsupportedError(f"{method} needs gradients and this model has none; use occlusion instead")
    if isinstance(question.target, FrozenPlace):
        if at_once:
            _check_gradient(question)
        else:
            question.doubts.append(lambda: _check_gradient(question))
    return question.predictor


def watchable(question: Question, method: str) -> Any:
    """Return the predictor of a question.

    raises  UnsupportedError for a model whose layers cannot be read
    """
    if not question.predictor.watchable:
        raise UnsupportedError(f"{method} reads layers and this model hides them; use occlusion or rise")
    return question.predictor


def _check_gradient(question: Question) -> None:
    """Raise an error for a target whose gradient is 0 everywhere (a thresholded output map) or not finite."""
    slopes = slopes_at(question, question.images)
    if not bool(torch.isfinite(slopes).all()):
        raise UnsupportedError(f"the gradient of target {question.target} is NaN or infinite for this model")
    if not bool(slopes.any()):
        raise UnsupportedError(
            f"the gradient of target {question.target} is zero everywhere for this model (a threshold in its "
            "last layer?); use its raw outputs, or a method without gradients"
        )


def score(question: Question, outputs: Tensor) -> Tensor:
    """Return target values (N,) with their autograd graph.

    raises  UnsupportedError for a target without a gradient
    """
    values: Tensor = question.target(outputs)
    if values.requires_grad:
        return values
    raise UnsupportedError(
        f"the target {question.target} has no gradient for this model; "
        "use a target on logits, or a method without gradients"
    )


def passed_back(outputs: Tensor, images: Tensor, start: Tensor, method: str) -> Tensor:
    """Return what `start` at the outputs becomes at the images, through layers whose gradients are changed.

    raises  UnsupportedError for a network that computes activations again, without the change
    """
    try:
        (values,) = torch.autograd.grad(outputs, images, start)
    except CheckpointError as error:
        raise UnsupportedError(
            f"{method} changes gradients of layers, which torch.utils.checkpoint computes again without the "
            "change: turn checkpointing off, or use integrated-gradients"
        ) from error
    return torch.as_tensor(values)


def slopes_at(question: Question, images: Any, *, batch: int = 16) -> Tensor:
    """Return the gradient (N, C, *S) of the target with respect to `images`, `batch` images at a time."""
    return scored_slopes(question, images, batch=batch)[1]


def scored_slopes(question: Question, images: Any, *, batch: int = 16) -> tuple[Tensor, Tensor]:
    """Return target values (N,) and their gradients (N, C, *S) at `images`, at most `batch` images at a time.

    Large images are taken one at a time where the network holds much for each (`memory.HELD`). If the memory
    is too small for one image, activations are computed twice instead of stored.
    """
    predictor: Any = question.predictor
    unchanged = images is question.images and not question.outputs
    images = torch.as_tensor(images).to(predictor.device).detach()
    values, slopes = images.new_zeros(len(images)), torch.empty_like(images)

    def work(part: slice) -> int:
        inputs = images[part].requires_grad_()
        with torch.enable_grad():
            outputs = predictor(inputs)
            scores = score(question, outputs)
            held = _held(scores, part, images[0].numel())
            (slopes[part],) = torch.autograd.grad(scores.sum(), inputs)
        values[part] = scores.detach()
        if unchanged:
            question.outputs.extend(outputs.detach())
        return held

    try:
        portions(len(images), batch, images[0].numel(), work, measured=True)
    except ContrafactError as error:
        if not out_of_memory(error.__cause__ or error):
            raise
        with remade(predictor):
            portions(len(images), 1, images[0].numel(), work)
    return values, slopes


def _held(scores: Tensor, part: slice, voxels: int) -> int:
    """Return the bytes that the graph of a pass holds, where `portions` asks for them: for large images, in the
    first pass."""
    return memory.held_bytes(scores) if part.start == 0 and voxels >= memory.LARGE else 0


def feature_layer(question: Question, layer: str | None, method: str, *, module: bool = False) -> FeatureLayer:
    """Return the layer that a method reads, and note it in the record of its results.

    layer   name of the layer; None: the predictor's default
    raises  UnsupportedError for a model whose layers cannot be read, or a layer without a feature map
    """
    predictor: Any = question.predictor
    if not predictor.differentiable:
        raise UnsupportedError(f"{method} reads layers and this model hides them; use occlusion or rise")
    more = {"module": True} if module else {}
    chosen: FeatureLayer = predictor.feature_layer(question.images, layer, **more)
    question.details.update(layer=chosen.name, cells=list(chosen.cells))
    return chosen


def layer_map(predictor: Any, images: Any, layer: FeatureLayer) -> Tensor:
    """Return the activations (N, K, *cells) of a layer, with their autograd graph if gradients are enabled."""
    with predictor.watch(layer.name) as seen:
        predictor(images)
    return layer.read(seen[-1])


def activations_at(predictor: Any, images: Any, layer: FeatureLayer) -> Tensor:
    """Return the activations (N, K, *cells) of a layer, without an autograd graph."""
    parts: list[Tensor] = []

    def work(part: slice) -> None:
        parts.append(layer_map(predictor, images[part], layer))

    with torch.no_grad():
        portions(len(images), len(images), math.prod(images.shape[1:]), work)
    return torch.cat(parts)


def layer_at(question: Question, images: Any, layer: FeatureLayer) -> tuple[Tensor, Tensor]:
    """Return the activations (N, K, *cells) of a layer at `images`, and the target's gradient with respect
    to them; the backward pass stops at the layer. Large images are taken a few at a time, as in
    `scored_slopes`."""
    predictor: Any = question.predictor
    unchanged = images is question.images and not question.outputs
    images = torch.as_tensor(images).to(predictor.device).detach()
    read: list[tuple[Tensor, Tensor]] = []

    def work(part: slice) -> int:
        # Parameters are frozen, so the graph must start at the image.
        inputs = images[part].requires_grad_()
        with torch.enable_grad(), predictor.watch(layer.name) as seen:
            outputs = predictor(inputs)
            values = score(question, outputs)
            held = _held(values, part, images[0].numel())
            (slopes,) = torch.autograd.grad(values.sum(), seen[-1], allow_unused=True)
        if unchanged:
            question.outputs.extend(outputs.detach())
        if slopes is None:
            raise UnsupportedError(f"the target {question.target} does not depend on layer '{layer.name}'")
        read.append((layer.read(seen[-1].detach()), layer.read(slopes)))
        return held

    portions(len(images), len(images), images[0].numel(), work, measured=True)
    activations, slopes = zip(*read, strict=True)
    return torch.cat(activations), torch.cat(slopes)


def chosen_filter(maps: Tensor, channel: int | None) -> Tensor:
    """Return one filter (N, 1, *S') of a layer's maps, or all filters if `channel` is None."""
    if channel is None:
        return maps
    if not 0 <= channel < maps.shape[1]:
        raise InputError(f"channel must be 0 to {maps.shape[1] - 1} for this layer; got {channel}")
    return maps[:, channel : channel + 1]


def as_map(values: Tensor) -> NDArray[np.float32]:
    """Return a map as a float32 array."""
    return np.asarray(values.detach().float().cpu().numpy(), dtype=np.float32)


def upsample(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return maps (N, *S') linearly interpolated to (N, *size)."""
    if tuple(maps.shape[1:]) == tuple(size):
        return maps
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}.get(maps.ndim - 1)
    if mode is None:
        raise InputError(f"expected a map with 1 to 3 axes; got {maps.ndim - 1}")
    return torch.nn.functional.interpolate(maps[:, None], size, mode=mode)[:, 0]
