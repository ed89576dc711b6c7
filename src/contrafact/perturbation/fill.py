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
    """Blur images (N, C, *S) with a box of a quarter of each side, twice, edges replicated; image by image,
    since the sums are in double precision."""
    return torch.stack([_box_blur(image) for image in images])


def _box_blur(image: Tensor) -> Tensor:
    values = (image.cpu() if image.device.type == "mps" else image).double()  # mps has no double precision
    for axis in range(1, image.ndim):
        reach = max(1, image.shape[axis] // 8)
        values = _box_mean(_box_mean(values, axis, reach), axis, reach)
    return values.to(image)


def _box_mean(values: Tensor, axis: int, reach: int) -> Tensor:
    """Return the mean over `reach` voxels to both sides along an axis, edges replicated: the difference of two
    running sums, whose cost does not depend on `reach`."""
    count = values.shape[axis]
    before = values.narrow(axis, 0, 1).repeat_interleave(reach + 1, axis)
    after = values.narrow(axis, count - 1, 1).repeat_interleave(reach, axis)
    sums = torch.cat([before, values, after], axis).cumsum(axis)
    width = 2 * reach + 1
    return (sums.narrow(axis, width, count) - sums.narrow(axis, 0, count)) / width


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
