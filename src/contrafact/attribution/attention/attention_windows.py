"""Attention within (shifted) windows, stage by stage: which token sits in which window, on which grid.

One more pass is made, in which every map of tokens (N, *grid, C) that a module takes or gives is replaced by
the tokens' numbers. Padding, rolling and cutting into windows only move numbers, so what the attention's
first linear layer is given says which token sits where. No class of networks is named, and where more than
moving went on a token is missing or mixed, which is seen.
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
    """Where the tokens of one layer sit.

    grid    of the tokens of one image
    places  (windows, n): the number of the token, from 1, image after image; 0: padding
    """

    grid: tuple[int, ...]
    places: Tensor

    def mixed(self, share: Tensor, weights: Tensor) -> Tensor:
        """What the tokens pass on to those they look at, (N, T): `share` (N, T) of each, by the layer's
        `weights` (windows, heads, n, n). Padding keeps what it is given, and that is lost."""
        flat = F.pad(share.flatten(), (1, 0))
        flat[self.places] = torch.einsum("wt,wtu->wu", flat[self.places], mean_head(weights, len(self.places)))
        return flat[1:].reshape(share.shape)


class Numbering(AttentionMode):
    """Inside, with `on` the network, `windows` collects where the tokens of each layer sit, or None.

    size  what the network is given
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
        """Numbers in the place of a map of tokens; what holds each number already is left as it is."""
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
        """The numbers (...) in x (..., C), when each token is there once and the rest is 0."""
        found = x[..., 0]
        if not self.grid or not bool((x == found[..., None]).all()):
            return None
        whole = found.long()
        there = whole[found != 0].sort().values
        return whole if torch.equal(there, torch.arange(1, self._tokens() + 1, device=x.device)) else None

    def _given(self, tokens: Tensor) -> None:
        super()._given(tokens)
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
    """Carry relevance from the last layer's tokens, which all answer alike, back to the image.

    layers  attention weights (windows, heads, n, n), in the order they ran
    step    what the tokens have (N, T) and what they are given (N, T), to what they have one layer earlier
    gives   maps (N, *S): what arrives, and what would if no layer passed anything on
    raises  UnsupportedError where tokens cannot be followed into windows, or grids do not nest
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
    """The size (*S) the network is given, and where the tokens of each of its layers sit."""
    predictor: Any = question.predictor
    images = torch.as_tensor(question.images).to(predictor.device)
    with torch.enable_grad(), Numbering(len(images)) as mode, mode.on(predictor.module):  # as it ran before
        predictor(images)
    found = [w for w in mode.windows if w is not None]
    if len(found) != layers or len(mode.windows) != layers:
        raise UnsupportedError(f"{method} cannot follow this attention within windows; use lrp or gradcam")
    return mode.size, found


def carried(share: Tensor, before: Sequence[int], after: Sequence[int], method: str) -> Tensor:
    """What tokens of the grid `before` weigh (N, T), on the grid `after`: a coarse token's share goes to the
    fine ones in equal parts, and fine ones' shares are added."""
    if tuple(before) == tuple(after):
        return share
    if math.prod(before) > math.prod(after):
        cells = cells_of(before, after, method).to(share.device)
        return share.new_zeros(len(share), math.prod(after)).index_add(1, cells, share)
    cells = cells_of(after, before, method).to(share.device)
    return (share / torch.bincount(cells))[:, cells]


def cells_of(fine: Sequence[int], coarse: Sequence[int], method: str) -> Tensor:
    """Which coarse token each fine one (T) is part of; the last along an axis may have fewer.

    raises  UnsupportedError for grids that do not nest
    """
    sides = [math.ceil(a / b) for a, b in zip(fine, coarse, strict=True)]
    if any(math.ceil(a / side) != b for a, side, b in zip(fine, sides, coarse, strict=True)):
        raise UnsupportedError(
            f"{method} cannot lay {tuple(coarse)} tokens on {tuple(fine)} places; use lrp or gradcam"
        )
    along = [torch.arange(a) // side for a, side in zip(fine, sides, strict=True)]
    number = torch.zeros((), dtype=torch.long)
    for axis, (at, wide) in enumerate(zip(along, coarse, strict=True)):
        number = number * wide + at.reshape(-1, *(1,) * (len(along) - 1 - axis))
    return number.flatten()
