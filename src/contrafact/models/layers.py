"""Read the output of any layer as a feature map: its channels, its cells, and where they lie on the image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from contrafact.core import InputError, nearest
from contrafact.models.calls import first_tensor, functions_of
from contrafact.models.placement import Axes, Axis, Placing, Rows, axes_of, inherit, input_axes, mark, spread

PREFIX = 16  # greatest number of leading tokens without a position (class and register tokens)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the output of a layer is read as a feature map (N, K, *cells).

    cells    number of cells along each spatial axis of the image
    last     channels are the last dimension, (N, *cells, K); False: the second, (N, K, *cells)
    prefix   number of tokens without a position before those of the cells, in an output
             (N, prefix + cells, K) or (N, K, prefix + cells); None: the output has no tokens
    order    for each spatial axis of the image, that of the output (N, K, *S) along it; empty: the same
    """

    cells: tuple[int, ...]
    last: bool = False
    prefix: int | None = None
    order: tuple[int, ...] = ()

    @property
    def channel(self) -> int:
        """Dimension of the channels in the layer's own output."""
        return -1 if self.last else 1

    def read(self, output: Tensor) -> Tensor:
        """Return the layer's output as a feature map (N, K, *cells)."""
        maps = output.movedim(-1, 1) if self.last else output
        if self.order:
            return maps.permute(0, 1, *(2 + axis for axis in self.order))
        if self.prefix is None:
            return maps
        row = maps[:, :, self.prefix : self.prefix + math.prod(self.cells)]
        return row.reshape(*maps.shape[:2], *self.cells)

    def fits(self, output: Tensor) -> bool:
        """Whether an output has the shape that this layout reads."""
        sizes = output.shape[1:-1] if self.last else output.shape[2:]
        if self.order and len(sizes) == len(self.order):
            sizes = torch.Size(sizes[axis] for axis in self.order)
        if self.prefix is None:
            return tuple(sizes) == self.cells
        return len(sizes) == 1 and sizes[0] >= self.prefix + math.prod(self.cells)


@dataclass(frozen=True, slots=True)
class FeatureLayer:
    """One layer of a network for images of one size.

    name    as in `named_modules`, or a function with its number in a pass (`relu#2`)
    calls   number of calls in a pass; the last one counts
    layout  how its output is read
    axes    centres of its cells along each axis, in voxels of the image
    size    of the image, (*S)
    """

    name: str
    layout: Layout
    axes: tuple[Axis, ...]
    size: tuple[int, ...]
    calls: int = 1

    @classmethod
    def of(cls, seen: Seen, size: tuple[int, ...], taken: tuple[int, ...]) -> FeatureLayer:
        """Return a layer seen in a network whose input has `taken` voxels per axis, for images of `size`."""
        ratios = [s / t for s, t in zip(size, taken, strict=True)]
        axes = tuple(
            Axis(a.image_axis, r * a.offset + (r - 1) / 2, r * a.step, r * a.coarsest)
            for a, r in zip(seen.axes, ratios, strict=True)
        )
        return cls(seen.name, seen.layout, axes, size, seen.calls)

    @property
    def cells(self) -> tuple[int, ...]:
        """Number of cells of the feature map along each spatial axis."""
        return self.layout.cells

    @property
    def channel(self) -> int:
        """Dimension of the channels in the layer's own output."""
        return self.layout.channel

    def read(self, output: Tensor) -> Tensor:
        """Return the layer's own output as a feature map (N, K, *cells)."""
        return self.layout.read(output)

    def on_image(self, maps: Tensor) -> Tensor:
        """Resample maps (N, *cells) to the image grid (N, *S), cells at their receptive fields' centres."""
        if tuple(maps.shape[1:]) == self.size and all(a.step == 1 and a.offset == 0 for a in self.axes):
            return maps
        return spread(maps, self.size, self.axes)


@dataclass(slots=True)
class Seen:
    """A module or function that returned a feature map in a pass."""

    name: str
    layout: Layout
    axes: tuple[Axis, ...]
    calls: int = 1


@dataclass(slots=True)
class LayerSurvey:
    """The feature maps of one pass, in the order of their computation, and the grids of cells that occurred."""

    size: tuple[int, ...]
    tokens: tuple[int, ...] = ()
    maps: dict[str, Seen] = field(default_factory=dict)
    grids: list[tuple[int, ...]] = field(default_factory=list)

    def note_function(self, name: str, output: Any) -> Any:
        """Record the output of a function, and return it unchanged."""
        self.note(name, (), output)
        return output

    def note(self, name: str, inputs: Sequence[Any], output: Any) -> None:
        """Record the output of a module if it is a feature map."""
        value = first_tensor(output)
        if value is None or value.ndim < 3 or len(value) != 1 or not value.is_floating_point():
            return
        inherit(value, [v for v in inputs if isinstance(v, Tensor)])
        axes = axes_of(value)
        if (
            axes is not None
            and axes[0] is None
            and axes[1] is None
            and all(isinstance(a, Axis) for a in axes[2:])
        ):
            self.grids.append(tuple(value.shape[2:]))
        layout = read_layout(value, self.size, self.grids, self.tokens)
        if layout is None:
            return
        calls = self.maps.pop(name).calls + 1 if name in self.maps else 1
        self.maps[name] = Seen(name, layout, places(layout, axes, self.size), calls)


def places(layout: Layout, axes: Axes | None, size: Sequence[int]) -> tuple[Axis, ...]:
    """Return the axes of the cells of a layout: the tracked ones, or else evenly spread over the image."""
    even = tuple(Axis(k, 0.0, 1.0).resized(size[k], cells) for k, cells in enumerate(layout.cells))
    rows = next((axis for axis in axes or () if isinstance(axis, Rows)), None)
    if rows is not None and layout.prefix is not None and rows.cells == layout.cells:
        return rows.axes
    known = (
        {axis.image_axis: axis for axis in axes or () if isinstance(axis, Axis)}
        if layout.prefix is None
        else {}
    )
    return tuple(known.get(k, axis) for k, axis in enumerate(even))


def read_layout(
    value: Tensor, size: Sequence[int], grids: Sequence[tuple[int, ...]], tokens: Sequence[int] = ()
) -> Layout | None:
    """Return the layout of an output (1, ...) of a network for images of `size`; None if it is no feature map.

    grids   grids of cells of earlier convolutions, for tokens that could not be tracked
    tokens  declared: number of tokens without a position, and the grid of the others
    """
    count = len(size)
    if value.ndim == count + 2:
        return _channels(value, size)
    if value.ndim != 3:
        return None
    if tokens and value.shape[1] == tokens[0] + math.prod(tokens[1:]):
        return Layout(tuple(tokens[1:]), last=True, prefix=tokens[0])
    for dim, rows in enumerate(axes_of(value) or ()):
        if isinstance(rows, Rows) and dim > 0:
            return (
                Layout(rows.cells, last=dim == 1, prefix=rows.start) if _whole(rows, value.shape[dim]) else None
            )
    for length, last in ((value.shape[1], True), (value.shape[2], False)):
        fit = token_grid(length, size, grids)
        if fit is not None and (last or fit[0] == 0):
            return Layout(fit[1], last=last, prefix=fit[0])
    return None


def _whole(rows: Rows, length: int) -> bool:
    """Whether all cells are present, in the order of the image's axes."""
    order = [axis.image_axis for axis in rows.axes]
    return rows.start >= 0 and rows.start + math.prod(rows.cells) <= length and order == sorted(order)


def _channels(value: Tensor, size: Sequence[int]) -> Layout | None:
    """Return the layout with channels first or last, by the tracked axes or else by the image's proportions."""
    axes = axes_of(value) or ()
    followed = {k: axis.image_axis for k, axis in enumerate(axes) if isinstance(axis, Axis)}
    if sorted(followed.values()) == list(range(len(size))):
        if list(followed.items()) == [(k + 2, k) for k in range(len(size))]:
            return Layout(tuple(value.shape[2:]))
        if list(followed.items()) == [(k + 1, k) for k in range(len(size))]:
            return Layout(tuple(value.shape[1:-1]), last=True)
        if list(followed) != list(range(2, 2 + len(size))):
            return None  # the channels among the image's axes
        order = tuple(sorted(range(len(size)), key=lambda k: followed[2 + k]))
        return Layout(tuple(value.shape[2 + k] for k in order), order=order)
    first, last = _likeness(value.shape[2:], size), _likeness(value.shape[1:-1], size)
    if max(first, last) < 0.5:
        return None
    return Layout(tuple(value.shape[2:])) if first >= last else Layout(tuple(value.shape[1:-1]), last=True)


def _likeness(cells: Sequence[int], size: Sequence[int]) -> float:
    """Return how equal the strides of cells are along all axes: 1 for equal strides, 0 if impossible."""
    if any(c > 2 * s for c, s in zip(cells, size, strict=True)):
        return 0.0
    strides = [s / c for c, s in zip(cells, size, strict=True)]
    return min(strides) / max(strides)


def token_grid(
    length: int, size: Sequence[int], grids: Sequence[tuple[int, ...]]
) -> tuple[int, tuple[int, ...]] | None:
    """Return how many of `length` tokens have no position, and the grid of the others; None if no grid fits.

    Candidates: grids of convolutions, latest first, and these halved (merged patches); then square patches.
    """
    candidates: list[tuple[int, ...]] = []
    for grid in reversed(grids):
        while max(grid) > 1:
            candidates.append(grid)
            grid = tuple(math.ceil(cells / 2) for cells in grid)
    candidates += [
        tuple(s // p for s in size) for p in range(1, min(size) + 1) if all(s % p == 0 for s in size)
    ]
    fits = [(length - math.prod(grid), grid) for grid in candidates if 0 <= length - math.prod(grid) <= PREFIX]
    fits = [(rest, grid) for rest, grid in fits if math.prod(grid) > max(rest, 1)]
    return min(fits, key=lambda fit: fit[0]) if fits else None


def survey(
    module: nn.Module, run: Callable[[Tensor], Any], image: Tensor, tokens: Sequence[int] = ()
) -> LayerSurvey:
    """Return the feature maps of one preprocessed image (1, C, *S); `run` calls the network.

    cost  one forward pass
    """
    result = LayerSurvey(tuple(image.shape[2:]), tuple(tokens))
    handles = []

    def noting(name: str) -> Callable[..., None]:
        return lambda _module, inputs, output: result.note(name, inputs, output)

    for name, part in module.named_modules():
        if name:
            handles.append(part.register_forward_hook(noting(name)))
    try:
        with torch.no_grad(), Placing(), functions_of(module, result.note_function):
            copy = image.clone()
            mark(copy, input_axes(copy))
            run(copy)
    finally:
        for handle in handles:
            handle.remove()
    return result


def check_tokens(tokens: Sequence[int]) -> tuple[int, ...]:
    """Return a declared layout of tokens as integers; raise InputError if it is invalid."""
    layout = tuple(int(t) for t in tokens)
    if layout and (len(layout) < 3 or layout[0] < 0 or min(layout[1:]) < 1):
        raise InputError(
            f"tokens must be (tokens without a position, rows, columns), such as (1, 14, 14); "
            f"got {tuple(tokens)}"
        )
    return layout


def no_map(layer: str, surveyed: LayerSurvey) -> str:
    """Return the message for a layer without a feature map."""
    names = list(surveyed.maps)
    return (
        f"expected a layer with a feature map; '{layer}' has none"
        f"{nearest(layer, names)}; the last layers with one: {', '.join(names[-4:]) or 'none'}"
    )
