"""Adaptive discriminator augmentation: the discriminator sees augmented images, and the augmentations do not
leak into the generator.

Source: Karras et al. 2020 (arXiv 2006.06676). Differs: presets per modality (a frontal chest is
never flipped, since the heart is on one side); the warp is written with gathers, so it has a second
derivative, which R1 needs; no filtering, noise or cutout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from contrafact.core.errors import InputError, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """The strength of each augmentation. Each is applied to each image with probability p.

    mirror, quarter   left-right flip; rotation by multiples of 90 degrees
    shift             greatest translation as a share of the side
    scale             standard deviation of log2 zoom
    rotate_degrees    greatest rotation
    brightness        standard deviation of the added grey level (image range is 2)
    contrast          standard deviation of log2 contrast
    colour            standard deviation of log2 gain per channel (stain)
    """

    mirror: bool = False
    quarter: bool = False
    shift: float = 0.0
    scale: float = 0.0
    rotate_degrees: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    colour: float = 0.0


PRESETS: dict[str, Augmentation] = {
    "none": Augmentation(),
    "frontal-xray": Augmentation(shift=0.08, scale=0.1, rotate_degrees=10, brightness=0.15, contrast=0.3),
    "extremity-xray": Augmentation(
        mirror=True, shift=0.1, scale=0.15, rotate_degrees=12, brightness=0.15, contrast=0.3
    ),
    "slice": Augmentation(shift=0.08, scale=0.1, rotate_degrees=10, brightness=0.1, contrast=0.2),
    "symmetric-slice": Augmentation(
        mirror=True, shift=0.08, scale=0.1, rotate_degrees=10, brightness=0.1, contrast=0.2
    ),
    "histology": Augmentation(
        mirror=True, quarter=True, shift=0.125, scale=0.2, brightness=0.1, contrast=0.2, colour=0.1
    ),
}


def preset(name: str) -> Augmentation:
    """Return the augmentation for a modality. Raise InputError, with the nearest name, for an unknown one."""
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        raise InputError(f"augment must be one of {known}; got '{name}'{nearest(name, PRESETS)}")
    return PRESETS[name]


def signed(images: Tensor) -> Tensor:
    """Return training images as float32 in [-1, 1]; uint8 is rescaled, float is unchanged."""
    return images.float() / 127.5 - 1 if images.dtype == torch.uint8 else images.float()


def mirror_half(images: Tensor, rng: torch.Generator) -> Tensor:
    """Return the images, each flipped left to right with probability one half."""
    flip = torch.rand(len(images), generator=rng).to(images.device) < 0.5
    return torch.where(flip.view(-1, *(1,) * (images.ndim - 1)), images.flip(-1), images)


def augment(images: Tensor, how: Augmentation, p: float, rng: torch.Generator) -> Tensor:
    """Return images (N, C, H, W) in [-1, 1], each augmented with probability `p` per kind of augmentation.

    The result is twice differentiable by the images. With p = 0 it is the same tensor.
    """
    if p <= 0 or how == PRESETS["none"]:
        return images
    n, channels = images.shape[:2]
    warp = draw_warp(n, how, p, rng)
    gain, offset = draw_colour(n, channels, how, p, rng)
    images = apply_warp(images, warp.to(images.device))
    return images * gain.to(images.device) + offset.to(images.device)


def draw_warp(n: int, how: Augmentation, p: float, rng: torch.Generator) -> Tensor:
    """Return sampled inverse affine maps (n, 2, 3), from output coordinates in [-1, 1] to input coordinates."""

    def maybe(values: Tensor, neutral: float) -> Tensor:
        chosen = torch.rand(n, generator=rng) < p
        return torch.where(chosen, values, torch.full_like(values, neutral))

    flip = maybe(1.0 - 2.0 * torch.randint(2, (n,), generator=rng).float(), 1.0)
    flip = flip if how.mirror else torch.ones(n)
    turns = maybe(torch.randint(4, (n,), generator=rng).float(), 0.0) * (math.pi / 2)
    turns = turns if how.quarter else torch.zeros(n)
    spread = math.radians(how.rotate_degrees)
    angle = maybe((torch.rand(n, generator=rng) * 2 - 1) * spread, 0.0) + turns
    zoom = maybe(torch.exp2(torch.randn(n, generator=rng) * how.scale), 1.0)
    shift = [maybe((torch.rand(n, generator=rng) * 4 - 2) * how.shift, 0.0) for _ in range(2)]
    cos, sin = torch.cos(angle), torch.sin(angle)
    # cos(pi/2) is not exactly 0 in float32; quarter turns must stay exact.
    cos, sin = (torch.where(v.abs() < 1e-6, torch.zeros_like(v), v) for v in (cos, sin))
    rows = [
        torch.stack([cos * flip / zoom, -sin / zoom, shift[0]], dim=1),
        torch.stack([sin * flip / zoom, cos / zoom, shift[1]], dim=1),
    ]
    return torch.stack(rows, dim=1)


def draw_colour(
    n: int, channels: int, how: Augmentation, p: float, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return sampled gains (n, C, 1, 1) and offsets (n, 1, 1, 1) of the grey values."""

    def maybe(values: Tensor, neutral: float) -> Tensor:
        chosen = torch.rand(n, 1, generator=rng) < p
        return torch.where(chosen, values, torch.full_like(values, neutral))

    contrast = maybe(torch.exp2(torch.randn(n, 1, generator=rng) * how.contrast), 1.0)
    stain = maybe(torch.exp2(torch.randn(n, channels, generator=rng) * how.colour), 1.0)
    offset = maybe(torch.randn(n, 1, generator=rng) * how.brightness, 0.0)
    return (contrast * stain)[:, :, None, None], offset[:, :, None, None]


def apply_warp(images: Tensor, warp: Tensor) -> Tensor:
    """Return images (N, C, H, W) warped bilinearly by maps (N, 2, 3), with mirrored edges."""
    _n, channels, height, width = images.shape
    ys = (torch.arange(height, device=images.device) * 2 + 1) / height - 1
    xs = (torch.arange(width, device=images.device) * 2 + 1) / width - 1
    grid = torch.stack([xs.expand(height, width), ys[:, None].expand(height, width)])
    grid = torch.cat([grid.flatten(1), grid.new_ones(1, height * width)]).to(warp.dtype)
    x, y = (warp @ grid).unbind(dim=1)
    x, y = ((x + 1) * width - 1) / 2, ((y + 1) * height - 1) / 2
    # The coordinates of an identity are integers up to rounding; snapping keeps them exact.
    x, y = ((v * 4096).round() / 4096 for v in (x, y))
    x0, y0 = x.floor(), y.floor()
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    flat = images.flatten(2)

    def tap(row: Tensor, column: Tensor) -> Tensor:
        at = _mirror(row.long(), height) * width + _mirror(column.long(), width)
        return flat.gather(2, at[:, None].expand(-1, channels, -1))

    top = tap(y0, x0) * (1 - fx) + tap(y0, x0 + 1) * fx
    bottom = tap(y0 + 1, x0) * (1 - fx) + tap(y0 + 1, x0 + 1) * fx
    return (top * (1 - fy) + bottom * fy).reshape(images.shape)


def _mirror(index: Tensor, size: int) -> Tensor:
    """Return indices reflected into 0 .. size-1, with the edge pixel repeated."""
    index = index.remainder(2 * size)
    return torch.where(index >= size, 2 * size - 1 - index, index)


def next_probability(p: float, real_sign: float, *, target: float, images: int) -> float:
    """Return the augmentation probability after one step of the controller.

    It increases while the mean sign of the discriminator's logits of real images exceeds `target`. `images` is
    the number of images since the last step; 500 thousand change the probability by 1.
    """
    return min(1.0, max(0.0, p + math.copysign(images / 500_000, real_sign - target)))
