"""Intercept the torch functions of a network, so that the autograd graph shows every rectifier.

The graph alone does not show what an in-place operation on a view does (a CopySlices node hides it), nor
whether a mask depends on the image. `FollowedCalls` intercepts the calls while the network runs:

* it copies a result that is a view of an internal tensor (an instance normalisation returns one), so that a
  later in-place operation works on a separate tensor;
* it computes an in-place operation on any other view out of place, and copies the result back;
* it records as fixed every tensor computed only from parameters, buffers and constants.

No value and no gradient changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
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
# Functions that pass the values of a tensor to Python.
READS_VALUES = _names("""
    item tolist numpy __array__ __bool__ __int__ __float__ __complex__ __index__ __contains__ __dlpack__
    __repr__ __format__ equal allclose is_nonzero data_ptr untyped_storage storage apply_ map_
""")


class FollowedCalls(TorchFunctionMode):
    """Mode that intercepts every torch function a network calls.

    own     addresses of the network's parameters and buffers
    fixed   addresses of all tensors that do not depend on the image: `own`, and tensors computed only from
            those and constants
    copies  CopySlices nodes that only copy or fill at a fixed position
    """

    def __init__(self, own: set[int]) -> None:
        super().__init__()
        self.fixed: set[int] = set(own)
        self.copies: set[Node] = set()
        self._alive: list[Any] = []  # keeps storages alive, so that no address is reused
        self._values_read = False

    def begin(self, *_: Any) -> None:
        """Forget values that Python read before the network ran: the network does not know them."""
        self._values_read = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        inputs = list(_tensors([*args, *kwargs.values()]))
        separate = _out_of_place(func, name, args, kwargs)
        result = func(*args, **kwargs) if separate is None else args[0].copy_(separate(*args, **kwargs))
        self._note_copy(name, args, separate is not None)
        self._note_fixed(name, inputs, result, args, kwargs)
        hidden = isinstance(result, Tensor) and result.requires_grad and result._is_view()
        if hidden and _address(result) not in map(_address, inputs):
            return result.clone()
        return result

    def _note_copy(self, name: str, args: Sequence[Any], copied_back: bool) -> None:
        """Record the CopySlices node of a call that only copies or fills at a fixed position."""
        plain = name == "__setitem__" and not list(_tensors(args[1:2], arrays=True))
        if not (copied_back or plain or name in FILLS) or not isinstance(args[0], Tensor):
            return
        whole = args[0]._base if args[0]._is_view() else args[0]
        node = None if whole is None else whole.grad_fn
        if node is not None and node.name() == COPY_SLICES:
            self.copies.add(node)

    def _note_fixed(
        self, name: str, inputs: list[Tensor], result: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """Record whether a result is fixed, and forget fixed tensors that the call overwrites."""
        all_fixed = all(_address(tensor) in self.fixed for tensor in inputs)
        changed = [*args[:1]] if _writes(name, kwargs) else []
        if all_fixed and not self._values_read and name not in READS_VALUES:
            for tensor in _tensors([result]) if inputs or name in CONSTANTS else ():
                self.fixed.add(_address(tensor))
                self._alive.append(tensor.untyped_storage())
            return
        self._values_read |= not all_fixed and name in READS_VALUES
        changed += inputs if name in READS_VALUES else []  # Python may write to them later
        self.fixed -= {_address(tensor) for tensor in _tensors([*changed, kwargs.get("out")])}


def _out_of_place(func: Callable[..., Any], name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Return the out-of-place form of an in-place function called on a view; None for any other call."""
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
    """Whether a call overwrites its first argument."""
    in_place = name.endswith("_") and not name.endswith("__")
    return in_place or name.startswith("__i") or name == "__setitem__" or bool(kwargs.get("inplace"))


def _address(tensor: Tensor) -> int:
    """Return the address of a tensor's storage, or a unique negative number for a tensor without one."""
    if isinstance(tensor, FakeTensor):  # of the checks of a program; it would warn
        return -id(tensor)
    try:
        return tensor.untyped_storage().data_ptr() or -id(tensor)
    except (RuntimeError, NotImplementedError):  # sparse and nested tensors have no single storage
        return -id(tensor)


def _tensors(values: Sequence[Any], *, arrays: bool = False) -> Iterator[Any]:
    """Yield the tensors in nested lists; with `arrays` also lists and arrays, which an index may contain."""
    for value in values:
        if isinstance(value, Tensor) or (arrays and (isinstance(value, list) or hasattr(value, "dtype"))):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value, arrays=arrays)
        elif isinstance(value, dict):
            yield from _tensors(list(value.values()), arrays=arrays)
