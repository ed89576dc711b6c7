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
import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

Corners = NDArray[np.int64]

CONVOLUTIONS: dict[Any, Callable[..., Tensor]] = {
    nn.Conv1d: F.conv1d,
    nn.Conv2d: F.conv2d,
    nn.Conv3d: F.conv3d,
}
MAXIMA: dict[Any, Callable[..., Tensor]] = {
    nn.MaxPool1d: F.max_pool1d,
    nn.MaxPool2d: F.max_pool2d,
    nn.MaxPool3d: F.max_pool3d,
}
MEANS: dict[Any, Callable[..., Tensor]] = {
    nn.AvgPool1d: F.avg_pool1d,
    nn.AvgPool2d: F.avg_pool2d,
    nn.AvgPool3d: F.avg_pool3d,
}
POOLS = {F.max_pool2d: nn.MaxPool2d, F.max_pool3d: nn.MaxPool3d, F.avg_pool2d: nn.AvgPool2d,
         F.avg_pool3d: nn.AvgPool3d}  # fmt: skip
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# Pointwise in evaluation mode.
POINTWISE: set[Any] = {
    nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Hardswish, nn.ReLU6,
    nn.Softplus, nn.Mish, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d,
    F.relu, F.relu_, F.leaky_relu, F.elu, F.gelu, F.silu, F.sigmoid, F.tanh, F.softplus, F.mish,
    torch.relu, torch.relu_, torch.sigmoid, torch.tanh, "relu", "relu_", "sigmoid", "tanh", "contiguous",
}  # fmt: skip
# Pointwise functions of several maps.
JOINTS: set[Any] = {
    operator.add, operator.iadd, operator.sub, operator.mul, operator.imul, operator.truediv, operator.neg,
    torch.add, torch.sub, torch.mul, torch.cat, torch.concat, "add", "add_", "mul", "mul_", "sub",
}  # fmt: skip
KEPT = 2**31  # greatest size of one image's maps, in bytes; beyond it full passes need far less memory
SHAPES = ("shape", "ndim", "dtype", "device")


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A changed window of a map for each of N boxes; elsewhere the map is unchanged.

    values  (N, C, *P); start: first voxel of each window (N, axes); kept: the original map (1, C, *S)
    """

    values: Tensor
    start: Corners
    kept: Tensor

    def window(self, start: Corners, size: tuple[int, ...], outside: float = 0.0) -> Tensor:
        """Return another window (N, C, *size) that contains the box; `outside` beyond the map."""
        if self.values.shape[2:] == size and np.array_equal(start, self.start):
            return self.values
        rows = self.before(start, size, outside).movedim(1, -1).flatten(0, -2)
        device, patch = rows.device, self.values.movedim(1, -1).flatten(0, -2)
        offset, axes = self.start - start, range(len(size))
        indices = _indices(offset, self.values.shape[2:], device)
        count = torch.arange(len(start), device=device).reshape(-1, *(1,) * len(size))
        to = (_flat(indices, size) + count * math.prod(size)).flatten()
        if (offset < 0).any() or (offset + self.values.shape[2:] > size).any():
            inside = [(indices[i] >= 0) & (indices[i] < size[i]) for i in axes]
            kept = _every(inside, operator.and_).flatten()
            to, patch = to[kept], patch[kept]
        rows.index_copy_(0, to, patch)
        return rows.unflatten(0, (len(start), *size)).movedim(-1, 1)

    def before(self, start: Corners, size: tuple[int, ...], outside: float = 0.0) -> Tensor:
        """Return a window (N, C, *size) of the kept map, gathered by rows of channels (faster than values)."""
        rows, full = self.kept.movedim(1, -1).flatten(0, -2), self.kept.shape[2:]
        indices, axes = _indices(start, size, rows.device), range(len(size))
        leaves = bool((start < 0).any() or (start + size > full).any())
        near = [indices[i].clamp(0, full[i] - 1) for i in axes] if leaves else indices
        values = rows.index_select(0, _flat(near, full).flatten())
        if leaves:
            beyond = _every([indices[i] != near[i] for i in axes], operator.or_)
            values[beyond.flatten()] = outside
        return values.unflatten(0, (len(start), *size)).movedim(-1, 1)

    def whole(self) -> Tensor:
        """Return full copies of the map (N, C, *S), in the fastest memory order for convolutions."""
        full = self.window(np.zeros_like(self.start), tuple(self.kept.shape[2:]))
        return full if full.ndim == 4 and full.device.type == "cpu" else full.contiguous()


def _indices(start: Corners, size: tuple[int, ...], device: torch.device) -> list[Tensor]:
    """Return the voxel indices (N, size) of windows along each axis."""
    first = torch.from_numpy(start).to(device)
    return [first[:, i, None] + torch.arange(n, device=device) for i, n in enumerate(size)]


def _every(parts: list[Tensor], join: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Combine one tensor per axis (N, P_i) to a tensor over all voxels (N, *P)."""
    total = parts[0]
    for i, part in enumerate(parts[1:], start=1):
        total = join(total[..., None], part.reshape(len(part), *(1,) * i, -1))
    return total


def _flat(indices: list[Tensor], full: tuple[int, ...]) -> Tensor:
    """Return flat indices (N, *P) into a map of size `full`."""
    sizes = [math.prod(full[i + 1 :]) for i in range(len(full))]
    return _every([part * n for part, n in zip(indices, sizes, strict=True)], operator.add)


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
        what, kept, first = n.target, self.kept[n], patches[0]
        if n.op == "output":
            return None
        if (n.op == "call_function" and what is getattr and args[1] in SHAPES) or what in ("size", "dim"):
            shown = first.kept.expand(len(first.values), *first.kept.shape[1:])
            return getattr(self, n.op)(what, (shown, *args[1:]), kwargs)
        part: Any = self.submodules[what] if n.op == "call_module" and isinstance(what, str) else what
        if what in POOLS and len(args) < 6:
            part = POOLS[what](*args[1:], **kwargs)
        kind, alone = type(part) if isinstance(part, nn.Module) else part, args and args[0] is first
        alone = alone and len(patches) == 1
        if alone and _over_all(part, first, args[1:], kwargs):
            return _mean(first, kept)
        if alone and (slide := _slide(part)) is not None:
            return _apply_window(first, kept, *slide)
        if alone and (kind in POINTWISE or (kind in NORMS and part.running_mean is not None)):
            values = getattr(self, n.op)(what, (first.values, *args[1:]), kwargs)
            return Patch(values, first.start, kept)
        if kind in JOINTS and _joinable(kind, patches, args, kwargs):
            start, size = _union(patches)
            if _large(size, kept):
                return None
            inputs = map_aggregate(args, lambda v: v.window(start, size) if isinstance(v, Patch) else v)
            return Patch(getattr(self, n.op)(what, inputs, kwargs), start, kept)
        return None


def _patches(values: Any) -> list[Patch]:
    patches: list[Patch] = []
    map_aggregate(values, lambda v: patches.append(v) if isinstance(v, Patch) else None)
    return patches


def _large(size: tuple[int, ...], kept: Tensor) -> bool:
    return 2 * math.prod(size) > math.prod(kept.shape[2:])


def _weights(n: fx.Node, modules: dict[str, nn.Module]) -> int:
    """Return the multiplications per output value of a convolution; 0 for any other operation."""
    part = modules.get(str(n.target)) if n.op == "call_module" else None
    return part.weight.numel() // part.out_channels if isinstance(part, nn.modules.conv._ConvNd) else 0


Slide = tuple[Callable[[Tensor], Tensor], Any, Any, Any, Any, float]


def _slide(part: Any) -> Slide | None:
    """Return a sliding window: function of a padded map, kernel, stride, padding, dilation, padding value."""
    kind = type(part)
    if kind in CONVOLUTIONS and part.padding_mode == "zeros" and not isinstance(part.padding, str):
        convolve, more = CONVOLUTIONS[kind], (part.dilation, part.groups)
        return (
            lambda x: convolve(x, part.weight, part.bias, part.stride, 0, *more),
            part.kernel_size, part.stride, part.padding, part.dilation, 0.0,
        )  # fmt: skip
    if kind in MAXIMA and not part.return_indices:
        pool = MAXIMA[kind]
        return (
            lambda x: pool(x, part.kernel_size, part.stride, 0, part.dilation),
            part.kernel_size, part.stride, part.padding, part.dilation, -math.inf,
        )  # fmt: skip
    if kind in MEANS and not part.ceil_mode and (part.count_include_pad or not np.any(part.padding)):
        mean, divisor = MEANS[kind], getattr(part, "divisor_override", None)
        if divisor is None:
            return (
                lambda x: mean(x, part.kernel_size, part.stride),
                part.kernel_size,
                part.stride,
                part.padding,
                1,
                0.0,
            )
    return None


def _apply_window(
    patch: Patch, kept: Tensor, function: Callable[[Tensor], Tensor], kernel: Any, stride: Any, padding: Any,
    dilation: Any, outside: float,
) -> Patch | None:  # fmt: skip
    """Return the outputs that depend on any voxel of the patch, as windows of one size for all boxes."""
    axes = patch.start.shape[1]
    k, s, p, d = (
        np.broadcast_to(np.asarray(v, dtype=np.int64), axes) for v in (kernel, stride, padding, dilation)
    )
    reach, full = (k - 1) * d + 1, np.asarray(kept.shape[2:])
    ends = patch.start + patch.values.shape[2:]
    low = np.clip(-((reach - 1 - p - patch.start) // s), 0, full - 1)  # rounded up
    high = np.clip((ends - 1 + p) // s, 0, full - 1)
    size = np.maximum((high - low + 1).max(axis=0), 1)
    if _large(tuple(size), kept):
        return None
    start = np.minimum(low, full - size)
    window = patch.window(start * s - p, tuple(((size - 1) * s + reach).tolist()), outside)
    return Patch(function(window), start, kept)


def _over_all(part: Any, patch: Patch, args: Any, kwargs: Any) -> bool:
    """Whether an operation is the mean over all voxels of a map."""
    axes = patch.start.shape[1]
    pools = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
    if type(part) in pools or part in (F.adaptive_avg_pool2d, F.adaptive_avg_pool3d):
        size: Any = part.output_size if isinstance(part, nn.Module) else kwargs.get("output_size", *args[:1])
        return bool(size == 1 or tuple(np.ravel(size)) == (1,) * axes)
    if part not in (torch.mean, "mean") or "dtype" in kwargs:
        return False
    dim = kwargs.get("dim", *args[:1]) if args or "dim" in kwargs else ()
    return sorted(np.ravel(dim) % (axes + 2)) == list(range(2, axes + 2)) if np.size(dim) else False


def _mean(patch: Patch, kept: Tensor) -> Tensor | None:
    """Return means over whole maps (N, C, ...), shaped like `kept`, from the change in the patch."""
    if not bool(torch.isfinite(kept).all()):
        return None
    size = tuple(patch.values.shape[2:])
    change = (patch.values - patch.before(patch.start, size)).flatten(2).sum(dim=2, dtype=torch.float32)
    change = change / math.prod(patch.kept.shape[2:])
    return (kept + change.reshape(len(change), *kept.shape[1:])).to(kept.dtype)


def _joinable(kind: Any, patches: list[Patch], args: Any, kwargs: Any) -> bool:
    """Whether all arguments are patches of maps of one size, or numbers."""
    if kind in (torch.cat, torch.concat):
        dim = kwargs.get("dim", args[1] if len(args) > 1 else 0)
        if len(patches) != len(args[0]) or dim % patches[0].values.ndim != 1:
            return False
    elif any(not isinstance(v, (Patch, int, float)) for v in args) or not set(kwargs) <= {"alpha"}:
        return False
    return len({patch.kept.shape[2:] for patch in patches}) == 1


def _union(patches: list[Patch]) -> tuple[Corners, tuple[int, ...]]:
    """Return start and size of the smallest windows, of one size, that contain those of all patches."""
    low = np.min([patch.start for patch in patches], axis=0)
    high = np.max([patch.start + patch.values.shape[2:] for patch in patches], axis=0)
    size = (high - low).max(axis=0)
    return np.minimum(low, np.asarray(patches[0].kept.shape[2:]) - size), tuple(size.tolist())


def _in_place(n: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if n.op == "call_module":
        return bool(getattr(modules[str(n.target)], "inplace", False))
    name = n.target if isinstance(n.target, str) else getattr(n.target, "__name__", "")
    inplace = n.kwargs.get("inplace") or n.target in (operator.iadd, operator.isub, operator.imul)
    return n.op in ("call_function", "call_method") and bool(inplace or name.endswith("_"))
