"""A layer as explanations read it: which dimension holds its channels, its cells, and where they lie on the
image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from contrafact.core import InputError
from contrafact.models.calls import first_tensor, functions_of
from contrafact.models.placement import Axes, Axis, Placing, Rows, axes_of, inherit, input_axes, mark, spread

PREFIX = 16  # tokens without a place (class and register tokens) that may stand before those with one


@dataclass(frozen=True, slots=True)
class Layout:
    """How the output of a layer is read as a feature map (N, K, *cells).

    cells    of the map along each spatial axis of the image
    last     channels are the last dimension, (N, *cells, K); False: the second, (N, K, *cells)
    prefix   tokens without a place before those of the cells, in an output (N, prefix + cells, K) or
             (N, K, prefix + cells); None: the output is no row of tokens
    """

    cells: tuple[int, ...]
    last: bool = False
    prefix: int | None = None

    @property
    def channel(self) -> int:
        """The dimension of the channels in the layer's own output."""
        return -1 if self.last else 1

    def read(self, output: Tensor) -> Tensor:
        """The layer's output as a feature map (N, K, *cells)."""
        found = output.movedim(-1, 1) if self.last else output
        if self.prefix is None:
            return found
        row = found[:, :, self.prefix : self.prefix + math.prod(self.cells)]
        return row.reshape(*found.shape[:2], *self.cells)

    def fits(self, output: Tensor) -> bool:
        """Whether an output has the shape that this layout reads."""
        places = output.shape[1:-1] if self.last else output.shape[2:]
        if self.prefix is None:
            return tuple(places) == self.cells
        return len(places) == 1 and places[0] >= self.prefix + math.prod(self.cells)


@dataclass(frozen=True, slots=True)
class FeatureLayer:
    """One layer of a network for images of one size.

    name    as in `named_modules`, or of a function and its number in a pass (`relu#2`)
    calls   how often a pass calls it; the last call counts
    layout  how its output is read
    axes    where the centres of its cells lie, in voxels of the image
    size    of the image, (*S)
    """

    name: str
    layout: Layout
    axes: tuple[Axis, ...]
    size: tuple[int, ...]
    calls: int = 1

    @classmethod
    def of(cls, seen: Seen, size: tuple[int, ...], taken: tuple[int, ...]) -> FeatureLayer:
        """A layer that was seen in a network that takes images of `taken` voxels, for images of `size`."""
        ratios = [s / t for s, t in zip(size, taken, strict=True)]
        axes = tuple(
            Axis(a.image_axis, r * a.offset + (r - 1) / 2, r * a.step, r * a.coarsest)
            for a, r in zip(seen.axes, ratios, strict=True)
        )
        return cls(seen.name, seen.layout, axes, size, seen.calls)

    @property
    def cells(self) -> tuple[int, ...]:
        """Of the map along each spatial axis."""
        return self.layout.cells

    @property
    def channel(self) -> int:
        """The dimension of the channels in the layer's own output."""
        return self.layout.channel

    def read(self, output: Tensor) -> Tensor:
        """The layer's own output as a feature map (N, K, *cells)."""
        return self.layout.read(output)

    def on_image(self, maps: Tensor) -> Tensor:
        """Maps (N, *cells) on the image's grid (N, *S), every cell at the centre of its receptive field."""
        if tuple(maps.shape[1:]) == self.size and all(a.step == 1 and a.offset == 0 for a in self.axes):
            return maps
        return spread(maps, self.size, self.axes)


@dataclass(slots=True)
class Seen:
    """A module that gave a feature map in one pass, in the order in which modules ended."""

    name: str
    layout: Layout
    axes: tuple[Axis, ...]
    calls: int = 1


@dataclass(slots=True)
class Survey:
    """One pass, watched: the feature maps, and the grids of cells that were met on the way."""

    size: tuple[int, ...]
    tokens: tuple[int, ...] = ()
    maps: dict[str, Seen] = field(default_factory=dict)
    grids: list[tuple[int, ...]] = field(default_factory=list)

    def note_function(self, name: str, output: Any) -> Any:
        """Note the output of a function, which stays as it is."""
        self.note(name, (), output)
        return output

    def note(self, name: str, inputs: Sequence[Any], output: Any) -> None:
        """Note the output of a module, where it is a feature map."""
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
    """Where the cells of a layout lie: as they were followed, or else evenly over the image."""
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
    """How an output (1, ...) of a network for images of `size` is a feature map; None if it is none.

    grids   of cells that convolutions gave before, for rows of tokens that were not followed
    tokens  declared: how many tokens have no place, and the grid of the others
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
        found = token_grid(length, size, grids)
        if found is not None and (last or found[0] == 0):
            return Layout(found[1], last=last, prefix=found[0])
    return None


def _whole(rows: Rows, length: int) -> bool:
    """Whether all cells are still there, in the order of the image's axes."""
    order = [axis.image_axis for axis in rows.axes]
    return rows.start >= 0 and rows.start + math.prod(rows.cells) <= length and order == sorted(order)


def _channels(value: Tensor, size: Sequence[int]) -> Layout | None:
    """Channels first or last, by the axes that were followed, or by which reading keeps the image's shape."""
    axes = axes_of(value) or ()
    followed = {k: axis.image_axis for k, axis in enumerate(axes) if isinstance(axis, Axis)}
    if sorted(followed.values()) == list(range(len(size))):
        if list(followed.items()) == [(k + 2, k) for k in range(len(size))]:
            return Layout(tuple(value.shape[2:]))
        if list(followed.items()) == [(k + 1, k) for k in range(len(size))]:
            return Layout(tuple(value.shape[1:-1]), last=True)
        return None  # the image's axes in another order
    first, last = _likeness(value.shape[2:], size), _likeness(value.shape[1:-1], size)
    if max(first, last) < 0.5:
        return None
    return Layout(tuple(value.shape[2:])) if first >= last else Layout(tuple(value.shape[1:-1]), last=True)


def _likeness(cells: Sequence[int], size: Sequence[int]) -> float:
    """How well cells cover an image of `size` alike along all axes: 1 for one stride, 0 for none."""
    if any(c > 2 * s for c, s in zip(cells, size, strict=True)):
        return 0.0
    strides = [s / c for c, s in zip(cells, size, strict=True)]
    return min(strides) / max(strides)


def token_grid(
    length: int, size: Sequence[int], grids: Sequence[tuple[int, ...]]
) -> tuple[int, tuple[int, ...]] | None:
    """How many of `length` tokens have no place, and the grid of those that have; None where none fits.

    Tried: the grids of convolutions, the latest first, and these halved (merged patches); then whole patches.
    """
    tried: list[tuple[int, ...]] = []
    for grid in reversed(grids):
        while max(grid) > 1:
            tried.append(grid)
            grid = tuple(math.ceil(cells / 2) for cells in grid)
    tried += [tuple(s // p for s in size) for p in range(1, min(size) + 1) if all(s % p == 0 for s in size)]
    fits = [(length - math.prod(grid), grid) for grid in tried if 0 <= length - math.prod(grid) <= PREFIX]
    fits = [(rest, grid) for rest, grid in fits if math.prod(grid) > max(rest, 1)]
    return min(fits, key=lambda fit: fit[0]) if fits else None


def survey(
    module: nn.Module, run: Callable[[Tensor], Any], image: Tensor, tokens: Sequence[int] = ()
) -> Survey:
    """The feature maps of one image (1, C, *S), as the network takes it; `run` calls the network.

    cost  one forward pass
    """
    found = Survey(tuple(image.shape[2:]), tuple(tokens))
    handles = []

    def noting(name: str) -> Callable[..., None]:
        return lambda _module, inputs, output: found.note(name, inputs, output)

    for name, part in module.named_modules():
        if name:
            handles.append(part.register_forward_hook(noting(name)))
    try:
        with torch.no_grad(), Placing(), functions_of(module, found.note_function):
            copy = image.clone()
            mark(copy, input_axes(copy))
            run(copy)
    finally:
        for handle in handles:
            handle.remove()
    return found


def check_tokens(tokens: Sequence[int]) -> tuple[int, ...]:
    """A declared layout of tokens: how many have no place, then the grid of the others."""
    found = tuple(int(t) for t in tokens)
    if found and (len(found) < 3 or found[0] < 0 or min(found[1:]) < 1):
        raise InputError(
            f"tokens must be (tokens without a place, rows, columns), such as (1, 14, 14); got {tuple(tokens)}"
        )
    return found
