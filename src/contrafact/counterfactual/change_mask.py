"""The smallest mask within which a change of the image still has most of its effect on the model's score.

Source: own work (docs/decisions/0018).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from contrafact.counterfactual.inversion import carry_over
from contrafact.counterfactual.latent_path import LatentPath

AREAS = tuple(0.75**k for k in range(1, 15))  # candidate mask areas as shares of the image, down to 2 %
SIDE = 32  # the soft edge of a mask is a 32nd of the image wide, to each side


def change_mask(
    path: LatentPath, rows: Tensor, offsets: Tensor, *, goals: Tensor | None, keep: float
) -> Tensor:
    """Return masks (M, 1, *S) from 0 to 1, with soft edges, for latent offsets (M, d) of the images `rows`.

    A mask covers the pixels of greatest change. It is the smallest one within which the change of the score
    is at least `keep` of that of the unmasked change, and reaches the goals (M,) where there are any. Where
    no smaller mask suffices, it is 1 everywhere.
    cost  one pass of the generator, 15 of the model
    """
    images, start = path.images[rows], path.start[rows]
    with torch.no_grad():
        change = path.frame(rows, offsets, torch.ones_like(images[:, :1])) - images
        magnitude = smoothed(change.abs().amax(dim=1, keepdim=True))
        whole = path.measure(images + change) - start
        required = keep * whole.abs()
        if goals is not None:
            required = torch.maximum(required, (goals.to(start) - start) * whole.sign())
        mask = torch.ones_like(magnitude)
        for area in AREAS:
            candidate = largest_changes(magnitude, area)
            achieved = path.measure(carry_over(images, candidate * change)) - start
            enough = whole.sign() * achieved >= required
            mask[enough] = candidate[enough]
    return mask


def largest_changes(magnitude: Tensor, area: float) -> Tensor:
    """Return a mask (N, 1, *S): 1 in the share `area` of the pixels with the greatest magnitude (N, 1, *S),
    falling to 0 around them."""
    flat = magnitude.flatten(1)
    level = flat.topk(max(1, round(area * flat.shape[1])), dim=1).values[:, -1:]
    inside = (flat >= level).to(magnitude).view_as(magnitude)
    window, grown = window_size(magnitude), F.max_pool2d if magnitude.ndim == 4 else F.max_pool3d
    return smoothed(grown(inside, window, stride=1, padding=window // 2))


def smoothed(x: Tensor) -> Tensor:
    """Return the means (N, C, *S) over a moving window of `window_size` pixels."""
    window, pool = window_size(x), F.avg_pool2d if x.ndim == 4 else F.avg_pool3d
    return pool(x, window, stride=1, padding=window // 2, count_include_pad=False)


def window_size(x: Tensor) -> int:
    """Return the side of the smoothing window in pixels: odd, about a 16th of the image, at least 3."""
    return 2 * max(1, min(x.shape[2:]) // SIDE) + 1
