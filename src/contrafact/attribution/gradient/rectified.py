"""Changing what rectifiers do on the way back, wherever they stand in the network.

The rule is hung on the nodes of the autograd graph, not on modules: a functional ReLU, one used twice, one
inside a block of a block, one that works in place, a ReLU6, a clamp or a maximum at zero is found as any
other. Only operations that are known to be none are passed by (`graph_nodes`); any other is refused: a map that
leaves some rectifiers alone is neither the method nor the plain gradient.
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
from contrafact.attribution.gradients import needs_gradients, score
from contrafact.core import Question, UnsupportedError

Rule = Callable[[Tensor, Tensor], Tensor]
NAMES = {
    COPY_SLICES: "an operation in place on a part of a tensor (CopySlices; what it does is hidden: "
    "`inplace=False` shows it)",
    "MaskedFillBackward0": "a masked_fill whose mask may come from the image (MaskedFillBackward0)",
    "WhereBackward0": "a where whose condition may come from the image (WhereBackward0)",
    "AmaxBackward0": "a maximum that is neither of a softmax nor over places of a layer (AmaxBackward0)",
    "MaxBackward0": "a maximum that is neither of a softmax nor over places of a layer (MaxBackward0)",
}


def rectified_slopes(question: Question, method: str, rule: Rule) -> Tensor:
    """Gradient (N, C, *S) with `rule(gradient_in, gradient_out)` in place of every ReLU's own.

    raises  UnsupportedError when the network has no ReLU: the map would be a plain gradient
    """
    predictor = needs_gradients(question, method)
    images = torch.as_tensor(question.images).to(predictor.device).requires_grad_()
    with torch.enable_grad():
        with followed_calls(predictor) as calls:
            outputs = predictor(images)
        values = score(question, outputs)
    return rectified_by(values.sum(), outputs, images, question, method=method, rule=rule, calls=calls)


@contextlib.contextmanager
def followed_calls(predictor: Any) -> Iterator[FollowedCalls]:
    """Inside, a network gives the outputs that `rectified_by` goes back from."""
    module, calls = getattr(predictor, "module", None), FollowedCalls(_own(predictor))
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
    """The same for any number that was computed from a network's `outputs` for `images`; how many rectifiers
    were changed, and which other activations were left as they are, is noted. What comes after the outputs is
    the question's, and stays as it is.

    raises  UnsupportedError as well for what may be a rectifier and cannot be followed
    """
    found, left, hidden = rectifiers(outputs, calls)
    if hidden:
        raise UnsupportedError(
            f"{method} changes how rectifiers pass gradients, and {hidden} in this network may be one that "
            "cannot be told: write it as a ReLU, or use integrated-gradients"
        )
    question.details.update(rectifiers=len(found), unchanged=left)
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


def rectifiers(outputs: Tensor, calls: FollowedCalls) -> tuple[list[tuple[Node, int]], dict[str, int], str]:
    """Every rectifier of the graph behind `outputs`, with the place of its input among the node's; how many
    there are of each activation that is none; and the name of one operation that may be a rectifier and cannot
    be told, or nothing.

    calls  that gave the outputs
    """
    found, left, hidden = [], Counter[str](), ""
    nodes = list(_behind(outputs.grad_fn))
    softmaxes = of_a_softmax(nodes)
    for node in nodes:
        if (place := rectifies(node)) is not None:
            found.append((node, place))
        elif not (node in calls.copies or node in softmaxes or surely_none(node, calls.fixed)):
            hidden = NAMES.get(node.name(), node.name())
        elif name := left_as_is(node):
            left[name] += 1
    return found, dict(left), hidden


def _behind(node: Node | None) -> Iterator[Node]:
    """Every node of a graph, once."""
    seen, open_nodes = set(), [node]
    while open_nodes:
        node = open_nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        open_nodes.extend(parent for parent, _ in node.next_functions)


def _own(predictor: Any) -> set[int]:
    """Addresses of what a network holds, which no image changes."""
    module = getattr(predictor, "module", None)
    if not isinstance(module, torch.nn.Module):
        return set()
    return {held.untyped_storage().data_ptr() for held in [*module.parameters(), *module.buffers()]}
