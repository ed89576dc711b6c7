"""Style-based synthesis and its discriminator for volumes.

Source: Karras et al. 2020 (arXiv 1912.04958), in three dimensions.
Differs: upsampling is trilinear, after the convolution; one convolution per size instead of two.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrafact.generators.discriminator import minibatch_deviation
from contrafact.generators.layers import LEAKY_GAIN, EqualLinear, leaky, leaky_scaled
from contrafact.generators.stylegan2 import StyleGAN2Config


class ModulatedConv3d(nn.Module):
    """A modulated convolution: x (N, in, D, H, W) and w (N, w_dim) to (N, out, D, H, W); see
    `layers.ModulatedConv2d`."""

    def __init__(
        self, wide_in: int, wide_out: int, *, w_dim: int, kernel: int = 3, demodulate: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(wide_out, wide_in, kernel, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(wide_out))
        self.affine = EqualLinear(w_dim, wide_in, bias=1.0)
        self.demodulate = demodulate
        self.scale = 1.0 if demodulate else 1 / math.sqrt(wide_in * kernel**3)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.affine(w) * self.scale
        x = x * style[:, :, None, None, None].to(x.dtype)
        x = F.conv3d(x, self.weight.to(x.dtype), padding=self.weight.shape[2] // 2)
        if self.demodulate:
            power = self.weight.square().sum(dim=(2, 3, 4))
            size = torch.rsqrt(style.square() @ power.t() + 1e-8)
            x = x * size[:, :, None, None, None].to(x.dtype)
        return x + self.bias.to(x.dtype)[:, None, None, None]


class VolumeSynthesis(nn.Module):
    """The synthesis network: w (N, w_dim) to volumes (N, C, R, R, R), nominally in [-1, 1]."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        widths = [config.width(side) for side in config.sides]
        self.constant = nn.Parameter(torch.randn(widths[0], 4, 4, 4))
        pairs = itertools.pairwise([widths[0], *widths])
        self.convs = nn.ModuleList(ModulatedConv3d(a, b, w_dim=config.w_dim) for a, b in pairs)
        self.to_image = nn.ModuleList(
            ModulatedConv3d(a, config.channels, w_dim=config.w_dim, kernel=1, demodulate=False) for a in widths
        )

    def forward(self, w: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        x = self.constant.to(dtype)[None].expand(len(w), -1, -1, -1, -1)
        image: Tensor | None = None
        for conv, to_image in zip(self.convs, self.to_image, strict=True):
            x = x if image is None else enlarged(x)
            x = leaky_scaled(conv(x, w)) * LEAKY_GAIN
            here = to_image(x, w).float()
            image = here if image is None else enlarged(image) + here
        assert image is not None  # a resolution of 8 or more has at least two sizes
        return image


class VolumeDiscriminator(nn.Module):
    """The discriminator: volumes (N, C, R, R, R) to logits (N,); `features` is the layer before."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        widths = [config.width(side) for side in config.sides[::-1]]
        self.from_image = EqualConv3d(config.channels, widths[0], 1)
        self.blocks = nn.ModuleList(EqualConv3d(a, b, 3) for a, b in itertools.pairwise(widths))
        self.last_conv = EqualConv3d(widths[-1] + 1, widths[-1], 3)
        self.hidden = EqualLinear(widths[-1] * 64, widths[-1])
        self.out = EqualLinear(widths[-1], 1)

    def features(self, images: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the features (N, width at 4 x 4 x 4) of the layer before the logit."""
        x = leaky(self.from_image(images.to(dtype)))
        for block in self.blocks:
            x = halved(leaky(block(x)))
        flat = minibatch_deviation(x.float().flatten(2, 3)).unflatten(2, x.shape[2:4])
        return leaky(self.hidden(leaky(self.last_conv(flat)).flatten(1)))

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (N,) from the result of `features`."""
        logits: Tensor = self.out(features)[:, 0]
        return logits

    def forward(self, images: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        return self.logits(self.features(images, dtype=dtype))


class EqualConv3d(nn.Module):
    """A convolution with equalised learning rate, in the precision of its input."""

    def __init__(self, wide_in: int, wide_out: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(wide_out, wide_in, kernel, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(wide_out))
        self.scale = 1 / math.sqrt(wide_in * kernel**3)

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight * self.scale).to(x.dtype)
        return F.conv3d(x, weight, self.bias.to(x.dtype), padding=self.weight.shape[2] // 2)


def enlarged(x: Tensor) -> Tensor:
    """Return x (N, C, *S) at twice the size, by trilinear interpolation."""
    return F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False)


def halved(x: Tensor) -> Tensor:
    """Return x (N, C, *S) at half the size, by means of 2 x 2 x 2 voxels; in float32, which torch requires on
    the CPU."""
    return F.avg_pool3d(x.float(), 2).to(x.dtype)
