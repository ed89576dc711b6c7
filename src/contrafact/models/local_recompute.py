"""Answers for copies of one image with a box replaced in each, computing again only what the box changes.

The image goes through the network once and every map is kept. A box changes a small window of the first
map; a local operation (convolution, pooling, a function of single values, sum, concatenation) turns a
changed window of its input into the changed window of its output, some voxels larger. At the first
operation that is not known to be local, or when the window is more than half of a map, the windows are
laid into full copies of the map, and the rest of the network runs on these. A mean over a whole map
needs no copies: it changes by the window's part.

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
# Functions of single values in evaluation mode.
POINTWISE: set[Any] = {
    nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Hardswish, nn.ReLU6,
    nn.Softplus, nn.Mish, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d,
    F.relu, F.relu_, F.leaky_relu, F.elu, F.gelu, F.silu, F.sigmoid, F.tanh, F.softplus, F.mish,
    torch.relu, torch.relu_, torch.sigmoid, torch.tanh, "relu", "relu_", "sigmoid", "tanh", "contiguous",
}  # fmt: skip
# Of several maps, value by value.
JOINTS: set[Any] = {
    operator.add, operator.iadd, operator.sub, operator.mul, operator.imul, operator.truediv, operator.neg,
    torch.add, torch.sub, torch.mul, torch.cat, torch.concat, "add", "add_", "mul", "mul_", "sub",
}  # fmt: skip
KEPT = 2**31  # bytes of one image's maps; beyond them the plain way needs far less memory
SHAPES = ("shape", "ndim", "dtype", "device")


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A window of a map for each of N boxes; everywhere else the map is as kept.

    values  (N, C, *P); start: the window's first voxel (N, axes); kept: the map without a box (1, C, *S)
    """

    values: Tensor
    start: Corners
    kept: Tensor

    def window(self, start: Corners, size: tuple[int, ...], outside: float = 0.0) -> Tensor:
        """Another window (N, C, *size), with the box in it; `outside` where it leaves the map."""
        if self.values.shape[2:] == size and np.array_equal(start, self.start):
            return self.values
        rows = self.before(start, size, outside).movedim(1, -1).flatten(0, -2)
        device, patch = rows.device, self.values.movedim(1, -1).flatten(0, -2)
        offset, axes = self.start - start, range(len(size))
        places = _places(offset, self.values.shape[2:], device)
        count = torch.arange(len(start), device=device).reshape(-1, *(1,) * len(size))
        to = (_flat(places, size) + count * math.prod(size)).flatten()
        if (offset < 0).any() or (offset + self.values.shape[2:] > size).any():
            inside = [(places[i] >= 0) & (places[i] < size[i]) for i in axes]
            kept = _every(inside, operator.and_).flatten()
            to, patch = to[kept], patch[kept]
        rows.index_copy_(0, to, patch)
        return rows.unflatten(0, (len(start), *size)).movedim(-1, 1)

    def before(self, start: Corners, size: tuple[int, ...], outside: float = 0.0) -> Tensor:
        """A window (N, C, *size) of the kept map, gathered by rows of channels: far cheaper than by values."""
        rows, full = self.kept.movedim(1, -1).flatten(0, -2), self.kept.shape[2:]
        places, axes = _places(start, size, rows.device), range(len(size))
        leaves = bool((start < 0).any() or (start + size > full).any())
        near = [places[i].clamp(0, full[i] - 1) for i in axes] if leaves else places
        found = rows.index_select(0, _flat(near, full).flatten())
        if leaves:
            beyond = _every([places[i] != near[i] for i in axes], operator.or_)
            found[beyond.flatten()] = outside
        return found.unflatten(0, (len(start), *size)).movedim(-1, 1)

    def whole(self) -> Tensor:
        """Full copies of the map (N, C, *S), in the memory order that convolutions like best."""
        full = self.window(np.zeros_like(self.start), tuple(self.kept.shape[2:]))
        return full if full.ndim == 4 and full.device.type == "cpu" else full.contiguous()


def _places(start: Corners, size: tuple[int, ...], device: torch.device) -> list[Tensor]:
    """Along each axis the places (N, size) of windows."""
    first = torch.from_numpy(start).to(device)
    return [first[:, i, None] + torch.arange(n, device=device) for i, n in enumerate(size)]


def _every(parts: list[Tensor], join: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Something of each axis (N, P_i), joined over all places (N, *P)."""
    total = parts[0]
    for i, part in enumerate(parts[1:], start=1):
        total = join(total[..., None], part.reshape(len(part), *(1,) * i, -1))
    return total


def _flat(places: list[Tensor], full: tuple[int, ...]) -> Tensor:
    """Numbers (N, *P) of the places in a map of size `full`, row by row."""
    sizes = [math.prod(full[i + 1 :]) for i in range(len(full))]
    return _every([part * n for part, n in zip(places, sizes, strict=True)], operator.add)


Operations = tuple[fx.Graph, dict[fx.Node, Any]]


def traced(module: nn.Module) -> Operations | None:
    """The operations of a network one after another, and the constants among them; None where they depend on
    values, and for a network without convolutions, where little can be saved. The network stays as it is."""
    if not any(isinstance(part, tuple(CONVOLUTIONS)) for part in module.modules()):
        return None
    more = list(inspect.signature(module.forward).parameters.values())[1:]
    if any(given.default is given.empty for given in more):
        return None
    try:
        with _untouched(module) as before:
            graph = fx.Tracer().trace(module, {given.name: given.default for given in more} or None)
            made = {name: value for name, value in vars(module).items() if name not in before}
    except Exception:  # it runs the network's own code on stand-ins, which may raise anything
        return None
    return graph, {n: made[str(n.target)] for n in graph.nodes if n.op == "get_attr" and n.target in made}


@contextlib.contextmanager
def _untouched(module: nn.Module) -> Iterator[set[str]]:
    """The network's own code runs inside, on stand-ins; what it sets is undone. Gives the names of the
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
    """A network and one image (1, C, *S) that has gone through it.

    call    corners (N, axes) of boxes of `size` -> the network's outputs for N copies of the image, each with
            the box at its corner replaced by the same box of `other` (1, C, *S)
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
        """Of the last call, which had `count` boxes: its share of the multiplications of whole passes, and of
        the size of their largest map."""
        done = self.replacing
        share = done.sums / (count * self.sums) if self.sums else 1.0
        return share, done.most / (count * self.most)


class _Keeping(fx.Interpreter):
    """Runs one image and keeps every map, up to `KEPT` bytes. What works in place gets a copy."""

    def __init__(self, module: nn.Module, graph: fx.Graph) -> None:
        super().__init__(module, garbage_collect_values=False, graph=graph)
        self.kept: dict[fx.Node, Any] = {}
        self.bytes = 0

    def run_node(self, n: fx.Node) -> Any:
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        if _in_place(n, self.submodules):
            args = (args[0].clone(), *args[1:])
        found = getattr(self, n.op)(n.target, args, kwargs)
        if isinstance(found, Tensor) and found.ndim in (3, 4, 5):
            found = found.movedim(1, -1).contiguous().movedim(-1, 1)
            self.bytes += found.nbytes
            if self.bytes > KEPT:
                raise MemoryError(f"expected maps of at most {KEPT} bytes; got more; go the plain way")
        self.kept[n] = found
        return found


class _Replacing(fx.Interpreter):
    """Runs patches as far as operations are local, then full copies."""

    def __init__(self, module: nn.Module, graph: fx.Graph, kept: dict[fx.Node, Any]) -> None:
        super().__init__(module, graph=graph)
        self.kept = kept
        self.most = self.sums = 0  # values of the largest map, multiplications in convolutions

    def run(self, *args: Any, **more: Any) -> Any:
        self.most = self.sums = 0
        return super().run(*args, **more)

    def run_node(self, n: fx.Node) -> Any:
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        found = None
        if patches := _patches((args, kwargs)):
            found = self._local(n, patches, args, kwargs)
        if found is None:
            for used in n.all_input_nodes:
                if isinstance(self.env[used], Patch):
                    self.env[used] = self.env[used].whole()
            found = super().run_node(n)
        made = found.values if isinstance(found, Patch) else found
        if isinstance(made, Tensor):
            self.most = max(self.most, made.numel())
            self.sums += made.numel() * _weights(n, self.submodules)
        return found

    def _local(self, n: fx.Node, patches: list[Patch], args: Any, kwargs: Any) -> Any:
        """The patch of an operation's output; None for one that is not known as local."""
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
            return _slid(first, kept, *slide)
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
    found: list[Patch] = []
    map_aggregate(values, lambda v: found.append(v) if isinstance(v, Patch) else None)
    return found


def _large(size: tuple[int, ...], kept: Tensor) -> bool:
    return 2 * math.prod(size) > math.prod(kept.shape[2:])


def _weights(n: fx.Node, modules: dict[str, nn.Module]) -> int:
    """Multiplications per value that a convolution gives; 0 for anything else."""
    part = modules.get(str(n.target)) if n.op == "call_module" else None
    return part.weight.numel() // part.out_channels if isinstance(part, nn.modules.conv._ConvNd) else 0


Slide = tuple[Callable[[Tensor], Tensor], Any, Any, Any, Any, float]


def _slide(part: Any) -> Slide | None:
    """How a window slides: function of a padded map, kernel, stride, padding, dilation, what pads."""
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


def _slid(
    patch: Patch, kept: Tensor, function: Callable[[Tensor], Tensor], kernel: Any, stride: Any, padding: Any,
    dilation: Any, outside: float,
) -> Patch | None:  # fmt: skip
    """The outputs that look at any voxel of the patch, as one window of a size common to all boxes."""
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
    """Whether this is the mean over all places of a map."""
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
    """Means over whole maps (N, C, ...), shaped as `kept` is: they change by the patch's part."""
    if not bool(torch.isfinite(kept).all()):
        return None
    size = tuple(patch.values.shape[2:])
    change = (patch.values - patch.before(patch.start, size)).flatten(2).sum(dim=2, dtype=torch.float32)
    change = change / math.prod(patch.kept.shape[2:])
    return (kept + change.reshape(len(change), *kept.shape[1:])).to(kept.dtype)


def _joinable(kind: Any, patches: list[Patch], args: Any, kwargs: Any) -> bool:
    """Whether all are patches of maps of one size, or plain numbers."""
    if kind in (torch.cat, torch.concat):
        dim = kwargs.get("dim", args[1] if len(args) > 1 else 0)
        if len(patches) != len(args[0]) or dim % patches[0].values.ndim != 1:
            return False
    elif any(not isinstance(v, (Patch, int, float)) for v in args) or not set(kwargs) <= {"alpha"}:
        return False
    return len({patch.kept.shape[2:] for patch in patches}) == 1


def _union(patches: list[Patch]) -> tuple[Corners, tuple[int, ...]]:
    """The smallest window of one size that holds those of all patches, for every box."""
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
