"""Change the backward pass of every rectifier in a network.

The rule is attached to nodes of the autograd graph, not to modules, so that it covers functional, reused,
nested and in-place ReLUs, ReLU6, and a clamp or a maximum at zero. Operations that are certainly not rectifiers
(`graph_nodes`) stay unchanged; any unknown operation is refused, because a map in which some rectifiers are
unchanged is neither the method nor the plain gradient.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node

from contrafact.attribution.followed_calls import COPY_SLICES, FollowedCalls
from contrafact.attribution.gradient.graph_nodes import left_as_is, of_a_softmax, rectifies, surely_none
from contrafact.attribution.gradients import needs_gradients, score, watchable
from contrafact.core import Question, UnsupportedError

Rule = Callable[[Tensor, Tensor], Tensor]
NAMES = {
    COPY_SLICES: "an in-place operation on a part of a tensor (CopySlices hides it; set `inplace=False`)",
    "MaskedFillBackward0": "a masked_fill whose mask may depend on the image (MaskedFillBackward0)",
    "WhereBackward0": "a where whose condition may depend on the image (WhereBackward0)",
    "AmaxBackward0": "a maximum that belongs to no softmax and no pooling of a layer (AmaxBackward0)",
    "MaxBackward0": "a maximum that belongs to no softmax and no pooling of a layer (MaxBackward0)",
}


def rectified_slopes(question: Question, method: str, rule: Rule) -> Tensor:
    """Return the gradient (N, C, *S), with `rule(gradient_in, gradient_out)` as the gradient of every ReLU.

    raises  UnsupportedError for a network without a ReLU, whose map would be the plain gradient, or with an
            operation that may be a rectifier
    """
    needs_gradients(question, method, at_once=False)
    predictor = watchable(question, method)
    images = torch.as_tensor(question.images).to(predictor.device).requires_grad_()
    with torch.enable_grad():
        with followed_calls(predictor) as calls:
            outputs = predictor(images)
        values = score(question, outputs)
    return rectified_by(values.sum(), outputs, images, question, method=method, rule=rule, calls=calls)


@contextlib.contextmanager
def followed_calls(predictor: Any) -> Iterator[FollowedCalls]:
    """Run a network inside this context to get outputs that `rectified_by` can differentiate."""
    module, calls = predictor.module, FollowedCalls(_own(predictor))
    with contextlib.ExitStack() as stack:
        if isinstance(module, torch.nn.Module):
            stack.callback(module.register_forward_pre_hook(calls.begin).remove)
        yield stack.enter_context(calls)


def rectified_by(
    value: Tensor,
    outputs: Tensor,
    images: Tensor,
    question: Question,
    *,
    method: str,
    rule: Rule,
    calls: FollowedCalls,
) -> Tensor:
    """Return the changed gradient (N, C, *S) of a `value` computed from a network's `outputs` for `images`.

    Operations between the outputs and `value` keep their own gradient. Note the number of changed rectifiers,
    and the activations that stay unchanged.

    raises  UnsupportedError for a network without a ReLU, or with an operation that may be a rectifier
    """
    changed, unchanged, hidden = rectifiers(outputs, calls)
    if hidden:
        raise UnsupportedError(
            f"{method} changes how rectifiers pass gradients, and {hidden} in this network may be a rectifier: "
            "write it as a ReLU, or use integrated-gradients"
        )
    question.details.update(rectifiers=len(changed), unchanged=unchanged)
    if not changed:
        raise UnsupportedError(
            f"{method} changes how ReLUs pass gradients, and this network has none; its map would be the "
            "plain gradient: use gradient"
        )

    handles = [node.register_hook(_changed(rule, position)) for node, position in changed]
    try:
        (slopes,) = torch.autograd.grad(value, images)
    finally:
        for handle in handles:
            handle.remove()
    return torch.as_tensor(slopes)


def _changed(rule: Rule, position: int) -> Callable[..., tuple[Tensor | None, ...]]:
    """Return a hook that replaces the gradient of the input at `position` by the rule's."""

    def apply(
        gradients_in: tuple[Tensor | None, ...], gradients_out: tuple[Tensor, ...]
    ) -> tuple[Tensor | None, ...]:
        own = gradients_in[position]
        if own is None:
            return gradients_in
        return (*gradients_in[:position], rule(own, gradients_out[0]), *gradients_in[position + 1 :])

    return apply


def rectifiers(outputs: Tensor, calls: FollowedCalls) -> tuple[list[tuple[Node, int]], dict[str, int], str]:
    """Return the rectifiers, the other activations and an unknown operation in the graph behind `outputs`.

    calls  the intercepted calls of the forward pass
    gives  each rectifier with the position of its input; the number of other activations by name; and the name
           of an operation that may be a rectifier, or an empty text
    """
    changed, unchanged, hidden = [], Counter[str](), ""
    nodes = list(_behind(outputs.grad_fn))
    softmaxes = of_a_softmax(nodes)
    for node in nodes:
        if (position := rectifies(node)) is not None:
            changed.append((node, position))
        elif not (node in calls.copies or node in softmaxes or surely_none(node, calls.fixed)):
            hidden = NAMES.get(node.name(), node.name())
        elif name := left_as_is(node):
            unchanged[name] += 1
    return changed, dict(unchanged), hidden


def _behind(node: Node | None) -> Iterator[Node]:
    """Yield every node of a graph once."""
    seen, open_nodes = set(), [node]
    while open_nodes:
        node = open_nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        open_nodes.extend(parent for parent, _ in node.next_functions)


def _own(predictor: Any) -> set[int]:
    """Return the addresses of a network's parameters and buffers."""
    module = predictor.module
    if not isinstance(module, torch.nn.Module):
        return set()
    return {tensor.untyped_storage().data_ptr() for tensor in [*module.parameters(), *module.buffers()]}
