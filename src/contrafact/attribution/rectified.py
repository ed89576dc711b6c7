"""Changing what rectifiers do on the way back, wherever they stand in the network.

The rule is hung on the nodes of the autograd graph, not on modules: a functional ReLU, one used
twice, one inside a block of a block, or one that works in place is found as any other.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from contrafact.attribution.differentiable import needs_gradients, score
from contrafact.core import Question, UnsupportedError

Rule = Callable[[Tensor, Tensor], Tensor]


def rectified_slopes(question: Question, method: str, rule: Rule) -> Tensor:
    """Gradient (N, C, *S) with `rule(gradient_in, gradient_out)` in place of every ReLU's own.

    raises  UnsupportedError when the network has no ReLU: the map would be a plain gradient
    """
    predictor = needs_gradients(question, method)
    images = torch.as_tensor(question.images).to(predictor.device).requires_grad_()
    with torch.enable_grad():
        values = score(question, predictor(images))
    return rectified_by(values.sum(), images, method, rule)


def rectified_by(value: Tensor, images: Tensor, method: str, rule: Rule) -> Tensor:
    """The same for any number that was computed from `images`."""
    found = rectifiers(value)
    if not found:
        raise UnsupportedError(
            f"{method} changes how ReLUs pass gradients, and this network has none; its map would be the "
            "plain gradient: use gradient"
        )

    def apply(gradients_in: tuple[Tensor, ...], gradients_out: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (rule(gradients_in[0], gradients_out[0]), *gradients_in[1:])

    handles = [node.register_hook(apply) for node in found]
    try:
        (slopes,) = torch.autograd.grad(value, images)
    finally:
        for handle in handles:
            handle.remove()
    return torch.as_tensor(slopes)


def rectifiers(values: Tensor) -> list[torch.autograd.graph.Node]:
    """Every ReLU node of the graph behind `values`."""
    found, seen, open_nodes = [], set(), [values.grad_fn]
    while open_nodes:
        node = open_nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() in ("ReluBackward0", "ThresholdBackward0", "torch::autograd::ReluBackward0"):
            found.append(node)
        open_nodes.extend(parent for parent, _ in node.next_functions)
    return found
