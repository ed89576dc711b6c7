"""The torch functions that a network calls, changed where the autograd graph would hide what they do.

The graph alone does not tell what an operation in place on a view did (a node CopySlices keeps it to itself),
and whether a mask comes from the image. So the calls are watched while the network runs, and:

* a result that is a view of a tensor which nobody else sees, as an instance normalisation gives, is copied, so
  that what works on it in place works on a tensor of its own;
* an operation in place on any other view is computed apart, and copied to where it belongs;
* a tensor that is made of parameters, buffers and constants alone is remembered as fixed.

Every value and every gradient stays what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.overrides import TorchFunctionMode


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


COPY_SLICES = "torch::autograd::CopySlices"
IN_PLACE = _names("""
    relu_ relu6_ leaky_relu_ elu_ celu_ selu_ silu_ mish_ hardswish_ hardsigmoid_ hardtanh_ threshold_ clamp_
    clamp_min_ clamp_max_ add_ sub_ mul_ div_ neg_ exp_ sigmoid_ tanh_ sqrt_ rsqrt_ square_ pow_ masked_fill_
""")
OPERATORS = {"__iadd__": "add", "__isub__": "sub", "__imul__": "mul", "__itruediv__": "div"}
FILLS = _names("copy_ zero_ fill_")
CONSTANTS = _names("zeros ones full empty eye arange linspace tril_indices triu_indices")
# What gives the values of a tensor to Python.
TOLD = _names("""
    item tolist numpy __array__ __bool__ __int__ __float__ __complex__ __index__ __contains__ __dlpack__
    __repr__ __format__ equal allclose is_nonzero data_ptr untyped_storage storage apply_ map_
""")


class FollowedCalls(TorchFunctionMode):
    """Inside, every torch function of a network is watched.

    own     addresses of the network's parameters and buffers
    fixed   addresses of all tensors that no image changes: its own, and what was made of them and constants
    copies  nodes CopySlices of which it is known that they only copy or fill at a fixed place
    """

    def __init__(self, own: set[int]) -> None:
        super().__init__()
        self.fixed: set[int] = set(own)
        self.copies: set[Node] = set()
        self._alive: list[Any] = []  # an address belongs to one storage as long as that lives
        self._told = False

    def begin(self, *_: Any) -> None:
        """What was told of the image before the network runs is not known to the network."""
        self._told = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        given = list(_tensors([*args, *kwargs.values()]))
        apart = _apart(func, name, args, kwargs)
        result = func(*args, **kwargs) if apart is None else args[0].copy_(apart(*args, **kwargs))
        self._note_copy(name, args, apart is not None)
        self._note_fixed(name, given, result, args, kwargs)
        hidden = isinstance(result, Tensor) and result.requires_grad and result._is_view()
        if hidden and _address(result) not in map(_address, given):
            return result.clone()
        return result

    def _note_copy(self, name: str, args: Sequence[Any], apart: bool) -> None:
        plain = name == "__setitem__" and not list(_tensors(args[1:2], arrays=True))
        if not (apart or plain or name in FILLS) or not isinstance(args[0], Tensor):
            return
        whole = args[0]._base if args[0]._is_view() else args[0]
        node = None if whole is None else whole.grad_fn
        if node is not None and node.name() == COPY_SLICES:
            self.copies.add(node)

    def _note_fixed(
        self, name: str, given: list[Tensor], result: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        known = all(_address(one) in self.fixed for one in given)
        changed = [*args[:1]] if _writes(name, kwargs) else []
        if known and not self._told and name not in TOLD:
            for one in _tensors([result]) if given or name in CONSTANTS else ():
                self.fixed.add(_address(one))
                self._alive.append(one.untyped_storage())
            return
        self._told |= not known and name in TOLD
        changed += given if name in TOLD else []  # they may be written to unseen
        self.fixed -= {_address(one) for one in _tensors([*changed, kwargs.get("out")])}


def _apart(func: Callable[..., Any], name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The function that computes apart what this one would do in place on a view; None for any other call."""
    first = args[0] if args else None
    if not (isinstance(first, Tensor) and first._is_view() and torch.is_grad_enabled()):
        return None
    if kwargs.get("inplace") is True:
        kwargs["inplace"] = False
        return func
    if name in IN_PLACE or name in OPERATORS:
        twin = OPERATORS.get(name, name.removesuffix("_"))
        return getattr(torch.Tensor, twin, None) or getattr(torch.nn.functional, twin, None)
    return None


def _writes(name: str, kwargs: Mapping[str, Any]) -> bool:
    in_place = name.endswith("_") and not name.endswith("__")
    return in_place or name.startswith("__i") or name == "__setitem__" or bool(kwargs.get("inplace"))


def _address(tensor: Tensor) -> int:
    try:
        return tensor.untyped_storage().data_ptr() or -id(tensor)
    except (RuntimeError, NotImplementedError):  # sparse and nested tensors have no single storage
        return -id(tensor)


def _tensors(things: Sequence[Any], *, arrays: bool = False) -> Iterator[Any]:
    """Tensors of nested lists; with `arrays` every list as well, which indexing takes for an array."""
    for thing in things:
        if isinstance(thing, Tensor) or (arrays and (isinstance(thing, list) or hasattr(thing, "dtype"))):
            yield thing
        elif isinstance(thing, (list, tuple)):
            yield from _tensors(thing, arrays=arrays)
        elif isinstance(thing, dict):
            yield from _tensors(list(thing.values()), arrays=arrays)
