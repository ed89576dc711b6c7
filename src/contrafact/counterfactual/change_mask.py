"""A change cut back to the part of the image where it changes the model's mind.

Source: own work (docs/decisions/0018).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from contrafact.counterfactual.inversion import carry_over
from contrafact.counterfactual.latent_path import LatentPath

AREAS = tuple(0.75**k for k in range(1, 15))  # shares of the image that are tried, down to 2 %
SIDE = 32  # the edge of a part falls off over this fraction of the image, to each side


def narrowed(walker: LatentPath, rows: Tensor, moves: Tensor, *, goals: Tensor | None, keep: float) -> Tensor:
    """Where to make the changes of moves (M, d) of the images `rows`: shares (M, 1, *S) from 0 to 1.

    The smallest part, of those with the greatest change, that changes the model's answer by at least
    `keep` of what the whole change does, and reaches the goals (M,) where they are given; with a soft edge.
    Where no part does, all of it.
    cost  one pass of the generator, 15 of the model
    """
    images, start = walker.images[rows], walker.start[rows]
    with torch.no_grad():
        change = walker.frame(rows, moves, torch.ones_like(images[:, :1])) - images
        size = softened(change.abs().amax(dim=1, keepdim=True))
        whole = walker.measure(images + change) - start
        wanted = keep * whole.abs()
        if goals is not None:
            wanted = torch.maximum(wanted, (goals.to(start) - start) * whole.sign())
        found = torch.ones_like(size)
        for area in AREAS:
            part = strongest(size, area)
            moved = walker.measure(carry_over(images, part * change)) - start
            enough = whole.sign() * moved >= wanted
            found[enough] = part[enough]
    return found


def strongest(size: Tensor, area: float) -> Tensor:
    """(N, 1, *S): 1 in the share `area` of the pixels where size (N, 1, *S) is greatest, falling to 0 around
    them."""
    flat = size.flatten(1)
    level = flat.topk(max(1, round(area * flat.shape[1])), dim=1).values[:, -1:]
    inside = (flat >= level).to(size).view_as(size)
    window, grown = window_of(size), F.max_pool2d if size.ndim == 4 else F.max_pool3d
    return softened(grown(inside, window, stride=1, padding=window // 2))


def softened(x: Tensor) -> Tensor:
    """Means over a window."""
    window, pool = window_of(x), F.avg_pool2d if x.ndim == 4 else F.avg_pool3d
    return pool(x, window, stride=1, padding=window // 2, count_include_pad=False)


def window_of(x: Tensor) -> int:
    """Pixels, an odd number: about a 16th of the image, 3 at least."""
    return 2 * max(1, min(x.shape[2:]) // SIDE) + 1
