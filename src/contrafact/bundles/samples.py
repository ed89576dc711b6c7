"""Pictures of what a training has learnt so far, for visual inspection."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import Tensor

from contrafact.generators import TranslatorTraining
from contrafact.generators.augmentation import signed
from contrafact.io import write_atomic

COLUMNS = 8


def write_grid(path: Path, images: Tensor) -> None:
    """Write images (N, C, *S) in [-1, 1], N a multiple of 8, as rows of 8; of volumes their middle slices."""
    from PIL import Image as Picture

    grid = (images.detach().float().cpu().clamp(-1, 1) + 1) * 127.5
    if grid.ndim == 5:
        grid = grid[:, :, grid.shape[2] // 2]
    n, c, h, wide = grid.shape
    rows = grid[:, : 3 if c >= 3 else 1].reshape(n // COLUMNS, COLUMNS, -1, h, wide).permute(0, 3, 1, 4, 2)
    array = rows.reshape(n // COLUMNS * h, COLUMNS * wide, -1).round().byte().numpy()
    buffer = io.BytesIO()
    Picture.fromarray(array if array.shape[2] == 3 else array[..., 0]).save(buffer, format="PNG")
    write_atomic(path, buffer.getvalue())


@torch.no_grad()
def changed_samples(training: TranslatorTraining) -> Tensor:
    """Return 8 training images, spread evenly over the scores of the first target, above the same images
    changed to the other end of the scores, (16, C, *S) in [-1, 1]. Of a local finding, the place in the middle
    of those that are tried may change."""
    count = len(training.images)
    rows = training.order[[k * (count - 1) // (COLUMNS - 1) for k in range(COLUMNS)], 0]
    images = signed(training.images[rows].to(training.device))
    now, network = training.scores[rows][:, 0].to(training.device), training.average
    low, high = network.low[0], network.high[0]
    to = torch.where(now > (low + high) / 2, low, high)
    tried = network.places
    region = None if tried is None else tried[len(tried) // 2].expand(COLUMNS, *tried.shape[1:])
    return torch.cat([images, network(images, now, to, region=region)])
