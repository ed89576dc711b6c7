"""Locate the tokens of attention within (shifted) windows: for each layer, the grid and the window of a token.

One extra forward pass replaces every token map (N, *grid, C) at the input or output of a module by the token
numbers. Padding, rolling and partitioning into windows only move these numbers, so that the input of the first
linear layer of an attention shows the position of each token. The procedure needs no list of network classes;
it detects any other operation, because tokens are then missing or mixed.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrafact.attribution.attention.weights import AttentionMode, mean_head
from contrafact.attribution.gradients import upsample
from contrafact.core import Question, UnsupportedError

Step = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Windows:
    """Positions of the tokens of one layer.

    grid    shape of the token grid of one image
    places  (windows, n): token numbers from 1, image after image; 0: padding
    """

    grid: tuple[int, ...]
    places: Tensor

    def mixed(self, share: Tensor, weights: Tensor) -> Tensor:
        """Return the shares (N, T) after the tokens pass `share` (N, T) to the tokens they attend to, by the
        layer's `weights` (windows, heads, n, n). The share of padding tokens is lost."""
        flat = F.pad(share.flatten(), (1, 0))
        flat[self.places] = torch.einsum("wt,wtu->wu", flat[self.places], mean_head(weights, len(self.places)))
        return flat[1:].reshape(share.shape)


class Numbering(AttentionMode):
    """Mode that collects in `windows` the token positions of each layer, or None for a layer without them.

    Use it together with `on(network)`.

    size  spatial size of the network's input
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.size: tuple[int, ...] = ()
        self.grid: tuple[int, ...] = ()
        self.windows: list[Windows | None] = []
        self._last: Windows | None = None

    @contextlib.contextmanager
    def on(self, network: nn.Module) -> Iterator[None]:
        """Replace token maps by token numbers at the input and output of every module."""

        def take(_module: nn.Module, inputs: Any) -> Any:
            return (self.numbered(inputs[0]), *inputs[1:]) if inputs else None

        def give(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            return self.numbered(output)

        modules = list(network.modules())
        handles = [m.register_forward_pre_hook(take) for m in modules]
        handles += [m.register_forward_hook(give) for m in modules]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def numbered(self, x: Any) -> Any:
        """Return token numbers instead of a token map; return any other value unchanged."""
        if not isinstance(x, Tensor) or x.dtype not in (torch.float32, torch.float64):
            return x
        self.size = self.size or tuple(x.shape[2:])
        if x.ndim != len(self.size) + 2 or len(x) != self.count or self._numbers(x) is not None:
            return x
        self.grid = tuple(x.shape[1:-1])
        numbers = torch.arange(1, self._tokens() + 1, device=x.device, dtype=x.dtype)
        return numbers.reshape(*x.shape[:-1], 1).repeat(*(1,) * (x.ndim - 1), x.shape[-1])

    def _tokens(self) -> int:
        return self.count * math.prod(self.grid)

    def _numbers(self, x: Tensor) -> Tensor | None:
        """Return the token numbers (...) in x (..., C); None unless each occurs once, and 0 elsewhere."""
        values = x[..., 0]
        if not self.grid or not bool((x == values[..., None]).all()):
            return None
        numbers = values.long()
        present = numbers[values != 0].sort().values
        return numbers if torch.equal(present, torch.arange(1, self._tokens() + 1, device=x.device)) else None

    def _note_tokens(self, tokens: Tensor) -> None:
        super()._note_tokens(tokens)
        places = self._numbers(tokens)
        self._last = None if places is None else Windows(self.grid, places)

    def _note(self, weights: Tensor) -> None:
        before = len(self.maps)
        super()._note(weights)
        if len(self.maps) > before:
            rows = self.rows[-1]
            fits = rows is not None and math.prod(weights.shape[:-2]) % rows == 0
            self.windows.append(self._last if fits else None)


def through_windows(
    question: Question, method: str, layers: Sequence[Tensor], step: Step
) -> tuple[Tensor, Tensor]:
    """Propagate relevance from the tokens of the last layer, all with equal shares, back to the image.

    layers  attention weights (windows, heads, n, n), in forward order
    step    function of a layer's own shares (N, T) and the attended shares (N, T); returns the shares (N, T)
            one layer earlier
    gives   maps (N, *S): the propagated relevance, and the relevance without any attention
    raises  UnsupportedError if tokens cannot be located in windows, or grids do not nest
    """
    size, windows = find_windows(question, method, len(layers))
    count, grid = len(question.images), windows[-1].grid
    share = layers[-1].new_full((count, math.prod(grid)), 1 / math.prod(grid))
    start = share
    for weights, where in zip(reversed(layers), reversed(windows), strict=True):
        share, start = (carried(s, grid, where.grid, method) for s in (share, start))
        grid = where.grid
        share = step(share, where.mixed(share, weights))
    image = question.images.shape[2:]
    fine = math.prod(size) / math.prod(image)
    first, second = (
        upsample(carried(s, grid, size, method).reshape(count, *size), image) * fine for s in (share, start)
    )
    return first, second


def find_windows(question: Question, method: str, layers: int) -> tuple[tuple[int, ...], list[Windows]]:
    """Return the spatial size (*S) of the network's input, and the token positions of each layer.

    raises  UnsupportedError if the tokens of a layer cannot be located
    """
    predictor: Any = question.predictor
    images = torch.as_tensor(question.images).to(predictor.device)
    # Gradients are enabled as in the first pass, so that the network takes the same path.
    with torch.enable_grad(), Numbering(len(images)) as mode, mode.on(predictor.module):
        predictor(images)
    windows = [w for w in mode.windows if w is not None]
    if len(windows) != layers or len(mode.windows) != layers:
        raise UnsupportedError(f"{method} cannot follow this attention within windows; use lrp or gradcam")
    return mode.size, windows


def carried(share: Tensor, before: Sequence[int], after: Sequence[int], method: str) -> Tensor:
    """Return token shares (N, T) of the grid `before` on the grid `after`: the share of a coarse token goes to
    its fine tokens in equal parts, and the shares of fine tokens are added."""
    if tuple(before) == tuple(after):
        return share
    if math.prod(before) > math.prod(after):
        cells = cells_of(before, after, method).to(share.device)
        return share.new_zeros(len(share), math.prod(after)).index_add(1, cells, share)
    cells = cells_of(after, before, method).to(share.device)
    return (share / torch.bincount(cells))[:, cells]


def cells_of(fine: Sequence[int], coarse: Sequence[int], method: str) -> Tensor:
    """Return the coarse token (T,) that contains each fine token; the last one along an axis may be smaller.

    raises  UnsupportedError for grids that do not nest
    """
    sides = [math.ceil(a / b) for a, b in zip(fine, coarse, strict=True)]
    if any(math.ceil(a / side) != b for a, side, b in zip(fine, sides, coarse, strict=True)):
        raise UnsupportedError(
            f"{method} cannot map {tuple(coarse)} tokens to a grid of {tuple(fine)}; use lrp or gradcam"
        )
    along = [torch.arange(a) // side for a, side in zip(fine, sides, strict=True)]
    number = torch.zeros((), dtype=torch.long)
    for axis, (at, wide) in enumerate(zip(along, coarse, strict=True)):
        number = number * wide + at.reshape(-1, *(1,) * (len(along) - 1 - axis))
    return number.flatten()
