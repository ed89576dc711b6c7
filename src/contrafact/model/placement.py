"""Where the cells of a feature map lie on the image: the centres of their receptive fields.

A map of 7 x 7 cells is not always spread evenly over its image: a convolution without padding trims the
rim, and one that halves the side with odd padding centres its first cell on the first pixel. During one
forward pass every operation that moves or merges places is followed, whatever calls it (`nn` modules or
functions), so no class of networks needs to be known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

MARK = "_contrafact_axes"  # on every tensor that was followed: an `Axis` or None for each of its dimensions


class Axis(NamedTuple):
    """Centres along one spatial axis: cell `i` is centred on voxel `offset + step * i` of the input; `coarsest`
    is the greatest step on the way to it."""

    image_axis: int
    offset: float
    step: float
    coarsest: float = 1.0

    def moved(self, shift: float, factor: float = 1.0) -> Axis:
        """The axis after an operation whose output cell `i` lies at input cell `shift + factor * i`."""
        step = self.step * factor
        return Axis(self.image_axis, self.offset + self.step * shift, step, max(self.coarsest, step))

    def resized(self, before: int, after: int) -> Axis:
        """The axis after `before` cells were spread evenly over `after` cells."""
        return self.moved((before / after - 1) / 2, before / after)


Axes = tuple[Axis | None, ...]


def axes_of(value: Any) -> Axes | None:
    """What is known of the axes of a tensor; None where it was not followed."""
    return getattr(value, MARK, None) if isinstance(value, Tensor) else None


def mark(value: Any, axes: Axes | None) -> None:
    """Note the axes of a tensor, where some are known."""
    if isinstance(value, Tensor) and axes is not None and any(axes):
        setattr(value, MARK, axes)


def input_axes(images: Tensor) -> Axes:
    """Axes of what the network is given, (N, C, *S): every voxel is its own centre."""
    return (None, None, *(Axis(k, 0.0, 1.0) for k in range(images.ndim - 2)))


class Placing(TorchFunctionMode):
    """Inside, axes are carried from the tensors that were marked to all that is computed from them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        sources = [v for v in _tensors(args, kwargs) if axes_of(v) is not None]
        before = [(v, axes_of(v) or (), tuple(v.shape)) for v in sources]
        out = func(*args, **kwargs)
        if before and isinstance(out, Tensor):
            rule = RULES.get(_name_of(func))
            call = Call(args, kwargs)
            known = rule(before[0][1], before[0][2], tuple(out.shape), call) if rule else None
            mark(out, known or _same_places(before, tuple(out.shape)))
        return out


def inherit(output: Any, inputs: Sequence[Any]) -> None:
    """Mark a module's output as its input, where both have one shape and the way between was hidden."""
    if isinstance(output, Tensor) and axes_of(output) is None:
        like = next((v for v in inputs if axes_of(v) is not None and v.shape == output.shape), None)
        mark(output, axes_of(like))


@dataclass(frozen=True, slots=True)
class Call:
    """The arguments of one operation."""

    args: Any
    kwargs: Any

    def get(self, position: int, name: str, default: Any = None) -> Any:
        """An argument by position or name; what is absent or None is the default."""
        value = self.args[position] if len(self.args) > position else self.kwargs.get(name)
        return default if value is None else value

    def per_axis(self, position: int, name: str, default: Any, count: int) -> list[Any]:
        """An argument that is one number, or one number an axis."""
        value = self.get(position, name, default)
        values = list(value) if isinstance(value, (tuple, list)) else [value]
        return values * count if len(values) == 1 else values


Rule = Callable[[Axes, tuple[int, ...], tuple[int, ...], Call], Axes | None]


def _windows(axes: Axes, kernels: Sequence[int], strides: Any, paddings: Any, dilations: Any) -> Axes:
    """After a window slid over the last axes of a tensor."""
    lead = len(axes) - len(kernels)
    moved = [
        axis and axis.moved(d * (k - 1) / 2 - (d * (k - 1) // 2 if p == "same" else p), s)
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
        axis and axis.moved((p - d * (k - 1) / 2) / s, 1 / s)
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
            axis and axis.moved(0.0, (n - 1) / max(m - 1, 1))
            for axis, n, m in zip(axes, before, after, strict=True)
        )
    return tuple(axis and axis.resized(n, m) for axis, n, m in zip(axes, before, after, strict=True))


def _padding(axes: Axes, _before: Any, _after: Any, call: Call) -> Axes:
    amounts = list(call.get(1, "pad", ()))
    left = {len(axes) - 1 - k: amounts[2 * k] for k in range(len(amounts) // 2)}
    return tuple(axis and axis.moved(-left.get(k, 0)) for k, axis in enumerate(axes))


def _slicing(axes: Axes, _before: Any, after: tuple[int, ...], call: Call) -> Axes | None:
    index = call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
    if not all(isinstance(part, slice) or part is Ellipsis for part in index) or len(after) != len(axes):
        return None
    if Ellipsis in index:
        gap = index.index(Ellipsis)
        index = (*index[:gap], *[slice(None)] * (len(axes) - len(index) + 1), *index[gap + 1 :])
    moved = list(axes)
    for k, part in enumerate(index):
        start, _, stride = part.indices(_before[k])
        axis = moved[k]
        moved[k] = axis and axis.moved(start, stride)
    return tuple(moved)


def _permuting(axes: Axes, _before: Any, _after: Any, call: Call) -> Axes:
    order = call.args[1:] if not isinstance(call.get(1, "dims"), (tuple, list)) else call.get(1, "dims")
    return tuple(axes[k] for k in order)


def _swapping(axes: Axes, _before: Any, _after: Any, call: Call) -> Axes:
    swapped, (a, b) = list(axes), (call.get(1, "dim0"), call.get(2, "dim1"))
    swapped[a], swapped[b] = swapped[b], swapped[a]
    return tuple(swapped)


def _name_of(func: Any) -> str:
    return str(getattr(func, "__name__", ""))


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
    "transpose": _swapping,
    "swapaxes": _swapping,
}


def _same_places(before: list[tuple[Tensor, Any, tuple[int, ...]]], after: tuple[int, ...]) -> Axes | None:
    """Of an operation without a rule: dimensions that keep their length keep their places; in one that changes
    the length of spatial axes cells are taken to be spread evenly. Where several inputs are merged (a skip
    connection), the one that kept the finest places tells them."""
    alike = [(axes, shape) for _, axes, shape in before if len(shape) == len(after)]
    if not alike:
        return None
    found: list[Axis | None] = []
    for k, length in enumerate(after):
        same = [axes[k] for axes, shape in alike if axes[k] is not None and shape[k] == length]
        other = [
            axes[k].resized(shape[k], length) for axes, shape in alike if axes[k] is not None and length > 1
        ]
        here = same or other
        found.append(_finest(here) if here else None)
    return tuple(found)


def _finest(axes: Sequence[Axis]) -> Axis:
    """The axis on the finest way; a mean of those that are equally fine."""
    least = min(axis.coarsest for axis in axes)
    fine = [axis for axis in axes if axis.coarsest == least]
    offset, step = (sum(axis[k] for axis in fine) / len(fine) for k in (1, 2))
    return Axis(fine[0].image_axis, offset, step, least)


def _tensors(args: Any, kwargs: Any) -> list[Tensor]:
    """Tensors among arguments, lists of them (concatenation) too."""
    found: list[Tensor] = []
    for value in (*args, *kwargs.values()):
        found += [v for v in value if isinstance(v, Tensor)] if isinstance(value, (tuple, list)) else []
        found += [value] if isinstance(value, Tensor) else []
    return found


def spread(maps: Tensor, size: Sequence[int], axes: Sequence[Axis]) -> Tensor:
    """Maps (N, *cells) on an image of `size`: linear between the centres of the cells, constant beyond the
    outermost. Evenly spread cells give exactly `torch.nn.functional.interpolate`.
    """
    for k, (length, axis) in enumerate(zip(size, axes, strict=True), start=1):
        cells = maps.shape[k]
        where = (torch.arange(length, device=maps.device, dtype=torch.float64) - axis.offset) / axis.step
        where = where.clamp(0, cells - 1)
        low = where.floor().long().clamp_max(max(cells - 2, 0))
        high = (low + 1).clamp_max(cells - 1)
        share = (where - low).to(maps.dtype).reshape(-1, *(1,) * (maps.ndim - 1 - k))
        maps = torch.lerp(maps.index_select(k, low), maps.index_select(k, high), share)
    return maps
