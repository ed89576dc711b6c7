"""The functions of a program of `torch.export`, as a network in Python calls them.

A program calls operators of ATen, such as `aten.batch_norm.default`. Methods know the functions of torch, such
as `F.batch_norm`: they read layers behind them, follow positions through them, and have rules of relevance for
them. So each operator is replaced by the function of torch that computes the same; one without stays.
"""

from __future__ import annotations

import operator
import types
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx
from torch._ops import OpOverload

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
# Functions written in Python, whose first arguments are those of the operator: how many of them.
SAME = {
    **{f"adaptive_avg_pool{n}d": 2 for n in (2, 3)},
    **dict.fromkeys(("layer_norm", "group_norm"), 5),
    **dict.fromkeys(("dropout", "hardtanh", "split"), 3),
    **dict.fromkeys(("elu", "celu", "leaky_relu"), 2),
    **dict.fromkeys(("relu6", "silu", "mish", "selu", "hardswish", "hardsigmoid"), 1),
    "pad": 4,
}
IGNORED = {"layer_norm", "group_norm"}  # whose further arguments change no value
UPSAMPLED = {"nearest1d": "nearest", "nearest2d": "nearest", "nearest3d": "nearest", "linear1d": "linear",
             "bilinear2d": "bilinear", "bicubic2d": "bicubic", "trilinear3d": "trilinear"}  # fmt: skip


def with_functions(module: fx.GraphModule) -> fx.GraphModule:
    """Replace the operators of a program by functions, in place, and return it."""
    for node in module.graph.nodes:
        if node.op == "call_function" and isinstance(node.target, OpOverload):
            call = _call(node.target, node.args, dict(node.kwargs))
            if call is not None:
                node.target, node.args, node.kwargs = call
    module.recompile()
    return module


def _call(target: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    """Return function and arguments that compute what an operator does; None if none is known."""
    if target.namespace != "aten":
        return None
    name = target._schema.name.removeprefix("aten::")
    if name in ("batch_norm", "instance_norm"):  # weight and bias come before mean and variance
        x, weight, bias, mean, var, *more = args
        return getattr(F, name), (x, mean, var, weight, bias, *more[:3]), kwargs
    if name.startswith("upsample_") and target._overloadname == "vec":
        return _resize(name.removeprefix("upsample_"), *args)
    if name == "slice":
        return _slice(*args)
    if name == "sym_size":
        return torch.Tensor.size, args, {}
    if name == "einsum":
        return torch.einsum, (args[0], *args[1]), {}
    if name.startswith("index_put"):  # the method takes no axis without an index
        return None
    if name == "to":  # the method takes no layout; that of images is always the same
        kwargs.pop("layout", None)
    plain = name.removesuffix("_")
    if plain in SAME:
        if len(args) > SAME[plain] and plain not in IGNORED:
            return None
        in_place = {"inplace": True} if name != plain else {}
        return getattr(F, plain, None) or getattr(torch, plain), args[: SAME[plain]], {**kwargs, **in_place}
    function = _made_from_the_schema(name)
    return None if function is None else (function, args, kwargs)


def _made_from_the_schema(name: str) -> Callable[..., Any] | None:
    """Return the function or method of that name whose arguments torch makes from the operator's schema."""
    for place, kind in (
        (torch, types.BuiltinFunctionType),
        (torch.Tensor, types.MethodDescriptorType),
        (F, types.BuiltinFunctionType),
    ):
        found: Any = getattr(place, name, None)
        if isinstance(found, kind):
            return found
    return None


def _resize(kind: str, x: Any, size: Any, *more: Any) -> Call | None:
    if kind not in UPSAMPLED:
        return None
    mode = UPSAMPLED[kind]
    corners, factors = (None, *more) if mode == "nearest" else more
    return F.interpolate, (x, size, None if size is not None else factors, mode, corners), {}


def _slice(x: Any, dim: int = 0, start: Any = None, end: Any = None, step: Any = 1) -> Call:
    part = slice(start, end, step)
    before = (slice(None),) * dim if dim >= 0 else (Ellipsis,)
    after = () if dim >= 0 else (slice(None),) * (-dim - 1)
    return operator.getitem, (x, (*before, part, *after)), {}
