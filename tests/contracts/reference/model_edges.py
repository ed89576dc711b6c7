"""Where cells lie after every operation, layouts of layers, windows and patches."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from contrafact.models import TiledPredictor, TorchPredictor
from contrafact.models.layers import check_tokens, places, read_layout, token_grid
from contrafact.models.patches import Patch, large, union
from contrafact.models.placement import Axis, Placing, Rows, axes_of, input_axes, mark, spread
from reference.heatmaps import network
from reference.kept import brief, tried

WEIGHT, UP = torch.ones(2, 2, 3, 4), torch.ones(2, 2, 3, 2)
MOVES: dict[str, Callable[[Tensor], Any]] = {
    "conv": lambda x: F.conv2d(x, WEIGHT, stride=(2, 3), padding=(1, 0), dilation=(1, 2)),
    "conv same": lambda x: F.conv2d(x, torch.ones(2, 2, 3, 5), padding="same"),
    "conv valid": lambda x: F.conv2d(x, WEIGHT, padding="valid"),
    "conv one number": lambda x: F.conv2d(x, WEIGHT, None, 2, 1),
    "twice": lambda x: F.conv2d(F.conv2d(x, WEIGHT, stride=2), WEIGHT, stride=(2, 1), padding=1),
    "transposed": lambda x: F.conv_transpose2d(x, UP, stride=(2, 3), padding=(1, 0), dilation=(2, 1)),
    "max": lambda x: F.max_pool2d(x, (3, 2), stride=2, padding=1),
    "max dilated": lambda x: F.max_pool2d(x, 2, 1, 0, 3),
    "max with places": lambda x: F.max_pool2d(x, 3, return_indices=True)[0],
    "mean": lambda x: F.avg_pool2d(x, (3, 2)),
    "mean of ones": lambda x: F.avg_pool2d(x, 2, stride=(1, 3), padding=1),
    "resized": lambda x: F.interpolate(x, size=(5, 20), mode="bilinear", align_corners=False),
    "corners": lambda x: F.interpolate(x, size=(5, 20), mode="bilinear", align_corners=True),
    "one corner": lambda x: F.interpolate(x, size=(1, 1), mode="bilinear", align_corners=True),
    "padded": lambda x: F.pad(x, (2, 1, -1, 3)),
    "cut": lambda x: x[:, :, 2:, 1::3],
    "cut ellipsis": lambda x: x[..., 3:],
    "cut new": lambda x: x[:, None, 0, 1:, :-2],
    "cut negative": lambda x: x[:, :, -4:],
    "by index": lambda x: x[:, :, torch.tensor([2, 1])],
    "permuted": lambda x: x.permute(0, 2, 3, 1),
    "permuted list": lambda x: torch.permute(x, (3, 0, 1, 2)),
    "swapped": lambda x: x.transpose(1, -1),
    "swapped names": lambda x: torch.transpose(x, dim0=2, dim1=3),
    "turned": lambda x: x.mT,
    "moved": lambda x: x.movedim(1, -1),
    "moved two": lambda x: torch.movedim(x, (2, 3), (0, 1)),
    "narrowed": lambda x: x.narrow(2, 3, 4),
    "selected": lambda x: x.select(1, 0),
    "unsqueezed": lambda x: x.unsqueeze(-1),
    "mirrored": lambda x: x.flip(3),
    "mirrored both": lambda x: torch.flip(x, dims=(2, -1)),
    "rows": lambda x: x.flatten(2),
    "rows and back": lambda x: x.flatten(2).reshape(1, 2, 10, 12),
    "other rows": lambda x: x.reshape(1, 2, 12, 10),
    "class token": lambda x: torch.cat([torch.zeros(1, 2, 2), x.flatten(2)], dim=2),
    "class token cut": lambda x: torch.cat([torch.zeros(1, 2, 2), x.flatten(2)], dim=2)[:, :, 2:],
    "joined": lambda x: torch.cat([x[:, :, :4], x[:, :, 4:]], dim=2),
    "joined channels": lambda x: torch.cat(
        [torch.zeros_like(x), F.avg_pool2d(F.interpolate(x, (20, 24)), 2)], dim=1
    ),
    "parts": lambda x: x.chunk(3, dim=2)[1],
    "parts of": lambda x: x.split([3, 7], 2)[1],
    "added": lambda x: x + F.interpolate(F.avg_pool2d(x, 2), (10, 12)),
    "added to one": lambda x: x + x.mean(dim=(2, 3), keepdim=True),
    "mean over": lambda x: x.mean(dim=1),
    "rolled": lambda x: x.roll(1, 2),
    "matrix": lambda x: x @ torch.ones(12, 5),
    "relu": lambda x: x.relu(),
}


def moves() -> dict[str, Any]:
    def told(axes: Any) -> Any:
        if axes is None:
            return None
        rows = [[list(map(list, a.axes)), a.cells, a.start] if isinstance(a, Rows) else a for a in axes]
        return [list(a) if isinstance(a, Axis) else a for a in rows]

    found = {}
    for name, move in MOVES.items():
        image = torch.arange(240.0).reshape(1, 2, 10, 12)
        with Placing():
            mark(image, input_axes(image))
            made = move(image)
        found[name] = [list(made.shape), told(axes_of(made))]
    line, solid = torch.arange(20.0).reshape(1, 2, 10), torch.arange(240.0).reshape(1, 2, 4, 5, 6)
    with Placing():
        mark(line, input_axes(line))
        mark(solid, input_axes(solid))
        made = [
            F.conv1d(line, torch.ones(2, 2, 3), stride=2),
            F.max_pool1d(line, 3, padding=1),
            F.avg_pool3d(solid, 2),
            F.conv3d(solid, torch.ones(1, 2, 3, 1, 2), padding=(1, 0, 0)),
            solid.flatten(2),
        ]
    found["other axes"] = [told(axes_of(one)) for one in made]
    return found


def layouts() -> dict[str, Any]:
    shapes = [
        (1, 4, 5, 6),
        (1, 5, 6, 4),
        (1, 30, 8),
        (1, 8, 30),
        (1, 31, 8),
        (1, 47, 8),
        (1, 8, 31),
        (1, 4, 40, 6),
        (1, 4, 1, 6),
        (1, 6, 6, 6),
        (1, 4, 3),
        (1, 3, 4, 5, 6),
        (1, 99, 8),
        (1, 12, 8),
        (1, 2, 41, 24),
    ]
    asked_for = [((20, 24), ()), ((20, 24), ((10, 12),)), ((10, 12), ((5, 6),))]
    lengths = (1, 2, 6, 30, 31, 46, 47, 120, 124, 480, 481)
    line = (Axis(0, 1.0, 2.0), Axis(1, 0.5, 4.0))
    layout = read_layout(torch.zeros(1, 31, 8), (20, 24), ((10, 12),))
    assert layout is not None
    return {
        "read": [
            [str(read_layout(torch.zeros(shape), size, grids)) for shape in shapes] for size, grids in asked_for
        ],
        "declared": [str(read_layout(torch.zeros(1, n, 8), (20, 24), (), (1, 5, 6))) for n in (30, 31, 32)],
        "grids": [[token_grid(n, size, grids) for n in lengths] for size, grids in asked_for],
        "places": [
            places(one, axes, (20, 24))
            for one in (layout, read_layout(torch.zeros(1, 4, 5, 6), (20, 24), ()))  # type: ignore[arg-type]
            for axes in (
                None,
                (None, None, *line),
                (None, Rows(line, (5, 6), 1), None),
                (None, Rows(line, (6, 5), 1), None),
            )
        ],
        "fits": [layout.fits(torch.zeros(1, n, 8)) for n in (30, 31, 40)]
        + [layout.fits(torch.zeros(1, 31, 8, 2))],
        "maps": brief(layout.read(torch.arange(248.0).reshape(1, 31, 8))),
        "spread": [
            brief(spread(torch.arange(6.0).reshape(1, 2, 3) ** 2, (5, 4), axes))
            for axes in (line, (Axis(0, 4.0, -4.0), Axis(1, 0.0, 1.0)), (Axis(0, 9.0, 1.0), Axis(1, -9.0, 1.0)))
        ],
        "tokens": tried(
            *(
                functools.partial(check_tokens, t)
                for t in ((), (1, 2, 3), (0, 1, 1), (1, 2), (-1, 2, 3), (1, 0, 3), (1, 2, 3, 4))
            )
        ),
    }


def tiles() -> dict[str, Any]:
    inner = TorchPredictor(network(2, 1, segments=True), classes="abc")
    kept = torch.arange(60.0).reshape(1, 2, 5, 6)
    starts = np.array([[1, 2], [0, 0], [3, 3]])
    patch = Patch(-torch.ones(3, 2, 2, 3), starts, kept)
    other = Patch(-torch.ones(3, 2, 1, 4), np.add(starts, [[0, -1], [1, 1], [1, -1]]), kept)
    windows = [((5, 5), (9, 5), 0.5), ((5, 5), (9, 4), 0.0), ((5, 5), (6, 12), 0.9), ((3, 3), (3, 4), 0.4)]
    return {
        "windows": [
            [[[s.start, s.stop] for s in w] for w in TiledPredictor(inner, p, overlap=o).windows(size)]
            for p, size, o in windows
        ],
        "refused": tried(
            lambda: TiledPredictor(inner, (0, 3)),
            lambda: TiledPredictor(inner, ()),
            lambda: TiledPredictor(inner, (3, 3), overlap=1.0),
            lambda: TiledPredictor(inner, (3, 3), overlap=-0.1),
            lambda: TiledPredictor(inner, (3, 3), blend="x"),
            lambda: TiledPredictor(inner, (3, 3))(torch.zeros(1, 1, 3, 3, 3)),
            lambda: TiledPredictor(inner, (3, 3)).feature_layer(None),
            lambda: TiledPredictor(TorchPredictor(network(2, 1), classes="abc"), (6, 6))(
                torch.rand(1, 1, 6, 9)
            ),
        ),
        "sizes": [
            TiledPredictor(inner, (3, 3)).class_count,
            TiledPredictor(TorchPredictor(network(2, 1, segments=True)), (3, 3)).class_count,
        ],
        "patches": [
            brief(patch.window(starts + shift, size, 7.0))
            for shift, size in ((0, (2, 3)), (-1, (4, 5)), (-2, (5, 6)), (1, (1, 1)))
        ]
        + [
            brief(patch.whole()),
            brief(patch.before(starts - 1, (4, 4), 9.0)),
            brief(patch.before(starts, (1, 2))),
        ],
        "union": [
            [one[0].tolist(), one[1]] for one in (union([patch]), union([patch, other]), union([other, patch]))
        ],
        "large": [large(size, kept) for size in ((3, 5), (4, 4), (2, 3), (5, 6))],
    }


def values() -> dict[str, Any]:
    return {part.__name__: part() for part in (moves, layouts, tiles)}
