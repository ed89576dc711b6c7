"""The StyleGAN2 generator: z -> w -> image.

Source: Karras et al. 2020 (arXiv 1912.04958), skip architecture with demodulated convolutions.
Differs: two mapping layers instead of eight; no noise inputs unless `noise=True`, because texture
that does not depend on w cannot be inverted and would flicker between the frames of a counterfactual;
instead of noise there may be a spatial code (`spatial`), standard normal like noise, but a part of the
latent, so that an encoder can find where a patient's structures lie (after Kim et al. 2021, StyleMapGAN,
arXiv 2104.14754).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from contrafact.core.errors import InputError
from contrafact.generators.layers import (
    LEAKY_GAIN,
    EqualLinear,
    ModulatedConv2d,
    leaky,
    leaky_scaled,
    style_layers,
    upsample,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StyleGAN2Config:
    """Size of the generator and of its discriminator.

    resolution    side of the square image in pixels, a power of two from 8 to 1024
    channels      image channels
    z_dim, w_dim  length of the latent vectors
    labels        number of classes for conditional generation; 0 = unconditional
    mapping_layers              layers of the network from z to w
    channel_base, channel_max   feature channels at side r: min(channel_base / r, channel_max)
    noise         add random noise to every layer, with a learnt strength
    spatial       channels of the spatial code, of an eighth of the resolution a side; 0: none
    """

    resolution: int = 64
    channels: int = 1
    z_dim: int = 256
    w_dim: int = 256
    labels: int = 0
    mapping_layers: int = 2
    channel_base: int = 4096
    channel_max: int = 128
    noise: bool = False
    spatial: int = 0

    def __post_init__(self) -> None:
        side = self.resolution
        if side < 8 or side > 1024 or side & (side - 1):
            raise InputError(f"resolution must be a power of two from 8 to 1024; got {side}")
        for name in ("channels", "z_dim", "w_dim", "mapping_layers", "channel_base", "channel_max"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1; got {getattr(self, name)}")
        if self.labels < 0:
            raise InputError(f"labels must be 0 (unconditional) or more; got {self.labels}")
        if self.spatial < 0 or (self.spatial and side < 32):
            raise InputError(
                f"spatial must be 0 or more, and 0 below 32 pixels; got {self.spatial} at {side} pixels"
            )

    def width(self, side: int) -> int:
        """Return the number of feature channels at an image side of `side` pixels."""
        return max(1, min(self.channel_base // side, self.channel_max))

    @property
    def sides(self) -> list[int]:
        """Return the image sides of the synthesis: 4, 8, ..., resolution."""
        return [2**k for k in range(2, int(math.log2(self.resolution)) + 1)]

    @property
    def num_ws(self) -> int:
        """Return the number of layers that receive a w: 2 log2(resolution) - 2."""
        return 2 * len(self.sides)

    @property
    def code_side(self) -> int:
        """Return the number of cells of the spatial code per side."""
        return self.resolution // 8

    @property
    def latent_size(self) -> int:
        """Return the length of a latent: w, then the cells of the spatial code."""
        return self.w_dim + self.spatial * self.code_side**2


class Mapping(nn.Module):
    """The mapping network: z (N, z_dim), and one-hot labels (N, labels) where conditional, to w (N, w_dim)."""

    w_avg: Tensor

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.embed = EqualLinear(config.labels, config.z_dim) if config.labels else None
        first = config.z_dim * (2 if config.labels else 1)
        widths = [first] + [config.w_dim] * config.mapping_layers
        self.layers = nn.ModuleList(EqualLinear(a, b, rate=0.01) for a, b in itertools.pairwise(widths))
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(self, z: Tensor, labels: Tensor | None = None, *, track: bool = False) -> Tensor:
        w = _unit_moment(z)
        if self.embed is not None:
            if labels is None:
                raise InputError("expected labels for a conditional generator; got none")
            w = torch.cat([w, _unit_moment(self.embed(labels))], dim=1)
        for layer in self.layers:
            w = leaky(layer(w))
        if track:
            self.w_avg.lerp_(w.detach().mean(dim=0), 1 - 0.995)
        return w


def _unit_moment(x: Tensor) -> Tensor:
    """Return x (N, d) scaled to a mean square of 1."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


class StyledConv(nn.Module):
    """A modulated convolution with optional noise, bias and leaky ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, *, w_dim: int, up: bool = False, noise: bool = False
    ) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(in_channels, out_channels, w_dim=w_dim, up=up, gain=LEAKY_GAIN)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.strength = nn.Parameter(torch.zeros(())) if noise else None

    def forward(self, x: Tensor, w: Tensor, rng: torch.Generator | None) -> Tensor:
        x = self.conv(x, w)
        if self.strength is not None and rng is not None:
            shape = (x.shape[0], 1, *x.shape[2:])
            noise = torch.randn(shape, generator=rng).to(x.device)
            x = x + (noise * self.strength * LEAKY_GAIN).to(x.dtype)
        return leaky_scaled(x + (self.bias * LEAKY_GAIN).to(x.dtype)[:, None, None])


class ToImage(nn.Module):
    """A 1 x 1 modulated convolution to image channels, without demodulation, in float32."""

    def __init__(self, in_channels: int, channels: int, *, w_dim: int) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(in_channels, channels, w_dim=w_dim, kernel=1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return self.conv(x, w).float() + self.bias[:, None, None]


class Synthesis(nn.Module):
    """The synthesis network: w (N, w_dim) or (N, num_ws, w_dim) to images (N, C, R, R), about in [-1, 1]."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.num_ws, self.code_side = config.num_ws, config.code_side
        first = config.width(4)
        self.constant = nn.Parameter(torch.randn(first, 4, 4))
        self.convs, self.to_image = nn.ModuleList(), nn.ModuleList()
        before = first
        for side in config.sides:
            now = config.width(side)
            kinds = [(now, now, False)] if side == 4 else [(before, now, True), (now, now, False)]
            for wide_in, wide_out, up in kinds:
                self.convs.append(StyledConv(wide_in, wide_out, w_dim=config.w_dim, up=up, noise=config.noise))
            self.to_image.append(ToImage(now, config.channels, w_dim=config.w_dim))
            before = now
        self.from_code: nn.Conv2d | None = None
        if config.spatial:
            self.from_code = nn.Conv2d(config.spatial, config.width(config.code_side), 1, bias=False)
            nn.init.normal_(self.from_code.weight, std=0.1)  # from zero an encoder would learn no code

    def forward(
        self,
        w: Tensor,
        code: Tensor | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        rng: torch.Generator | None = None,
    ) -> Tensor:
        """Return images (N, C, R, R); the convolutions use `dtype`; w, modulation and image are float32.

        code    spatial code (N, spatial, cells, cells) of a network that has one
        """
        ws = w[:, None].expand(-1, self.num_ws, -1) if w.ndim == 2 else w
        x = self.constant.to(dtype)[None].expand(len(ws), -1, -1, -1)
        x = x.contiguous(memory_format=torch.channels_last)
        x = self._coded(self.convs[0](x, ws[:, 0], rng), code)
        image = self.to_image[0](x, ws[:, 1])
        for block, first in enumerate(range(1, len(self.convs), 2), start=1):
            x = self._coded(self.convs[first](x, ws[:, first], rng), code)
            x = self.convs[first + 1](x, ws[:, first + 1], rng)
            image = upsample(image) + self.to_image[block](x, ws[:, first + 2])
        return image

    def _coded(self, x: Tensor, code: Tensor | None) -> Tensor:
        """Return features x with the spatial code added, where they are of its size."""
        if self.from_code is None or code is None or x.shape[-1] != self.code_side:
            return x
        return x + self.from_code(code).to(x.dtype)


class StyleGAN2(nn.Module):
    """A generator of images: `sample` gives latents, `decode` their images.

    config  size of the networks
    decode  latents (N, latent_size), or w per layer (N, num_ws, w_dim) -> images float32 (N, C, R, R),
            nominally in [-1, 1]; differentiable; one synthesis pass
    Source: Karras et al. 2020. Differs: see the module's docstring.
    """

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
        self.mapping = Mapping(config)
        self.synthesis = Synthesis(config)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Return the shape (C, R, R) of an image."""
        return (self.config.channels, self.config.resolution, self.config.resolution)

    @property
    def latent_size(self) -> int:
        """Return the length of a latent: w, and the spatial code where there is one."""
        return self.config.latent_size

    @property
    def style_layers(self) -> list[nn.Module]:
        """Return the layers whose outputs scale feature maps: the style space."""
        return style_layers(self.synthesis)

    def split(self, latents: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return w (N, w_dim) and the spatial code (N, spatial, cells, cells), or None, of latents."""
        if not self.config.spatial or latents.ndim == 3:
            return latents, None
        side = self.config.code_side
        return latents[:, : self.config.w_dim], latents[:, self.config.w_dim :].unflatten(1, (-1, side, side))

    def decode(self, latents: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the images (N, C, R, R) of latents (N, latent_size), as float32; the convolutions use
        `dtype`."""
        images: Tensor = self.synthesis(*self.split(latents), dtype=dtype)
        return images

    def draw_code(self, n: int, rng: torch.Generator) -> Tensor:
        """Return sampled spatial codes (n, cells of all channels), standard normal; (n, 0) without one."""
        cells = self.config.latent_size - self.config.w_dim
        return torch.randn(n, cells, generator=rng).to(self.mapping.w_avg.device)

    def truncate(self, w: Tensor, psi: float | Tensor) -> Tensor:
        """Return w truncated towards the average: w_avg + psi (w - w_avg)."""
        return self.mapping.w_avg + psi * (w - self.mapping.w_avg)

    def sample(self, n: int, rng: torch.Generator, *, psi: float = 1.0) -> Tensor:
        """Return sampled latents (n, latent_size); z and the spatial code are sampled on the CPU, so that every
        device gives the same. `psi` truncates both."""
        device = self.mapping.w_avg.device
        z = torch.randn(n, self.config.z_dim, generator=rng).to(device)
        labels = None
        if self.config.labels:
            classes = torch.randint(self.config.labels, (n,), generator=rng)
            labels = nn.functional.one_hot(classes, self.config.labels).float().to(device)
        w = self.truncate(self.mapping(z, labels), psi)
        return torch.cat([w, psi * self.draw_code(n, rng)], dim=1) if self.config.spatial else w
