"""Fill values that hide parts of an image, or serve as the baseline of a path."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from contrafact.core import InputError, nearest

FILLS = ("mean", "min", "blur")


def fill_values(images: Tensor, fill: str | float) -> Tensor:
    """Return images shaped like `images` (N, C, *S) without their content.

    fill    "mean" or "min" per image and channel, "blur" (box of a quarter of each side), or a number
    raises  InputError for an unknown fill
    """
    axes = tuple(range(2, images.ndim))
    if isinstance(fill, (int, float)):
        return torch.full_like(images, float(fill))
    if fill == "mean":
        return images.mean(dim=axes, keepdim=True).expand_as(images)
    if fill == "min":
        return images.amin(dim=axes, keepdim=True).expand_as(images)
    if fill == "blur":
        return _blur(images)
    raise InputError(f"fill must be {', '.join(FILLS)} or a number; got '{fill}'{nearest(fill, FILLS)}")


def _blur(images: Tensor) -> Tensor:
    pool = F.avg_pool2d if images.ndim == 4 else F.avg_pool3d
    reach = [max(1, side // 8) for side in images.shape[2:]]
    pads = [r for r in reversed(reach) for _ in range(2)]  # the last axis comes first
    for _ in range(2):
        images = pool(F.pad(images, pads, mode="replicate"), [2 * r + 1 for r in reach], stride=1)
    return images


def gaussian(images: Tensor, sigma: float) -> Tensor:
    """Blur images (N, C, *S) with a Gaussian of `sigma` voxels, edges replicated; 0: unchanged."""
    if sigma <= 0:
        return images
    reach = max(1, round(3 * sigma))
    at = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-at.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    for axis in range(2, images.ndim):
        lines = torch.movedim(images, axis, -1)
        flat = lines.reshape(-1, 1, lines.shape[-1])
        flat = F.conv1d(F.pad(flat, (reach, reach), mode="replicate"), kernel[None, None])
        images = torch.movedim(flat.reshape(lines.shape), -1, axis)
    return images
