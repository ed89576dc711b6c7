"""Track where the cells of a feature map lie on the image: at the centres of their receptive fields.

A map of 7 x 7 cells is not always spread evenly over its image: a convolution without padding trims the
border, and one that halves the side with odd padding centres its first cell on the first pixel. During one
forward pass every operation that moves or merges positions is tracked, whether `nn` modules or functions call
it, so this works for any class of network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

MARK = "_contrafact_axes"  # attribute of tracked tensors: an `Axis`, `Rows` or None per dimension


class Axis(NamedTuple):
    """Centres along one spatial axis: cell `i` is centred on voxel `offset + step * i` of the input; `coarsest`
    is the greatest step of any map that it was computed from."""

    image_axis: int
    offset: float
    step: float
    coarsest: float = 1.0

    def moved(self, shift: float, factor: float = 1.0) -> Axis:
        """Return the axis after an operation whose output cell `i` lies at input cell `shift + factor * i`."""
        step = self.step * factor
        return Axis(self.image_axis, self.offset + self.step * shift, step, max(self.coarsest, abs(step)))

    def resized(self, before: int, after: int) -> Axis:
        """Return the axis after `before` cells were resized evenly to `after` cells."""
        return self.moved((before / after - 1) / 2, before / after)


class Rows(NamedTuple):
    """A dimension that holds all cells of a map in a row (tokens), from index `start` on; `axes` and `cells`
    are those of the map."""

    axes: tuple[Axis, ...]
    cells: tuple[int, ...]
    start: int = 0


Axes = tuple[Axis | Rows | None, ...]


def axes_of(value: Any) -> Axes | None:
    """Return the axes of a tensor; None if it is not tracked."""
    return getattr(value, MARK, None) if isinstance(value, Tensor) else None


def mark(value: Any, axes: Axes | None) -> None:
    """Store the axes of a tensor if any is known."""
    if isinstance(value, Tensor) and axes is not None and any(axes):
        setattr(value, MARK, axes)


def input_axes(images: Tensor) -> Axes:
    """Return the axes of the network's input (N, C, *S): every voxel is its own centre."""
    return (None, None, *(Axis(k, 0.0, 1.0) for k in range(images.ndim - 2)))


class Placing(TorchFunctionMode):
    """Propagate axes inside from marked tensors to all tensors computed from them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        sources = [(axes_of(v) or (), tuple(v.shape)) for v in _tensors(args, kwargs)]
        out = func(*args, **kwargs)
        name = str(getattr(func, "__name__", ""))
        if name in SPLITS and isinstance(out, (tuple, list)) and any(sources[0][0]):
            _mark_parts(out, sources[0], Call(args, kwargs).dimension(2, len(sources[0][1])))
        first = out[0] if isinstance(out, (tuple, list)) and name.startswith("max_pool") else out
        if isinstance(first, Tensor) and any(any(axes) for axes, _ in sources):
            mark(first, _axes_after(name, sources, tuple(first.shape), Call(args, kwargs)))
        return out


def _axes_after(name: str, sources: Sources, after: tuple[int, ...], call: Call) -> Axes | None:
    """Return the axes of an operation's output; None if they cannot be tracked."""
    if name in LOST:
        return None
    if name in JOINED:
        return _joined(sources, after, call)
    rule = RULES.get(name)
    marked = next((axes, shape) for axes, shape in sources if any(axes))
    return rule(*marked, after, call) if rule else _default_axes(sources, after)


def _mark_parts(parts: Any, source: tuple[Axes, tuple[int, ...]], dim: int) -> None:
    """Mark the parts of a tensor split along one dimension."""
    axes, _ = source
    start = 0
    for part in parts:
        if isinstance(part, Tensor) and part.ndim == len(axes):
            mark(part, _with(axes, dim, _cut(axes[dim], start)))
            start += part.shape[dim]


def _cut(axis: Axis | Rows | None, start: int, stride: int = 1) -> Axis | Rows | None:
    """Return an axis from its cell `start` on; None if it cannot be tracked."""
    if isinstance(axis, Axis):
        return axis.moved(start, stride)
    return axis._replace(start=axis.start - start) if isinstance(axis, Rows) and stride == 1 else None


def _with(axes: Axes, dim: int, axis: Axis | Rows | None) -> Axes:
    return (*axes[:dim], axis, *axes[dim + 1 :])


def inherit(output: Any, inputs: Sequence[Any]) -> None:
    """Copy the axes of a module's input to its untracked output if both have one shape."""
    if isinstance(output, Tensor) and axes_of(output) is None:
        like = next((v for v in inputs if axes_of(v) is not None and v.shape == output.shape), None)
        mark(output, axes_of(like))


@dataclass(frozen=True, slots=True)
class Call:
    """The arguments of one operation."""

    args: Any
    kwargs: Any

    def get(self, position: int, name: str, default: Any = None) -> Any:
        """Return an argument by position or name; the default if it is absent or None."""
        value = self.args[position] if len(self.args) > position else self.kwargs.get(name)
        return default if value is None else value

    def dimension(self, position: int, count: int, name: str = "dim", default: int = 0) -> int:
        """Return the argument of a dimension as an index from 0 to `count` - 1."""
        return int(self.get(position, name, default)) % count

    def per_axis(self, position: int, name: str, default: Any, count: int) -> list[Any]:
        """Return an argument of one number, or one per axis, as one per axis."""
        value = self.get(position, name, default)
        values = list(value) if isinstance(value, (tuple, list)) else [value]
        return values * count if len(values) == 1 else values


Sources = list[tuple[Axes, tuple[int, ...]]]  # axes (empty: untracked) and shape of each input tensor
Rule = Callable[[Axes, tuple[int, ...], tuple[int, ...], Call], Axes | None]


def _moved(axis: Axis | Rows | None, shift: float, factor: float = 1.0) -> Axis | None:
    return axis.moved(shift, factor) if isinstance(axis, Axis) else None


def _windows(axes: Axes, kernels: Sequence[int], strides: Any, paddings: Any, dilations: Any) -> Axes:
    """Return the axes after a sliding window over the last axes of a tensor."""
    lead = len(axes) - len(kernels)
    moved = [
        _moved(axis, d * (k - 1) / 2 - (d * (k - 1) // 2 if p == "same" else p), s)
        for axis, k, s, p, d in zip(axes[lead:], kernels, strides, paddings, dilations, strict=True)
    ]
    return (*axes[:lead], *moved)


def _convolution(axes: Axes, _before: Any, _after: Any, call: Call) -> Axes:
    kernels = list(call.get(1, "weight").shape[2:])
    count = len(kernels)
    padding = call.get(4, "padding", 0)
    paddings = (
        {"same": ["same"] * count, "valid": [0] * count}.get(padding) if isinstance(padding, str) else None
    )
    paddings = paddings or call.per_axis(4, "padding", 0, count)
    strides, dilations = call.per_axis(3, "stride", 1, count), call.per_axis(5, "dilation", 1, count)
    return _windows((None, None, *axes[2:]), kernels, strides, paddings, dilations)


def _transposed(axes: Axes, _before: Any, _after: Any, call: Call) -> Axes:
    kernels = list(call.get(1, "weight").shape[2:])
    count = len(kernels)
    strides, paddings = call.per_axis(3, "stride", 1, count), call.per_axis(4, "padding", 0, count)
    dilations = call.per_axis(7, "dilation", 1, count)
    moved = [
        _moved(axis, (p - d * (k - 1) / 2) / s, 1 / s)
        for axis, k, s, p, d in zip(axes[2:], kernels, strides, paddings, dilations, strict=True)
    ]
    return (None, None, *moved)


def _pooling(count: int, *, dilated: bool) -> Rule:
    def rule(axes: Axes, _before: Any, _after: Any, call: Call) -> Axes:
        kernels = call.per_axis(1, "kernel_size", 1, count)
        strides = call.get(2, "stride", ()) and call.per_axis(2, "stride", 1, count)
        dilations = call.per_axis(4, "dilation", 1, count) if dilated else [1] * count
        return _windows(axes, kernels, strides or kernels, call.per_axis(3, "padding", 0, count), dilations)

    return rule


def _resizing(axes: Axes, before: tuple[int, ...], after: tuple[int, ...], call: Call) -> Axes | None:
    if len(before) != len(after):
        return None
    if call.get(4, "align_corners", False):
        return tuple(
            _moved(axis, 0.0, (n - 1) / max(m - 1, 1)) for axis, n, m in zip(axes, before, after, strict=True)
        )
    return tuple(
        axis.resized(n, m) if isinstance(axis, Axis) else None
        for axis, n, m in zip(axes, before, after, strict=True)
    )


def _padding(axes: Axes, _before: Any, _after: Any, call: Call) -> Axes:
    amounts = list(call.get(1, "pad", ()))
    left = {len(axes) - 1 - k: amounts[2 * k] for k in range(len(amounts) // 2)}
    return tuple(_moved(axis, -left.get(k, 0)) for k, axis in enumerate(axes))


def _slicing(axes: Axes, before: tuple[int, ...], after: tuple[int, ...], call: Call) -> Axes | None:
    index = list(call.args[1]) if isinstance(call.args[1], tuple) else [call.args[1]]
    if any(not (part is None or part is Ellipsis or isinstance(part, (int, slice))) for part in index):
        return None  # indexing by a tensor: in any order
    taken = sum(part is not None and part is not Ellipsis for part in index)
    if Ellipsis not in index:
        index.append(Ellipsis)
    gap = index.index(Ellipsis)
    index[gap : gap + 1] = [slice(None)] * (len(axes) - taken)
    axes_after: list[Axis | Rows | None] = []
    k = 0
    for part in index:
        if part is None:
            axes_after.append(None)
            continue
        if isinstance(part, slice):
            start, _, stride = part.indices(before[k])
            axes_after.append(_cut(axes[k], start, stride))
        k += 1
    return tuple(axes_after) if len(axes_after) == len(after) else None


def _permuting(axes: Axes, _before: Any, _after: Any, call: Call) -> Axes:
    order = call.args[1:] if not isinstance(call.get(1, "dims"), (tuple, list)) else call.get(1, "dims")
    return tuple(axes[k] for k in order)


def _swapping(axes: Axes, _before: Any, _after: Any, call: Call) -> Axes:
    count = len(axes)
    a = call.dimension(1, count, "dim0" if "dim0" in call.kwargs else "axis0")
    b = call.dimension(2, count, "dim1" if "dim1" in call.kwargs else "axis1")
    swapped = list(axes)
    swapped[a], swapped[b] = swapped[b], swapped[a]
    return tuple(swapped)


def _moving(axes: Axes, _before: Any, _after: Any, call: Call) -> Axes:
    count = len(axes)
    sources, targets = (
        [d % count for d in call.per_axis(k, name, 0, 1)] for k, name in ((1, "source"), (2, "destination"))
    )
    rest = iter(k for k in range(count) if k not in sources)
    return tuple(axes[sources[targets.index(k)] if k in targets else next(rest)] for k in range(count))


def _narrowing(axes: Axes, _before: Any, _after: Any, call: Call) -> Axes:
    dim = call.dimension(1, len(axes))
    return _with(axes, dim, _cut(axes[dim], int(call.get(2, "start", 0))))


def _selecting(axes: Axes, _before: Any, _after: Any, call: Call) -> Axes:
    dim = call.dimension(1, len(axes))
    return (*axes[:dim], *axes[dim + 1 :])


def _unsqueezing(axes: Axes, _before: Any, _after: Any, call: Call) -> Axes:
    dim = call.dimension(1, len(axes) + 1)
    return (*axes[:dim], None, *axes[dim:])


def _mirroring(axes: Axes, before: tuple[int, ...], _after: Any, call: Call) -> Axes:
    dims = call.args[1:] if len(call.args) > 2 else call.per_axis(1, "dims", 0, 1)
    for dim in (int(d) % len(axes) for d in dims):
        axes = _with(axes, dim, _moved(axes[dim], before[dim] - 1, -1))
    return axes


def _reshaping(axes: Axes, before: tuple[int, ...], after: tuple[int, ...], _call: Call) -> Axes | None:
    """Track the flattening of maps to rows of cells, and back; no other reshaping."""
    if before == after:
        return axes
    spatial = [k for k, axis in enumerate(axes) if isinstance(axis, Axis)]
    if spatial and spatial == list(range(spatial[0], spatial[-1] + 1)):
        low, high = spatial[0], spatial[-1] + 1
        cells = before[low:high]
        if after == (*before[:low], math.prod(cells), *before[high:]):
            rows = Rows(tuple(a for a in axes[low:high] if isinstance(a, Axis)), cells)
            return (*axes[:low], rows, *axes[high:])
    for k, row in enumerate(axes):
        if isinstance(row, Rows) and row.start == 0 and after == (*before[:k], *row.cells, *before[k + 1 :]):
            return (*axes[:k], *row.axes, *axes[k + 1 :])
    return None


def _joined(sources: Sources, after: tuple[int, ...], call: Call) -> Axes | None:
    """Return the axes of concatenated tensors."""
    dim, start = call.dimension(1, len(after)), 0
    for axes, shape in sources:
        if axes and isinstance(axes[dim], (Axis, Rows)):
            return _with(axes, dim, _cut(axes[dim], -start))
        start += shape[dim] if len(shape) == len(after) else 0
    return _default_axes([(axes, shape) for axes, shape in sources if any(axes)], after)


RULES: dict[str, Rule] = {
    **{f"conv{n}d": _convolution for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": _transposed for n in (1, 2, 3)},
    **{f"max_pool{n}d": _pooling(n, dilated=True) for n in (1, 2, 3)},
    **{f"max_pool{n}d_with_indices": _pooling(n, dilated=True) for n in (1, 2, 3)},
    **{f"avg_pool{n}d": _pooling(n, dilated=False) for n in (1, 2, 3)},
    "interpolate": _resizing,
    "upsample": _resizing,
    "pad": _padding,
    "__getitem__": _slicing,
    "permute": _permuting,
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), _swapping),
    **dict.fromkeys(("movedim", "moveaxis"), _moving),
    "narrow": _narrowing,
    "select": _selecting,
    "unsqueeze": _unsqueezing,
    "flip": _mirroring,
    **dict.fromkeys(("reshape", "view", "flatten", "unflatten"), _reshaping),
}
SPLITS = {"chunk", "split", "split_with_sizes", "tensor_split"}
JOINED = {"cat", "concat", "concatenate"}
# The output has no cells, or has them in another order: not tracked.
LOST = {
    "einsum", "roll", "rot90", "index_select", "gather", "take_along_dim", "grid_sample", "unfold", "fold",
    "sort", "view_as", "reshape_as", "as_strided", "__get__", "repeat", "tile", "pixel_unshuffle",
    "channel_shuffle",
}  # fmt: skip


def _default_axes(sources: Sources, after: tuple[int, ...]) -> Axes | None:
    """Return the axes after an operation without a rule: dimensions of equal length keep their axes; if the
    length of a spatial axis changes, its cells are assumed to be spread evenly. Of several inputs (a skip
    connection) the finest axis counts."""
    candidates = [(axes, shape) for axes, shape in sources if len(shape) == len(after) and any(axes)]
    if not candidates:
        return None
    return tuple(_default_axis(k, length, candidates) for k, length in enumerate(after))


def _default_axis(k: int, length: int, candidates: Sources) -> Axis | Rows | None:
    same = [axes[k] for axes, shape in candidates if axes[k] is not None and shape[k] == length]
    rows = [axis for axis in same if isinstance(axis, Rows)]
    if rows:
        return rows[0]
    tracked = [axis for axis in same if isinstance(axis, Axis)]
    other = [(axes[k], shape[k]) for axes, shape in candidates if length > 1]
    tracked = tracked or [axis.resized(n, length) for axis, n in other if isinstance(axis, Axis)]
    return _finest(tracked) if tracked else None


def _finest(axes: Sequence[Axis]) -> Axis:
    """Return the axis with the least `coarsest` step; the mean of several equal ones."""
    least = min(axis.coarsest for axis in axes)
    fine = [axis for axis in axes if axis.coarsest == least]
    offset, step = (sum(axis[k] for axis in fine) / len(fine) for k in (1, 2))
    return Axis(fine[0].image_axis, offset, step, least)


def _tensors(args: Any, kwargs: Any) -> list[Tensor]:
    """Return the tensors among arguments, including those in lists (concatenation)."""
    tensors: list[Tensor] = []
    for value in (*args, *kwargs.values()):
        tensors += [v for v in value if isinstance(v, Tensor)] if isinstance(value, (tuple, list)) else []
        tensors += [value] if isinstance(value, Tensor) else []
    return tensors


def spread(maps: Tensor, size: Sequence[int], axes: Sequence[Axis]) -> Tensor:
    """Resample maps (N, *cells) to an image of `size`: linear between the centres of the cells, constant beyond
    the outermost. For evenly spread cells this equals `torch.nn.functional.interpolate`.
    """
    for k, (length, axis) in enumerate(zip(size, axes, strict=True), start=1):
        cells = maps.shape[k]
        position = (torch.arange(length, device=maps.device, dtype=torch.float64) - axis.offset) / axis.step
        position = position.clamp(0, cells - 1)
        low = position.floor().long().clamp_max(max(cells - 2, 0))
        high = (low + 1).clamp_max(cells - 1)
        weight = (position - low).to(maps.dtype).reshape(-1, *(1,) * (maps.ndim - 1 - k))
        maps = torch.lerp(maps.index_select(k, low), maps.index_select(k, high), weight)
    return maps
