"""The family of class activation maps: one forward and one backward pass serve all of its members.

A member is a function of a layer's activations A and their gradients G, both (N, K, *S'), to maps
(N, *S'). The backward pass stops at the layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.attribution.differentiable import as_map, layer_at, needs_gradients, upsample
from contrafact.core import Question

Member = Callable[[Tensor, Tensor], Tensor]


def layer_pass(question: Question, layer: str | None, method: str) -> tuple[Tensor, Tensor]:
    """Activations (N, K, *S') of a layer and the target's gradient there."""
    needs_gradients(question, method)
    return layer_at(question, question.images, layer, method)


def cam_map(question: Question, layer: str | None, method: str, member: Member) -> NDArray[np.float32]:
    """One member's maps (N, *S), linearly interpolated from the layer to the image."""
    activations, slopes = layer_pass(question, layer, method)
    return as_map(upsample(member(activations, slopes).float(), question.images.shape[2:]))


def cam_panel(
    question: Question, members: Mapping[str, Member], *, layer: str | None = None
) -> dict[str, NDArray[np.float32]]:
    """Several members' maps (N, *S) by name, from a single pass."""
    activations, slopes = layer_pass(question, layer, "cam_panel")
    size = question.images.shape[2:]
    return {name: as_map(upsample(m(activations, slopes).float(), size)) for name, m in members.items()}


def places(maps: Tensor) -> tuple[int, ...]:
    """The spatial axes of (N, K, *S')."""
    return tuple(range(2, maps.ndim))


def grad_cam(activations: Tensor, slopes: Tensor) -> Tensor:
    """Selvaraju et al. 2017, eq. 1 and 2, without the ReLU."""
    return (slopes.mean(dim=places(slopes), keepdim=True) * activations).sum(dim=1)


def grad_cam_plus_plus(activations: Tensor, slopes: Tensor) -> Tensor:
    """Chattopadhyay et al. 2018, eq. 19, for the exponential of the score."""
    axes = places(slopes)
    square, cube = slopes.square(), slopes**3
    below = 2 * square + activations.sum(dim=axes, keepdim=True) * cube
    shares = torch.where(
        below.abs() > 1e-12, square / below.where(below.abs() > 1e-12, below.new_ones(())), 0.0
    )
    weights = (shares * slopes.clamp_min(0)).sum(dim=axes, keepdim=True)
    return (weights * activations).sum(dim=1)


def x_grad_cam(activations: Tensor, slopes: Tensor) -> Tensor:
    """Fu et al. 2020, eq. 7: gradients weighed by the activations themselves."""
    axes = places(slopes)
    total = activations.sum(dim=axes, keepdim=True)
    weights = (slopes * activations).sum(dim=axes, keepdim=True) / total.where(
        total.abs() > 1e-12, total.new_ones(())
    )
    return (weights * activations).sum(dim=1)


def hires_cam(activations: Tensor, slopes: Tensor) -> Tensor:
    """Draelos & Carin 2020, eq. 5: gradient times activation, place by place."""
    return (slopes * activations).sum(dim=1)


def layer_cam(activations: Tensor, slopes: Tensor) -> Tensor:
    """Jiang et al. 2021, eq. 5 and 6: only what speaks for the class."""
    return (slopes.clamp_min(0) * activations).sum(dim=1)


def eigen_cam(activations: Tensor, slopes: Tensor) -> Tensor:
    """Muhammad & Yeasin 2020: the first principal component of gradient times activation.

    A component has no sign of its own; it is turned to agree with the sum over channels.
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
