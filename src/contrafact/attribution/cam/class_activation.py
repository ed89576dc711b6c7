"""Class activation maps from one forward and one backward pass, shared by all members of the family.

A member is a function of a layer's activations A and their gradients G, both (N, K, *S'), that returns maps
(N, *S'). The backward pass stops at the layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.attribution.gradients import as_map, feature_layer, layer_at, needs_gradients
from contrafact.core import FeatureLayer, Question, UnsupportedError
from contrafact.core.intervals import LEAST_MEAN, mean_share

Member = Callable[[Tensor, Tensor], Tensor]
NEGLIGIBLE = 1e-3  # greatest share of negative divisors; least share of the terms that their sum must keep


def layer_pass(question: Question, layer: str | None, method: str) -> tuple[FeatureLayer, Tensor, Tensor]:
    """Return a layer, its activations (N, K, *cells) and the target's gradient with respect to them."""
    needs_gradients(question, method, at_once=False)
    chosen = feature_layer(question, layer, method)
    activations, slopes = layer_at(question, question.images, chosen)
    if not bool(slopes.flatten(1).any(dim=1).all() and torch.isfinite(slopes).all()):
        needs_gradients(question, method)
    return chosen, activations, slopes


def cam_map(question: Question, layer: str | None, method: str, member: Member) -> NDArray[np.float32]:
    """Return one member's maps (N, *S), linearly interpolated between the centres of the layer's cells.

    raises  UnsupportedError for a member whose channel weights cancel at this layer
    """
    chosen, activations, slopes = layer_pass(question, layer, method)
    _check_weights(member, chosen, activations, slopes, method)
    return as_map(chosen.on_image(member(activations, slopes).float()))


def cam_panel(
    question: Question, members: Mapping[str, Member], *, layer: str | None = None
) -> dict[str, NDArray[np.float32]]:
    """Return the maps (N, *S) of several members by name, from a single pass.

    raises  UnsupportedError if the weights of a member have no meaning at this layer
    """
    chosen, activations, slopes = layer_pass(question, layer, "cam_panel")
    for name, member in members.items():
        _check_weights(member, chosen, activations, slopes, name)
    return {name: as_map(chosen.on_image(m(activations, slopes).float())) for name, m in members.items()}


def _check_weights(
    member: Member, layer: FeatureLayer, activations: Tensor, slopes: Tensor, method: str
) -> None:
    """Raise an error for a layer at which a member's weights have no meaning.

    `grad_cam`, `x_grad_cam`: the weights are rounding errors, because the gradient before a normalisation has
    mean 0, also weighted by the activations. `grad_cam_plus_plus`: the divisor crosses 0, because activations
    are negative. `hires_cam`: the terms cancel over channels before a normalisation over channels.
    """
    if member is grad_cam_plus_plus:
        return _check_shares(layer, activations, slopes, method)
    if member is hires_cam:
        return _check_terms(layer, slopes * activations, method)
    if member not in (grad_cam, x_grad_cam) or not bool(slopes.any()):
        return
    left = mean_share(slopes if member is grad_cam else slopes * activations)
    if left < LEAST_MEAN:
        raise UnsupportedError(
            f"{method} weights channels by their mean gradient, which cancels at layer '{layer.name}' "
            f"(a normalisation follows: {left:.1e} of the gradient is left); choose a layer after the "
            "normalisation and its activation, omit the layer, or use hirescam"
        )


def _check_shares(layer: FeatureLayer, activations: Tensor, slopes: Tensor, method: str) -> None:
    """Raise an error if divisors of Grad-CAM++ are negative."""
    divisors = _divisors(activations, slopes)
    wrong = float((divisors[slopes > 0] < 0).float().mean()) if bool((slopes > 0).any()) else 0.0
    if wrong > NEGLIGIBLE:
        raise UnsupportedError(
            f"{method} divides by sums of activations that must not be negative, and at layer '{layer.name}' "
            f"{wrong:.1%} of its divisors are; use gradcam or layercam, or choose a layer after a rectifier"
        )


def _check_terms(layer: FeatureLayer, terms: Tensor, method: str) -> None:
    """Raise an error if gradient times activation cancels over channels."""
    whole = terms.abs().sum()
    left = float(terms.sum(dim=1).abs().sum() / whole.clamp_min(1e-30))
    if bool(whole > 0) and left < NEGLIGIBLE:
        raise UnsupportedError(
            f"{method} adds gradient times activation over channels, which cancels at layer '{layer.name}' (a "
            f"normalisation of tokens follows: {left:.1e} of it is left); choose the layer of that "
            "normalisation, such as blocks.11.norm1, or use gradcam"
        )


def _divisors(activations: Tensor, slopes: Tensor) -> Tensor:
    """Return the divisors of Chattopadhyay et al. 2018, eq. 19."""
    return 2 * slopes.square() + activations.sum(dim=spatial_axes(slopes), keepdim=True) * slopes**3


def spatial_axes(maps: Tensor) -> tuple[int, ...]:
    """Return the spatial axes of (N, K, *S')."""
    return tuple(range(2, maps.ndim))


def grad_cam(activations: Tensor, slopes: Tensor) -> Tensor:
    """Return Grad-CAM maps: Selvaraju et al. 2017, eq. 1 and 2, without the ReLU."""
    return (slopes.mean(dim=spatial_axes(slopes), keepdim=True) * activations).sum(dim=1)


def grad_cam_plus_plus(activations: Tensor, slopes: Tensor) -> Tensor:
    """Return Grad-CAM++ maps: Chattopadhyay et al. 2018, eq. 19, for the exponential of the score."""
    axes = spatial_axes(slopes)
    divisors = _divisors(activations, slopes)
    valid = divisors.abs() > 1e-12
    shares = torch.where(valid, slopes.square() / divisors.where(valid, divisors.new_ones(())), 0.0)
    weights = (shares * slopes.clamp_min(0)).sum(dim=axes, keepdim=True)
    return (weights * activations).sum(dim=1)


def x_grad_cam(activations: Tensor, slopes: Tensor) -> Tensor:
    """Return XGrad-CAM maps: Fu et al. 2020, eq. 7, gradients weighted by the activations."""
    axes = spatial_axes(slopes)
    total = activations.sum(dim=axes, keepdim=True)
    weights = (slopes * activations).sum(dim=axes, keepdim=True) / total.where(
        total.abs() > 1e-12, total.new_ones(())
    )
    return (weights * activations).sum(dim=1)


def hires_cam(activations: Tensor, slopes: Tensor) -> Tensor:
    """Return HiResCAM maps: Draelos & Carin 2020, eq. 5, gradient times activation at each position."""
    return (slopes * activations).sum(dim=1)


def layer_cam(activations: Tensor, slopes: Tensor) -> Tensor:
    """Return LayerCAM maps: Jiang et al. 2021, eq. 5 and 6, positive gradients only."""
    return (slopes.clamp_min(0) * activations).sum(dim=1)


def eigen_cam(activations: Tensor, slopes: Tensor) -> Tensor:
    """Return EigenCAM maps: Muhammad & Yeasin 2020, the first principal component of gradient times activation.

    A principal component has no sign; it gets the sign that agrees with the sum over channels.
    """
    terms = (slopes * activations).flatten(2)
    centred = terms - terms.mean(dim=2, keepdim=True)
    _, vectors = torch.linalg.eigh(centred.double() @ centred.double().transpose(1, 2))
    first = vectors[:, :, -1].to(terms)
    maps = (first[:, :, None] * terms).sum(dim=1)
    sign = (maps * terms.sum(dim=1)).sum(dim=1, keepdim=True).sign()
    return (maps * sign).reshape(terms.shape[0], *activations.shape[2:])


MEMBERS: dict[str, Member] = {
    "gradcam": grad_cam,
    "gradcam++": grad_cam_plus_plus,
    "xgradcam": x_grad_cam,
    "hirescam": hires_cam,
    "layercam": layer_cam,
    "eigencam": eigen_cam,
}
