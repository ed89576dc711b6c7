"""Observe and replace the outputs of a network's modules and functions during a pass.

A module has its own name; a function call is named by function and number, `relu#2` for the second `relu` of a
pass. So the features of a network that activates or adds with functions are accessible too. If a pass calls a
module several times, the last call counts.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

from torch import Tensor, nn
from torch.fx import GraphModule
from torch.overrides import TorchFunctionMode

Use = Callable[[Tensor], Tensor]
# Functions that compute new feature values; those that only move values are not listed.
FUNCTIONS = {
    "relu", "relu6", "leaky_relu", "gelu", "silu", "elu", "selu", "celu", "prelu", "hardtanh", "hardswish",
    "mish", "softplus", "sigmoid", "tanh", "clamp", "clamp_min", "clip", "maximum", "where", "masked_fill",
    "add", "sub", "mul", "cat", "concat", "batch_norm", "instance_norm", "group_norm", "layer_norm",
    "normalize", "abs", "pow", "sqrt",
}  # fmt: skip
# In a program (torch.export) these are layers too; elsewhere modules call them, which have their own names.
OF_PROGRAMS = {
    f"{name}{axes}d" for name in ("conv", "conv_transpose", "max_pool", "avg_pool") for axes in (1, 2, 3)
}


def is_function(layer: str) -> bool:
    """Whether the name of a layer is that of a function, such as `relu#2`."""
    return layer.partition("#")[0] in FUNCTIONS | OF_PROGRAMS


def function_name(func: Any, names: Set[str] = FUNCTIONS) -> str:
    """Return `add` for `add`, `add_`, `__iadd__` and `__radd__`; empty for a function not in `names`."""
    name = str(getattr(func, "__name__", ""))
    if name.startswith("__"):
        name = (
            name.strip("_").removeprefix("i") if name[2:] in ("iadd__", "imul__", "isub__") else name.strip("_")
        )
        name = name.removeprefix("r") if name in ("radd", "rmul", "rsub") else name
    name = name.removesuffix("_")
    return name if name in names else ""


class Functions(TorchFunctionMode):
    """Call `seen(name, output)` for every function call inside; its result replaces the output."""

    def __init__(self, seen: Callable[[str, Any], Any], names: Set[str]) -> None:
        super().__init__()
        self.seen, self.names = seen, names
        self.counts: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = function_name(func, self.names)
        if not name or not isinstance(out, Tensor):
            return out
        self.counts[name] += 1
        return self.seen(f"{name}#{self.counts[name]}", out)


@contextlib.contextmanager
def functions_of(module: nn.Module, seen: Callable[[str, Any], Any]) -> Iterator[None]:
    """Call `seen` for the functions that `module` calls inside; the numbering restarts in every pass."""
    program = isinstance(module, GraphModule)
    mode = Functions(seen, FUNCTIONS | OF_PROGRAMS if program else FUNCTIONS)
    handle = module.register_forward_pre_hook(lambda *_: mode.counts.clear())
    try:
        with mode:
            yield
    finally:
        handle.remove()


@contextlib.contextmanager
def tapped(module: nn.Module, uses: Mapping[str, Use], calls: Mapping[str, int]) -> Iterator[None]:
    """Replace the outputs of layers by `uses`, by layer name, inside. Of a module that a pass calls several
    times (`calls`), replace the last output; all outputs if the number of calls is unknown."""
    counts: Counter[str] = Counter()
    modules = dict(module.named_modules())
    handles = [module.register_forward_pre_hook(lambda *_: counts.clear())]

    def hook(name: str, use: Use) -> Callable[..., Any]:
        def put(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            counts[name] += 1
            value = first_tensor(output)
            if value is None or counts[name] < calls.get(name, 0):
                return output
            return with_first(output, use(value))

        return put

    handles += [
        modules[name].register_forward_hook(hook(name, use)) for name, use in uses.items() if name in modules
    ]
    named = {name: use for name, use in uses.items() if name not in modules}
    try:
        if not named:
            yield
        else:
            with functions_of(module, lambda name, out: named[name](out) if name in named else out):
                yield
    finally:
        for handle in handles:
            handle.remove()


def first_tensor(output: Any) -> Tensor | None:
    """Return a layer's output tensor, or the first of a tuple, list or dictionary; None if there is none."""
    if isinstance(output, dict):
        output = next(iter(output.values()), None)
    if isinstance(output, (tuple, list)):
        output = output[0] if output else None
    return output if isinstance(output, Tensor) else None


def with_first(output: Any, value: Tensor) -> Any:
    """Return a layer's output with its first tensor replaced; unchanged if its type does not allow it."""
    if isinstance(output, Tensor):
        return value
    if type(output) in (tuple, list):
        return type(output)([value, *output[1:]])
    if hasattr(output, "_replace"):  # named tuple
        return output._replace(**{output._fields[0]: value})
    if isinstance(output, dict):
        copied = {**output, next(iter(output)): value}
        return copied if type(output) is dict else type(output)(**copied)
    return output
