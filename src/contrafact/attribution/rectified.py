"""Changing what rectifiers do on the way back, wherever they stand in the network.

The rule is hung on the nodes of the autograd graph, not on modules: a functional ReLU, one used twice, one
inside a block of a block, one that works in place, a ReLU6, a clamp or a maximum at zero is found as any
other. What may be a rectifier and cannot be told (a `where`, a product with a mask, a custom function) is
refused: a map that leaves some rectifiers alone is neither the method nor the plain gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.overrides import TorchFunctionMode

from contrafact.attribution.differentiable import needs_gradients, score
from contrafact.core import Question, UnsupportedError

Rule = Callable[[Tensor, Tensor], Tensor]
COMPARISONS = {
    "gt",
    "ge",
    "lt",
    "le",
    "__gt__",
    "__ge__",
    "__lt__",
    "__le__",
    "greater",
    "less",
    "sign",
    "heaviside",
}


def rectified_slopes(question: Question, method: str, rule: Rule) -> Tensor:
    """Gradient (N, C, *S) with `rule(gradient_in, gradient_out)` in place of every ReLU's own.

    raises  UnsupportedError when the network has no ReLU: the map would be a plain gradient
    """
    predictor = needs_gradients(question, method)
    images = torch.as_tensor(question.images).to(predictor.device).requires_grad_()
    with torch.enable_grad(), Comparing() as comparing:
        values = score(question, predictor(images))
    return rectified_by(values.sum(), images, question, comparing, method=method, rule=rule)


class Comparing(TorchFunctionMode):
    """Notes whether, inside, values that depend on the image are compared: only then may a factor of zeros and
    ones be a rectifier's, and not a fixed mask."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in COMPARISONS:
            self.seen |= any(isinstance(value, Tensor) and value.requires_grad for value in args)
        return func(*args, **(kwargs or {}))


def rectified_by(
    value: Tensor, images: Tensor, question: Question, comparing: Comparing, *, method: str, rule: Rule
) -> Tensor:
    """The same for any number that was computed from `images` inside `comparing`; how many rectifiers were
    changed is noted.

    raises  UnsupportedError as well for what may be a rectifier and cannot be followed
    """
    found, hidden = rectifiers(value, compared=comparing.seen)
    if hidden:
        raise UnsupportedError(
            f"{method} changes how rectifiers pass gradients, and {hidden} in this network may be one that "
            "cannot be told: write it as a ReLU, or use integrated-gradients"
        )
    question.details["rectifiers"] = len(found)
    if not found:
        raise UnsupportedError(
            f"{method} changes how ReLUs pass gradients, and this network has none; its map would be the "
            "plain gradient: use gradient"
        )

    handles = [node.register_hook(_changed(rule, place)) for node, place in found]
    try:
        (slopes,) = torch.autograd.grad(value, images)
    finally:
        for handle in handles:
            handle.remove()
    return torch.as_tensor(slopes)


def _changed(rule: Rule, place: int) -> Callable[..., tuple[Tensor | None, ...]]:
    """A hook that puts the rule's gradient for the input at `place`."""

    def apply(
        gradients_in: tuple[Tensor | None, ...], gradients_out: tuple[Tensor, ...]
    ) -> tuple[Tensor | None, ...]:
        own = gradients_in[place]
        if own is None:
            return gradients_in
        return (*gradients_in[:place], rule(own, gradients_out[0]), *gradients_in[place + 1 :])

    return apply


def rectifiers(values: Tensor, *, compared: bool = True) -> tuple[list[tuple[Node, int]], str]:
    """Every rectifier of the graph behind `values`, with the place of its input among the node's; and the
    name of one operation that may be a rectifier and cannot be told, or nothing."""
    found, hidden = [], ""
    seen, open_nodes = set(), [values.grad_fn]
    while open_nodes:
        node = open_nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (place := _rectifies(node)) is not None:
            found.append((node, place))
        elif _may_rectify(node, compared):
            hidden = node.name()
        open_nodes.extend(parent for parent, _ in node.next_functions)
    return found, hidden


def _rectifies(node: Node) -> int | None:
    """The place of the input that a node keeps where it is positive and replaces by zero elsewhere; None for
    any other operation."""
    name = node.name()
    if name in ("ReluBackward0", "ThresholdBackward0", "torch::autograd::ReluBackward0"):
        return 0
    saved = vars_of(node)
    if name == "HardtanhBackward0" and saved("min_val") == 0:
        return 0
    if name in ("ClampBackward1", "ClampMinBackward0") and saved("min") == 0:
        return 0
    if name in ("MaximumBackward0", "FmaxBackward0"):
        constants = [k for k, (parent, _) in enumerate(node.next_functions) if parent is None]
        if len(constants) == 1 and not bool(saved(("self", "other")[constants[0]]).any()):
            return 1 - constants[0]
    return None


def _may_rectify(node: Node, compared: bool) -> bool:
    """Whether a node may be, or hide, a rectifier: a choice against a constant, a product with a mask, a
    modulus, a function with its own backward pass."""
    name = node.name()
    if isinstance(node, torch.autograd.function.BackwardCFunction) or "DifferentiableGraph" in name:
        return True
    constant = any(parent is None for parent, _ in node.next_functions)
    if name == "MulBackward0" and constant and compared:
        return any(_is_mask(vars_of(node)(side)) for side in ("self", "other"))
    return name == "AbsBackward0" or (name == "WhereBackward0" and constant and compared)


def _is_mask(value: Any) -> bool:
    """Whether a factor is zero at some places and one at all others."""
    if not isinstance(value, Tensor) or value.requires_grad or value.numel() < 2:
        return False
    if value.dtype == torch.bool:
        return True
    return bool(((value == 0) | (value == 1)).all()) and bool((value == 0).any()) and bool((value == 1).any())


def vars_of(node: Node) -> Callable[[str], Any]:
    """What a node saved of its operands, by name."""
    return lambda name: getattr(node, f"_saved_{name}", None)
