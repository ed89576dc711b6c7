"""Outputs for copies of one image, each with one box replaced, recomputing only what the box changes.

The image passes through the network once, and every map is kept. A box changes a small window of the first
map; a local operation (convolution, pooling, a pointwise function, sum, concatenation) maps a changed window
of its input to the changed window of its output, some voxels larger. At the first operation that is not known
to be local, or if the window is more than half of a map, the windows are inserted into full copies of the map,
and the rest of the network runs on these. A mean over a map needs no copies: only the window's part changes.

Source: the idea of Nakandala et al. 2019 (Krypton, SIGMOD). Differs: exact up to rounding, windows are
never cut down; any network that torch.fx can trace, 2D and 3D (docs/decisions/0015).
"""

from __future__ import annotations

import contextlib
import inspect
import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

from contrafact.models.local_operations import (
    CONVOLUTIONS,
    JOINTS,
    NORMS,
    POINTWISE,
    POOLS,
    apply_window,
    joinable,
    mean_of,
    over_all,
    sliding,
)
from contrafact.models.patches import Corners, Patch, large, union

KEPT = 2**31  # greatest size of one image's maps, in bytes; beyond it full passes need far less memory
SHAPES = ("shape", "ndim", "dtype", "device")


Operations = tuple[fx.Graph, dict[fx.Node, Any]]


def traced(module: nn.Module) -> Operations | None:
    """Return the graph of a network's operations, and its constants; None if the operations depend on values,
    or if there are no convolutions (little to save). The network is left unchanged."""
    if not any(isinstance(part, tuple(CONVOLUTIONS)) for part in module.modules()):
        return None
    others = list(inspect.signature(module.forward).parameters.values())[1:]
    if any(p.default is p.empty for p in others):
        return None
    try:
        with _untouched(module) as before:
            graph = fx.Tracer().trace(module, {p.name: p.default for p in others} or None)
            created = {name: value for name, value in vars(module).items() if name not in before}
    except Exception:  # the network's own code runs on proxies, and may raise anything
        return None
    return graph, {n: created[str(n.target)] for n in graph.nodes if n.op == "get_attr" and n.target in created}


@contextlib.contextmanager
def _untouched(module: nn.Module) -> Iterator[set[str]]:
    """Undo all attribute and buffer changes that the network's own code makes inside. Yield the names of the
    module's attributes."""
    parts = [(vars(part), dict(vars(part))) for part in module.modules()]
    inner = [(v, v.copy()) for _, held in parts for v in held.values() if isinstance(v, (dict, list, set))]
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    try:
        yield set(vars(module))
    finally:
        for now, before in [*inner, *parts]:
            now.clear()
            now.extend(before) if isinstance(now, list) else now.update(before)
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


class Incremental:
    """A network with the stored maps of one image (1, C, *S).

    call    corners (N, axes) of boxes of `size` -> outputs for N copies of the image, each with the box at
            its corner replaced by the same box of `other` (1, C, *S)
    """

    def __init__(
        self, module: nn.Module, operations: Operations, image: Tensor, other: Tensor, size: tuple[int, ...]
    ) -> None:
        graph, self.constants = operations
        keeping = _Keeping(module, graph)
        keeping.run(image, initial_env=dict(self.constants))
        self.kept, self.size, self.other = keeping.kept, size, other
        self.image = next(iter(self.kept.values()))
        maps = [(n, value.numel()) for n, value in self.kept.items() if isinstance(value, Tensor)]
        self.sums = sum(count * _weights(n, keeping.submodules) for n, count in maps)
        self.most = max(count for _, count in maps)
        self.replacing = _Replacing(module, graph, self.kept)

    def __call__(self, corners: Corners) -> Any:
        boxes = Patch(self.other, corners, self.other).before(corners, self.size)
        return self.replacing.run(Patch(boxes, corners, self.image), initial_env=dict(self.constants))

    def costs(self, count: int) -> tuple[float, float]:
        """Return the cost of the last call, of `count` boxes, relative to full passes: multiplications, and
        size of the largest map."""
        done = self.replacing
        share = done.sums / (count * self.sums) if self.sums else 1.0
        return share, done.most / (count * self.most)


class _Keeping(fx.Interpreter):
    """Run one image and keep every map, up to `KEPT` bytes. In-place operations get a copy."""

    def __init__(self, module: nn.Module, graph: fx.Graph) -> None:
        super().__init__(module, garbage_collect_values=False, graph=graph)
        self.kept: dict[fx.Node, Any] = {}
        self.bytes = 0

    def run_node(self, n: fx.Node) -> Any:
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        if _in_place(n, self.submodules):
            args = (args[0].clone(), *args[1:])
        output = getattr(self, n.op)(n.target, args, kwargs)
        if isinstance(output, Tensor) and output.ndim in (3, 4, 5):
            output = output.movedim(1, -1).contiguous().movedim(-1, 1)
            self.bytes += output.nbytes
            if self.bytes > KEPT:
                raise MemoryError(f"expected maps of at most {KEPT} bytes; got more; use full passes")
        self.kept[n] = output
        return output


class _Replacing(fx.Interpreter):
    """Run patches as long as operations are local, then full copies."""

    def __init__(self, module: nn.Module, graph: fx.Graph, kept: dict[fx.Node, Any]) -> None:
        super().__init__(module, graph=graph)
        self.kept = kept
        self.most = self.sums = 0  # values of the largest map, multiplications in convolutions

    def run(self, *args: Any, **more: Any) -> Any:
        self.most = self.sums = 0
        return super().run(*args, **more)

    def run_node(self, n: fx.Node) -> Any:
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        output = None
        if patches := _patches((args, kwargs)):
            output = self._local(n, patches, args, kwargs)
        if output is None:
            for used in n.all_input_nodes:
                if isinstance(self.env[used], Patch):
                    self.env[used] = self.env[used].whole()
            output = super().run_node(n)
        values = output.values if isinstance(output, Patch) else output
        if isinstance(values, Tensor):
            self.most = max(self.most, values.numel())
            self.sums += values.numel() * _weights(n, self.submodules)
        return output

    def _local(self, n: fx.Node, patches: list[Patch], args: Any, kwargs: Any) -> Any:
        """Return the patch of an operation's output; None if the operation is not known to be local."""
        if n.op == "output":
            return None
        what, first = n.target, patches[0]
        if (n.op == "call_function" and what is getattr and args[1] in SHAPES) or what in ("size", "dim"):
            shown = first.kept.expand(len(first.values), *first.kept.shape[1:])
            return getattr(self, n.op)(what, (shown, *args[1:]), kwargs)
        part: Any = self.submodules[what] if n.op == "call_module" and isinstance(what, str) else what
        if what in POOLS and len(args) < 6:
            part = POOLS[what](*args[1:], **kwargs)
        alone = len(patches) == 1 and bool(args) and args[0] is first
        output = self._of_one(n, part, first, args, kwargs) if alone else None
        return self._of_several(n, part, patches, args, kwargs) if output is None else output

    def _of_one(self, n: fx.Node, part: Any, patch: Patch, args: Any, kwargs: Any) -> Any:
        """Return the output of a mean over a map, a sliding window, or a pointwise operation on one map."""
        kept, kind = self.kept[n], _kind(part)
        if over_all(part, patch, args[1:], kwargs):
            return mean_of(patch, kept)
        if (slide := sliding(part)) is not None:
            return apply_window(patch, kept, *slide)
        if kind in POINTWISE or (kind in NORMS and part.running_mean is not None):
            return Patch(getattr(self, n.op)(n.target, (patch.values, *args[1:]), kwargs), patch.start, kept)
        return None

    def _of_several(self, n: fx.Node, part: Any, patches: list[Patch], args: Any, kwargs: Any) -> Any:
        """Return the output of a pointwise operation on several maps, on windows that contain those of all."""
        if _kind(part) not in JOINTS or not joinable(_kind(part), patches, args, kwargs):
            return None
        start, size = union(patches)
        if large(size, self.kept[n]):
            return None
        inputs = map_aggregate(args, lambda v: v.window(start, size) if isinstance(v, Patch) else v)
        return Patch(getattr(self, n.op)(n.target, inputs, kwargs), start, self.kept[n])


def _kind(part: Any) -> Any:
    """Return the type of a module; a function or the name of a method itself."""
    return type(part) if isinstance(part, nn.Module) else part


def _patches(values: Any) -> list[Patch]:
    patches: list[Patch] = []
    map_aggregate(values, lambda v: patches.append(v) if isinstance(v, Patch) else None)
    return patches


def _weights(n: fx.Node, modules: dict[str, nn.Module]) -> int:
    """Return the multiplications per output value of a convolution; 0 for any other operation."""
    part = modules.get(str(n.target)) if n.op == "call_module" else None
    return part.weight.numel() // part.out_channels if isinstance(part, nn.modules.conv._ConvNd) else 0


def _in_place(n: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if n.op == "call_module":
        return bool(getattr(modules[str(n.target)], "inplace", False))
    name = n.target if isinstance(n.target, str) else getattr(n.target, "__name__", "")
    inplace = n.kwargs.get("inplace") or n.target in (operator.iadd, operator.isub, operator.imul)
    return n.op in ("call_function", "call_method") and bool(inplace or name.endswith("_"))
