"""The residual discriminator of StyleGAN2 with minibatch standard deviation.

Source: Karras et al. 2020 (arXiv 1912.04958), fig. 7; Karras et al. 2018 (arXiv 1710.10196),
sec. 3 (minibatch standard deviation).
Differs: downsampling is the mean of 2 x 2 pixels before the convolution; constant gains are part of the
weights, which saves a multiplication of each feature map.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from contrafact.generators.layers import LEAKY_GAIN, EqualConv2d, EqualLinear, leaky, leaky_scaled
from contrafact.generators.stylegan2 import StyleGAN2Config


def minibatch_deviation(x: Tensor, group: int = 4) -> Tensor:
    """Return features x (N, C, H, W) with one more channel (N, C+1, H, W): the mean standard deviation of the
    features over groups of images.

    The size of a group is the largest divisor of N up to `group`.
    """
    n, channels, height, width = x.shape
    size = next(g for g in range(min(group, n), 0, -1) if n % g == 0)
    parts = x.float().reshape(size, n // size, channels, height, width)
    deviation = (parts.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    plane = deviation.repeat(size)[:, None, None, None].expand(n, 1, height, width)
    return torch.cat([x, plane.to(x.dtype)], dim=1)


class Block(nn.Module):
    """A residual block: (N, wide_in, r, r) to (N, wide_out, r/2, r/2)."""

    def __init__(self, wide_in: int, wide_out: int) -> None:
        super().__init__()
        half = math.sqrt(0.5)  # the sum of two branches keeps its variance
        self.first = EqualConv2d(wide_in, wide_in, 3, gain=LEAKY_GAIN)
        self.second = EqualConv2d(wide_in, wide_out, 3, gain=LEAKY_GAIN * half, down=True)
        self.skip = EqualConv2d(wide_in, wide_out, 1, bias=False, gain=half, down=True)

    def forward(self, x: Tensor) -> Tensor:
        return leaky_scaled(self.second(leaky_scaled(self.first(x)))) + self.skip(x)


class Discriminator(nn.Module):
    """The discriminator: images (N, C, R, R), with one-hot labels (N, labels) where conditional, to logits."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        sides = config.sides[::-1]
        self.from_image = EqualConv2d(config.channels, config.width(sides[0]), 1, gain=LEAKY_GAIN)
        self.blocks = nn.ModuleList(
            Block(config.width(a), config.width(b)) for a, b in itertools.pairwise(sides)
        )
        wide = config.width(4)
        self.last_conv = EqualConv2d(wide + 1, wide, 3, gain=LEAKY_GAIN)
        self.hidden = EqualLinear(wide * 16, wide)
        self.out = EqualLinear(wide, wide if config.labels else 1)
        self.embed = EqualLinear(config.labels, wide) if config.labels else None

    def forward(
        self, images: Tensor, labels: Tensor | None = None, *, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Return logits (N,); the convolutions down to 4 x 4 use `dtype`, the last layers float32."""
        return self.logits(self.features(images, dtype=dtype), labels)

    def features(self, images: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the features (N, width at 4 x 4) of the layer before the logit."""
        x = leaky_scaled(self.from_image(images.to(dtype)))
        x = x.contiguous(memory_format=torch.channels_last)  # the layout of one channel is ambiguous
        for block in self.blocks:
            x = block(x)
        x = leaky_scaled(self.last_conv(minibatch_deviation(x.float())))
        return leaky(self.hidden(x.flatten(1)))

    def logits(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits (N,) from the result of `features`."""
        x: Tensor = self.out(features)
        if self.embed is None:
            return x[:, 0]
        return (x * self.embed(labels)).mean(dim=1) * math.sqrt(x.shape[1])
