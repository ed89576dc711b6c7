"""The layers of StyleGAN2, implemented from the papers in plain PyTorch.

Source: Karras et al. 2018 (arXiv 1710.10196, equalised learning rate), 2019 (arXiv 1812.04948),
2020 (arXiv 1912.04958, modulated convolution).
Differs: modulation is the scale-in/scale-out form by default (one ordinary convolution with
shared weights); resampling is plain PyTorch; noise inputs are optional.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAKY_GAIN = math.sqrt(2.0)


def leaky(x: Tensor) -> Tensor:
    """Return the leaky ReLU (0.2) of x times sqrt 2, which preserves the second moment."""
    return F.leaky_relu(x, 0.2) * LEAKY_GAIN


def leaky_scaled(x: Tensor) -> Tensor:
    """Return `leaky` of x / sqrt 2. A leaky ReLU is linear in a positive gain, so the layer before includes the
    gain in its weights (`gain=LEAKY_GAIN`), which saves a multiplication of the feature map."""
    x = F.leaky_relu(x, 0.2)
    return x.clamp(-256, 256) if x.dtype == torch.float16 else x  # the greatest float16 is 65,504


def upsample(x: Tensor) -> Tensor:
    """Return x with twice the height and width, by the [1,3,3,1] filter with clamped edges."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def smooth(x: Tensor) -> Tensor:
    """Return x (N, C, 2H+1, 2W+1) after the depthwise [1,3,3,1] filter with gain 4, (N, C, 2H, 2W); it follows
    a transposed convolution of stride 2."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], device=x.device, dtype=x.dtype)
    kernel = (taps[:, None] * taps[None, :] / 16)[None, None].expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel, padding=1, groups=x.shape[1])


class EqualLinear(nn.Module):
    """A linear layer with equalised learning rate: `(N, in_features) -> (N, out_features)`, float32."""

    def __init__(self, in_features: int, out_features: int, *, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / rate)
        self.bias = nn.Parameter(torch.full((out_features,), bias / rate))
        self.gain = rate / math.sqrt(in_features)
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.gain, self.bias * self.rate)


class EqualConv2d(nn.Module):
    """A convolution with equalised learning rate, in the precision of its input.

    gain    factor of weight and bias (for a following `leaky_scaled`, or the mean of two branches)
    down    average 2 x 2 pixels before the convolution
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        bias: bool = True,
        gain: float = 1.0,
        down: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.gain, self.down = gain, down
        self.scale = gain / math.sqrt(in_channels * kernel * kernel)
        self.padding = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight * self.scale).to(x.dtype)
        bias = None if self.bias is None else (self.bias * self.gain).to(x.dtype)
        x = F.avg_pool2d(x, 2) if self.down else x
        return F.conv2d(x, weight, bias, padding=self.padding)


class ModulatedConv2d(nn.Module):
    """A convolution whose input channels are scaled per image, and whose output is renormalised.

    x       (N, in_channels, H, W), any float type; w float32 (N, w_dim)
    gives   (N, out_channels, H, W), twice that size when `up`
    gain    factor of the result (for a following `leaky_scaled`)
    Source: Karras et al. 2020, sec. 2.2. Differs: x is scaled before one shared convolution and
    its result after it, algebraically the same as weights per image (`grouped=True`, the reference of the
    tests and of experiments/speed/training.py).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        w_dim: int,
        kernel: int = 3,
        up: bool = False,
        demodulate: bool = True,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.affine = EqualLinear(w_dim, in_channels, bias=1.0)
        self.up, self.demodulate, self.padding = up, demodulate, kernel // 2
        # Demodulation cancels the scale of the style; without it this factor keeps the variance at one.
        self.scale = 1.0 if demodulate else 1 / math.sqrt(in_channels * kernel * kernel)
        self.gain = gain
        self.grouped = False

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.affine(w) * self.scale
        return self._grouped(x, style) if self.grouped else self._scaled(x, style)

    def _demodulation(self, style: Tensor) -> Tensor:
        power = self.weight.square().sum(dim=(2, 3))
        return torch.rsqrt(style.square() @ power.t() + 1e-8) * self.gain

    def _convolve(self, x: Tensor, weight: Tensor, groups: int = 1) -> Tensor:
        if not self.up:
            return F.conv2d(x, weight, padding=self.padding, groups=groups)
        # The 3 x 3 convolution runs before the enlargement, at a quarter of the cost.
        parts = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
        return smooth(F.conv_transpose2d(x, parts, stride=2, groups=groups))

    def _scaled(self, x: Tensor, style: Tensor) -> Tensor:
        x = x * style[:, :, None, None].to(x.dtype)
        x = self._convolve(x, self.weight.to(x.dtype))
        if self.demodulate:
            x = x * self._demodulation(style)[:, :, None, None].to(x.dtype)
        return x

    def _grouped(self, x: Tensor, style: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        weight = self.weight[None] * style[:, None, :, None, None]
        if self.demodulate:
            weight = weight * torch.rsqrt(weight.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8)
            weight = weight * self.gain
        weight = weight.flatten(0, 1).to(x.dtype)
        x = self._convolve(x.reshape(1, n * channels, height, width), weight, groups=n)
        return x.reshape(n, -1, *x.shape[2:])


def smaller(images: Tensor, side: int) -> Tensor:
    """Return images (N, C, *S) reduced by averaging to `side` pixels per side."""
    factor = images.shape[-1] // side
    pool = F.avg_pool2d if images.ndim == 4 else F.avg_pool3d
    return pool(images, factor) if factor > 1 else images


def style_layers(network: nn.Module) -> list[nn.Module]:
    """Return the layers of a generator whose outputs (N, k) scale feature maps, in order: its style space."""
    return [m.affine for m in network.modules() if isinstance(getattr(m, "affine", None), EqualLinear)]  # type: ignore[misc]
