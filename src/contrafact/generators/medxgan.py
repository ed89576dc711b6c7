"""The medXGAN generator, with separate codes for the anatomy and for the findings in it.

Source: Dravid et al. 2022 (medXGAN, arXiv 2204.05376): a negative realisation is the same anatomy
with the pathology code at zero.
Differs: style-based synthesis (Karras et al. 2020, arXiv 1912.04958) instead of transposed
convolutions; the pathology code is a strength s times a unit vector u, and both are trained for
every s from 0 to 1; one code per finding; any number of channels; 2D and 3D. The published
architecture is in `medxgan_legacy`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from contrafact.core.errors import InputError
from contrafact.generators.layers import leaky, style_layers
from contrafact.generators.stylegan2 import Mapping, StyleGAN2Config, Synthesis
from contrafact.generators.stylegan2_3d import VolumeSynthesis


@dataclass(frozen=True, slots=True, kw_only=True)
class MedXGANConfig:
    """Size of the generator and of its discriminator.

    resolution   side of the square (cubic) image, a power of two from 8 to 1024
    channels     image channels
    axes         2 or 3
    anatomy      length of the anatomy code a (and of z, from which it is mapped)
    pathology    length of the pathology code p of one finding
    classes      number of findings, each with its own pathology code
    mapping_layers   layers of the network from z to the anatomy code
    channel_base, channel_max   feature channels at side r: min(channel_base / r, channel_max)
    """

    resolution: int = 64
    channels: int = 1
    axes: int = 2
    anatomy: int = 128
    pathology: int = 16
    classes: int = 1
    mapping_layers: int = 2
    channel_base: int = 2048
    channel_max: int = 128

    def __post_init__(self) -> None:
        if self.axes not in (2, 3):
            raise InputError(f"axes must be 2 or 3; got {self.axes}")
        for name in ("pathology", "classes"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1; got {getattr(self, name)}")
        _ = self.style  # checks the rest

    @property
    def style(self) -> StyleGAN2Config:
        """Return the configuration of the style-based networks."""
        return StyleGAN2Config(
            resolution=self.resolution,
            channels=self.channels,
            z_dim=self.anatomy,
            w_dim=self.anatomy,
            mapping_layers=self.mapping_layers,
            channel_base=self.channel_base,
            channel_max=self.channel_max,
        )


class PathologyStyle(nn.Module):
    """A network from pathology codes p (N, classes * pathology) to a change of style (N, anatomy).

    It has no biases and a leaky ReLU, so that M(0) = 0 exactly, and M(s p) = s M(p) for s >= 0: a path of
    increasing strength is a straight line in style.
    """

    def __init__(self, config: MedXGANConfig) -> None:
        super().__init__()
        self.classes, wide = config.classes, config.anatomy
        self.first = nn.Parameter(torch.randn(config.classes, wide, config.pathology))
        self.second = nn.Parameter(torch.randn(config.classes, wide, wide))

    def forward(self, p: Tensor) -> Tensor:
        # A unit vector has mean square 1 / pathology, so the first layer preserves 1 without a gain.
        x = leaky(torch.einsum("nkp,kwp->nkw", p.unflatten(1, (self.classes, -1)), self.first))
        x = torch.einsum("nkw,kvw->nkv", x, self.second / math.sqrt(self.second.shape[2]))
        return x.sum(dim=1)


class MedXGAN(nn.Module):
    """A generator of images from two codes: `sample` gives latents (a, p), `decode` their images.

    config  size of the networks
    levels  (classes, 2) the model's scores for which p of length 0 and 1 are trained
    decode  latents (N, anatomy + classes * pathology) -> images float32 (N, C, *S), nominally in
            [-1, 1]; differentiable. With p = 0 it is the negative realisation of the anatomy a
    Source: Dravid et al. 2022. Differs: see the module's docstring.
    """

    levels: Tensor

    def __init__(self, config: MedXGANConfig) -> None:
        super().__init__()
        self.config = config
        self.mapping = Mapping(config.style)
        self.pathology = PathologyStyle(config)
        self.synthesis = Synthesis(config.style) if config.axes == 2 else VolumeSynthesis(config.style)
        self.register_buffer("levels", torch.tensor([[0.0, 1.0]] * config.classes))

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Return the shape (C, *S) of an image."""
        return (self.config.channels, *(self.config.resolution,) * self.config.axes)

    @property
    def latent_size(self) -> int:
        """Return the length of a latent: the anatomy's and all findings' codes."""
        return self.config.anatomy + self.config.classes * self.config.pathology

    def split(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes (a, p) of latents (..., latent_size)."""
        return latents[..., : self.config.anatomy], latents[..., self.config.anatomy :]

    def negative(self, latents: Tensor) -> Tensor:
        """Return latents of the same anatomy without any finding (p = 0)."""
        a, p = self.split(latents)
        return torch.cat([a, torch.zeros_like(p)], dim=-1)

    def code(self, finding: int) -> slice:
        """Return the coordinates of a finding's pathology code in a latent."""
        first = self.config.anatomy + finding * self.config.pathology
        return slice(first, first + self.config.pathology)

    @property
    def style_layers(self) -> list[nn.Module]:
        """Return the layers whose outputs scale feature maps: the style space."""
        return style_layers(self.synthesis)

    def decode(self, latents: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the images (N, C, *S) of latents, as float32; the convolutions use `dtype`."""
        a, p = self.split(latents)
        images: Tensor = self.synthesis(a + self.pathology(p), dtype=dtype)
        return images

    def draw_code(self, n: int, rng: torch.Generator) -> Tensor:
        """Return sampled codes (n, pathology) of one finding at strength 1."""
        u = torch.randn(n, self.config.pathology, generator=rng)
        return (u / u.norm(dim=1, keepdim=True).clamp_min(1e-6)).to(self.levels.device)

    def draw_pathology(self, n: int, rng: torch.Generator) -> Tensor:
        """Return sampled codes p (n, classes * pathology) with one finding each, of strength 1 in one half of
        the cases, else uniform from 0 to 1."""
        config, device = self.config, self.levels.device
        u = self.draw_code(n * config.classes, rng).unflatten(0, (n, config.classes))
        s = (2 * torch.rand(n, generator=rng)).clamp_max(1.0)
        chosen = torch.randint(config.classes, (n,), generator=rng)
        s = (s[:, None] * nn.functional.one_hot(chosen, config.classes)).to(device)
        return (u * s[:, :, None]).flatten(1)

    def strength(self, latents: Tensor) -> Tensor:
        """Return the strength (N, classes) of each finding: the length of its pathology code."""
        return self.split(latents)[1].unflatten(1, (self.config.classes, -1)).norm(dim=2)

    def expected(self, strength: Tensor) -> Tensor:
        """Return the model's scores (N, classes) for which codes of that strength are trained."""
        low, high = self.levels.to(strength).unbind(dim=1)
        return low + strength * (high - low)

    def excess(self, scores: Tensor) -> Tensor:
        """Return by how much scores (N, classes) exceed those of strength 0, relative to the difference between
        strength 1 and 0; at least 0."""
        low, high = self.levels.to(scores).unbind(dim=1)
        return ((scores.view(len(scores), -1) - low) / (high - low)).clamp_min(0.0)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Return sampled latents (n, latent_size), one half of them without a finding; the random numbers come
        from the CPU, so that every device gives the same."""
        z = torch.randn(n, self.config.anatomy, generator=rng).to(self.levels.device)
        p = self.draw_pathology(n, rng)
        absent = torch.rand(n, generator=rng) < 0.5
        p = p.masked_fill(absent.to(p.device)[:, None], 0.0)
        return torch.cat([self.mapping(z), p], dim=1)
