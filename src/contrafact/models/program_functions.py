"""The functions of a program of `torch.export`, as a network in Python calls them.

A program calls operators of ATen, such as `aten.batch_norm.default`. Methods know the functions of torch, such
as `F.batch_norm`: they read layers behind them, follow positions through them, and have rules of relevance for
them. So each operator is replaced by the function of torch that computes the same; one without stays, as do
the internal ones that decompositions leave (`native_layer_norm`, `_softmax`).
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
    if target.namespace != "aten" or any(argument.is_out for argument in target._schema.arguments):
        return None
    name = target._schema.name.removeprefix("aten::")
    args, kwargs = _in_order(target, args, kwargs)
    if name in ("batch_norm", "instance_norm"):  # weight and bias come before mean and variance
        x, weight, bias, mean, var, *more = args
        return getattr(F, name), (x, mean, var, weight, bias, *more[:3]), {}
    if name == "convolution":
        return _convolution(*args)
    if name.startswith("upsample_") and target._overloadname == "vec":
        return _resize(name.removeprefix("upsample_"), *args)
    if name == "slice" and target._overloadname == "Tensor":
        return _slice(*args)
    if name == "sym_size":
        return torch.Tensor.size, args, {}
    if name == "einsum":
        return torch.einsum, (args[0], *args[1]), {}
    if name.startswith("index_put"):  # the method takes no axis without an index
        return None
    if name == "to":  # the method takes no layout, and the order of memory by name alone
        words = dict(zip((one.name for one in target._schema.arguments), args, strict=False))
        kwargs |= {"memory_format": words.pop("memory_format", None)}
        kwargs.pop("layout", None)
        args = tuple(words.values())
    plain = name.removesuffix("_")
    if plain in SAME:
        if len(args) > SAME[plain] and plain not in IGNORED:
            return None
        in_place = {"inplace": True} if name != plain else {}
        return getattr(F, plain, None) or getattr(torch, plain), args[: SAME[plain]], {**kwargs, **in_place}
    function = _made_from_the_schema(name)
    return None if function is None else (function, args, kwargs)


def _in_order(target: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Return arguments by position where the schema has positions, and the others by name."""
    words, places = dict(kwargs), [one for one in target._schema.arguments if not one.kwarg_only]
    last = max((number for number, one in enumerate(places) if one.name in words), default=-1)
    more = [words.pop(one.name, one.default_value) for one in places[len(args) : last + 1]]
    return (*args, *more), words


def _made_from_the_schema(name: str) -> Callable[..., Any] | None:
    """Return the function or method of that name whose arguments torch makes from the operator's schema."""
    if name.startswith("native_") or (name.startswith("_") and not name.startswith("__")):
        return None
    for place, kind in (
        (torch, types.BuiltinFunctionType),
        (torch.Tensor, types.MethodDescriptorType),
        (F, types.BuiltinFunctionType),
    ):
        found: Any = getattr(place, name, None)
        if isinstance(found, kind):
            return found
    return None


def _convolution(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, *more: Any) -> Any:
    """Return the convolution of the number of axes that the weight has; None where it is unknown."""
    transposed, output_padding, groups = more
    axes = getattr(weight.meta.get("val"), "ndim", 0) - 2
    if axes not in (1, 2, 3):
        return None
    if transposed:
        further = (stride, padding, output_padding, groups, dilation)
        return getattr(torch, f"conv_transpose{axes}d"), (x, weight, bias, *further), {}
    return getattr(torch, f"conv{axes}d"), (x, weight, bias, stride, padding, dilation, groups), {}


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
