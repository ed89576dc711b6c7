"""Declared, differentiable preprocessing of images for a network."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from contrafact.core import InputError, nearest

BY_IMAGE = ("image", "nonzero", "foreground", "range")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Convert images from their own units to those of the network.

    size      spatial size the network takes; None: any
    least     smallest side of an image; smaller images than `size` are enlarged. None: those are refused, since
              a smaller image would have invented pixels
    most      largest side of an image, of a network that reads structures at the scanner's resolution: a larger
              image is refused, since it would be shrunk and show them smaller. None: any
    channels  image channels; one grey channel is repeated to fill them. None: any
    window    (low, high) in image units, mapped to 0..1
    clip      whether values outside the window become its ends; else they are kept
    mean, std per channel, applied after the window
    normalise by the values of each image, last, channel by channel: "image" (to mean 0 and standard deviation
              1), "nonzero" (the same, by and for voxels of the channel that are not 0), "foreground" (by and
              for voxels where some channel is not 0, holes filled) or "range" (least to 0, greatest to 1)
    spacing_mm  distance of voxels that the network was trained on, along each axis: images of another one are
              explained with a warning. None: not stated
    """

    size: tuple[int, ...] | None = None
    channels: int | None = None
    window: tuple[float, float] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    least: int | None = None
    most: int | None = None
    clip: bool = False
    normalise: str | None = None
    spacing_mm: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        _check_numbers(self)
        if self.window is not None and not self.window[0] < self.window[1]:
            raise InputError(f"window must be (low, high) with low < high; got {self.window}")
        if (self.mean is None) != (self.std is None):
            raise InputError("expected both mean and std, or neither; got one")
        if self.std is not None and min(self.std) <= 0:
            raise InputError(f"std must be positive; got {self.std}")

    def check(self, images: Tensor) -> None:
        """Raise InputError for images (N, C, *S) of the wrong dimension or channels, or smaller than `size` or
        `least`."""
        if images.ndim not in (4, 5):
            raise InputError(f"images must be (N, C, H, W) or (N, C, D, H, W); got {tuple(images.shape)}")
        channels = images.shape[1]
        if self.channels is not None and channels not in (1, self.channels):
            raise InputError(
                f"this model takes {self.channels} channel(s); got {channels}; "
                "convert the image (for instance to grey) first"
            )
        if self.size is not None:
            if images.ndim - 2 != len(self.size):
                raise InputError(f"this model takes {len(self.size)}D images; got {images.ndim - 2}D")
            least = self.size if self.least is None else (self.least,) * len(self.size)
            if any(have < want for have, want in zip(images.shape[2:], least, strict=True)):
                raise InputError(
                    f"this model takes images of at least {_times(least)}; got "
                    f"{_times(tuple(images.shape[2:]))}; a smaller image would have "
                    "invented pixels"
                )
        if self.most is not None and max(images.shape[2:]) > self.most:
            raise InputError(
                f"this model takes windows of at most {self.most} pixels a side, at the resolution of the "
                f"scanner; got {_times(tuple(images.shape[2:]))}; cut a window out, since shrinking would "
                "change sizes"
            )

    def pointwise(self, size: tuple[int, ...]) -> bool:
        """Whether each voxel of an image of this size is converted independently of the others."""
        return self.normalise is None and (self.size is None or tuple(self.size) == tuple(size))

    def __call__(self, images: Tensor) -> Tensor:
        self.check(images)
        if self.channels is not None and images.shape[1] != self.channels:
            images = images.expand(-1, self.channels, *(-1,) * (images.ndim - 2))
        if self.size is not None:
            images = resize(images, self.size)
        if self.window is not None:
            low, high = self.window
            images = (images - low) / (high - low)
            images = images.clamp(0, 1) if self.clip else images
        if self.mean is not None and self.std is not None:
            shape = (1, -1, *(1,) * (images.ndim - 2))
            mean = torch.tensor(self.mean, dtype=images.dtype, device=images.device)
            std = torch.tensor(self.std, dtype=images.dtype, device=images.device)
            images = (images - mean.reshape(shape)) / std.reshape(shape)
        return images if self.normalise is None else normalised(images, self.normalise)


def preprocessing_from(values: Mapping[str, Any]) -> Preprocessing:
    """Return a `Preprocessing` from a JSON or TOML table; raise InputError for an unknown key."""
    known = list(Preprocessing.__dataclass_fields__)
    if not isinstance(values, Mapping):
        raise InputError(f"preprocessing must be a table of {', '.join(known)}; got {values!r:.60}")
    for key in values:
        if key not in known:
            raise InputError(f"unknown preprocessing '{key}'{nearest(key, known)}")
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Preprocessing(**fields)


def _check_numbers(spec: Preprocessing) -> None:
    """Raise InputError for values that are not numbers, or not of the right count."""
    if spec.channels is not None and not _are([spec.channels], numbers.Integral, least=1):
        raise InputError(f"channels must be a whole number above 0; got {spec.channels!r:.60}")
    for name, side in (("least", spec.least), ("most", spec.most)):
        if side is not None and not _are([side], numbers.Integral, least=1):
            raise InputError(f"{name} must be a whole number above 0; got {side!r:.60}")
    if spec.least is not None and spec.most is not None and spec.least > spec.most:
        raise InputError(f"least must be at most `most`, {spec.most}; got {spec.least}")
    if spec.size is not None and not _are(spec.size, numbers.Integral, least=1):
        raise InputError(f"size must be whole numbers above 0, such as (256, 256); got {spec.size!r:.60}")
    if spec.window is not None and not (_are(spec.window, numbers.Real) and len(spec.window) == 2):
        raise InputError(f"window must be (low, high) with low < high; got {spec.window!r:.60}")
    if not isinstance(spec.clip, bool) or (spec.clip and spec.window is None):
        raise InputError(f"clip must be true or false, and needs a window; got {spec.clip!r:.60}")
    if spec.normalise is not None and spec.normalise not in BY_IMAGE:
        raise InputError(f"normalise must be {', '.join(BY_IMAGE)}; got {spec.normalise!r:.60}")
    if spec.spacing_mm is not None and not (
        _are(spec.spacing_mm, numbers.Real) and min(spec.spacing_mm) > 0 and len(spec.spacing_mm) in (2, 3)
    ):
        raise InputError(f"spacing_mm must be 2 or 3 numbers above 0; got {spec.spacing_mm!r:.60}")
    for name in ("mean", "std"):
        values = getattr(spec, name)
        if values is not None and not _are(values, numbers.Real):
            raise InputError(f"{name} must be a number for each channel; got {values!r:.60}")


def _are(values: Any, kind: type, *, least: float = -math.inf) -> bool:
    """Whether all values are finite numbers of a type, and at least `least`."""
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__len__") or not len(values):
        return False
    return all(
        isinstance(v, kind) and not isinstance(v, bool) and math.isfinite(v) and v >= least  # type: ignore
        for v in values
    )


def normalised(images: Tensor, by: str) -> Tensor:
    """Return images (N, C, *S) normalised by their own values; see `Preprocessing`. Differentiable."""
    axes = tuple(range(2, images.ndim))
    if by == "range":
        low, high = images.amin(axes, keepdim=True), images.amax(axes, keepdim=True)
        return (images - low) / (high - low).clamp_min(1e-8)
    inside = _voxels(images, by).to(images.dtype)
    count = inside.sum(axes, keepdim=True).clamp_min(1)
    mean = (images * inside).sum(axes, keepdim=True) / count
    variance = ((images - mean) ** 2 * inside).sum(axes, keepdim=True) / count
    scaled = (images - mean) / torch.where(variance > 1e-16, variance, 1).sqrt()
    return torch.where(inside > 0, scaled, images)


def _voxels(images: Tensor, by: str) -> Tensor:
    """Return the voxels (N, C, *S) that the mean and standard deviation are taken of."""
    if by == "image":
        return torch.ones_like(images, dtype=torch.bool)
    if by == "nonzero":
        return images.detach() != 0
    from scipy.ndimage import binary_fill_holes

    filled = [binary_fill_holes(image.any(axis=0)) for image in (images.detach() != 0).cpu().numpy()]
    voxels = torch.as_tensor(np.stack(filled), device=images.device)
    return voxels[:, None].expand(images.shape)


def resize(images: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resize images (N, C, *S) by antialiased linear interpolation; return the same tensor for an equal size.

    In 3D, the axes that shrink do so first, by averages over voxels (area).
    """
    if tuple(images.shape[2:]) == tuple(size):
        return images
    if images.ndim == 4:
        return F.interpolate(images, size, mode="bilinear", antialias=True)
    least = tuple(map(min, images.shape[2:], size))
    if least != tuple(images.shape[2:]):
        images = F.interpolate(images, least, mode="area")
    return images if least == tuple(size) else F.interpolate(images, size, mode="trilinear")


def _times(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))
