"""The encoder: a network from an image to the latent that generates it.

Source: Schutte et al. 2021 (arXiv 2101.07563), sec. 2 (`kind="resnet50"`, `published=True`).
Differs (the default): a compact network that ships; training uses real images too, with an image loss and
a loss on the black box's score; the output starts at the average latent.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrafact.core import Generator, InputError, nearest
from contrafact.generators.augmentation import Augmentation, augment, mirror_half, signed
from contrafact.generators.compact_resnet import CompactResNet
from contrafact.generators.medxgan import MedXGAN
from contrafact.generators.medxgan_legacy import LegacyMedXGAN
from contrafact.generators.precision import Precision, check_precision
from contrafact.generators.progress import Progress
from contrafact.generators.stylegan2 import StyleGAN2

KINDS = ("compact", "resnet50")
Guide = Callable[[Tensor], Tensor]
AnyGenerator = StyleGAN2 | MedXGAN | LegacyMedXGAN


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """Hyper-parameters of training an encoder.

    kind       "compact" (1.2 million weights at width 24) or "resnet50" (the paper's)
    published  use only the paper's loss: mean squared error of w on generated pairs
    width      feature channels of the first stage of the compact network
    steps      training steps
    batch      images per step
    rate       Adam's learning rate
    image, guide   weights of the losses on real images: absolute difference of pixels, and squared
               difference of the black box's score (in target units); the loss of w has weight 1
    anatomy    weight, for a generator with codes for findings, of the squared excess of the anatomy's own
               score over a negative image's, in units of the difference between the classes
    augment    probability of each augmentation of the training's preset on a real image, against
               memorising a few thousand images
    precision  precision of the generator and the guide: fp32 or bf16; auto: fp32, on a CPU bf16 where that is
               faster. The encoder always uses fp32: the backward pass of batch normalisation in bfloat16
               gives NaN on two threads
    seed       seed of this run; no global seed is set
    """

    kind: str = "compact"
    published: bool = False
    width: int = 24
    steps: int = 1500
    batch: int = 32
    rate: float = 1e-3
    image: float = 8.0
    guide: float = 0.5
    anatomy: float = 2.0
    augment: float = 0.3
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        check_size(self.kind, self.width)
        check_precision(self.precision, known=("auto", "fp32", "bf16"))
        if self.steps < 1 or self.batch < 2:
            raise InputError(f"expected at least 1 step of 2 images; got {self.steps} of {self.batch}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSize:
    """Kind and width of an encoder, as in `EncoderConfig`."""

    kind: str = "compact"
    width: int = 24

    def __post_init__(self) -> None:
        check_size(self.kind, self.width)


def check_size(kind: str, width: int) -> None:
    """Raise InputError for an unknown kind, or a width below 1."""
    if kind not in KINDS:
        raise InputError(f"kind must be one of {KINDS}; got '{kind}'{nearest(kind, KINDS)}")
    if width < 1:
        raise InputError(f"width must be at least 1; got {width}")


class ResNetEncoder(nn.Module):
    """An encoder: images (N, C, *S) in [-1, 1] to latents (N, latent size), w_avg + w_std * network(image).

    w_dim   length of w; `code` channels of a spatial code of `cells` values, which follows it in the latent
    """

    w_avg: Tensor
    w_std: Tensor

    def __init__(
        self,
        channels: int,
        w_dim: int,
        *,
        kind: str = "compact",
        width: int = 24,
        axes: int = 2,
        code: int = 0,
        cells: int = 0,
    ) -> None:
        super().__init__()
        if kind == "resnet50" and code:
            raise InputError("expected kind = 'compact' for a generator with a spatial code; got 'resnet50'")
        if kind == "resnet50":
            from monai.networks.nets.resnet import resnet50  # slow to import

            self.network: nn.Module = resnet50(spatial_dims=axes, n_input_channels=channels, num_classes=w_dim)
        else:
            planes = [width, 2 * width, 4 * width, 8 * width]
            self.network = CompactResNet(
                channels, w_dim, planes=planes, blocks=[1, 2, 2, 1], axes=axes, code=code
            )
        self.register_buffer("w_avg", torch.zeros(w_dim + cells))
        self.register_buffer("w_std", torch.ones(w_dim + cells))

    @staticmethod
    def of(generator: Generator, **size: Any) -> ResNetEncoder:
        """Return an untrained encoder for a generator's images and latents; `size`: `kind` and `width`."""
        channels, *sides = generator.image_shape
        if isinstance(generator, StyleGAN2) and generator.config.spatial:
            config = generator.config
            size |= {"code": config.spatial, "cells": config.latent_size - config.w_dim}
            return ResNetEncoder(channels, config.w_dim, axes=len(sides), **size)
        return ResNetEncoder(channels, generator.latent_size, axes=len(sides), **size)

    @torch.no_grad()
    def centre(self, generator: Generator, rng: torch.Generator) -> None:
        """Set mean and deviation of the latents to those that the generator samples."""
        latents = generator.sample(4096, rng)
        self.w_avg.copy_(latents.mean(dim=0))
        self.w_std.copy_(latents.std(dim=0).clamp_min(1e-3))

    def forward(self, images: Tensor) -> Tensor:
        return self.w_avg + self.w_std * self.network(images)


def train_encoder(
    generator: AnyGenerator,
    images: Tensor,
    config: EncoderConfig,
    *,
    guide: Guide | None = None,
    mirror: bool = False,
    how: Augmentation | None = None,
    start: Mapping[str, Tensor] | None = None,
) -> Iterator[tuple[Progress, ResNetEncoder]]:
    """Train an encoder for a frozen generator; yield progress and the encoder every 50 steps.

    images  real images (N, C, *S): uint8 or float in [-1, 1]; unused when `published`
    guide   differentiable function of images in [-1, 1] to the black box's scores (N,) or (N, K); None: no
            loss on the scores
    how     augmentation of the real images, with probability `config.augment` each
    start   weights of an encoder to begin with, such as one that was trained together with the generator
    cost    about 1.5 generator passes with gradients per step; half of that when `published`
    """
    rng = torch.Generator().manual_seed(config.seed)
    device = next(iter(generator.state_dict().values())).device  # some have buffers alone
    with torch.random.fork_rng(devices=[]):  # initial weights are sampled on the CPU
        torch.default_generator.manual_seed(config.seed)
        encoder = ResNetEncoder.of(generator, kind=config.kind, width=config.width).to(device)
    encoder.centre(generator, rng)
    if start is not None:
        encoder.load_state_dict(start)
    adam = torch.optim.Adam(encoder.parameters(), lr=config.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, config.rate, total_steps=config.steps + 1)
    encoder.train()
    trial = functools.partial(_trial_step, encoder, generator, guide, config)
    dtype = Precision(config.precision, device, elsewhere="fp32").of(trial)
    began = time.perf_counter()
    for step in range(1, config.steps + 1):
        reals = _reals(images, config, rng, mirror, how)
        loss, figures = _loss(encoder, generator, reals, guide, config, rng, dtype)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        adam.step()
        schedule.step()
        if step % 50 == 0 or step == config.steps:
            pace = step / (time.perf_counter() - began)
            yield (
                Progress(
                    done=step,
                    total=config.steps,
                    seconds_left=(config.steps - step) / pace,
                    figures=figures,
                ),
                encoder,
            )
    encoder.eval()


def _reals(
    images: Tensor, config: EncoderConfig, rng: torch.Generator, mirror: bool, how: Augmentation | None
) -> Tensor | None:
    """Return a batch of augmented real images, or None for the published loss."""
    if config.published:
        return None
    at = torch.randint(len(images), (config.batch,), generator=rng)
    reals = signed(images[at])
    reals = mirror_half(reals, rng) if mirror else reals
    return augment(reals, how, config.augment, rng).clamp(-1, 1) if how else reals


def _decoded(generator: AnyGenerator, latents: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the images of latents; a family whose `decode` takes no dtype computes in its own."""
    if "dtype" in inspect.signature(generator.decode).parameters:
        return generator.decode(latents, dtype=dtype)
    return generator.decode(latents)


def _trial_step(
    encoder: ResNetEncoder,
    generator: AnyGenerator,
    guide: Guide | None,
    config: EncoderConfig,
    dtype: torch.dtype,
) -> None:
    """Run the part of a training step that computes in `dtype`, to measure its time."""
    w = encoder.w_avg.repeat(config.batch, 1).requires_grad_()
    images = _decoded(generator, w, dtype).float()
    if guide is not None and config.guide:
        with torch.autocast(w.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            images = guide(images).float()
    torch.autograd.grad(images.sum(), w, allow_unused=True)


def _loss(
    encoder: ResNetEncoder,
    generator: AnyGenerator,
    reals: Tensor | None,
    guide: Guide | None,
    config: EncoderConfig,
    rng: torch.Generator,
    dtype: torch.dtype,
) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of one batch, and its terms by name."""
    device = encoder.w_avg.device
    with torch.no_grad():
        w = generator.sample(config.batch, rng)
        fakes = _decoded(generator, w, dtype)
    both = fakes if reals is None else torch.cat([fakes, reals.to(device)])
    half = torch.autocast(device.type, dtype, enabled=dtype == torch.bfloat16)
    layout = torch.channels_last if both.ndim == 4 else torch.contiguous_format
    encoded = encoder(both.float().contiguous(memory_format=layout))
    latent = ((encoded[: len(w)] - w) / encoder.w_std).square().mean()
    figures = {"latent": float(latent.detach())}
    if reals is None:
        return latent, figures
    reals = reals.to(device)
    reconstruction = _decoded(generator, encoded[len(w) :], dtype).float()
    pool = F.avg_pool2d if reals.ndim == 4 else F.avg_pool3d
    image = F.l1_loss(reconstruction, reals) + F.l1_loss(pool(reconstruction, 4), pool(reals, 4))
    loss = latent + config.image * image
    figures["image"] = float(image.detach())
    if guide is not None and config.guide:
        with half:
            with torch.no_grad():
                own_scores = guide(reals).float()
            score_loss = F.smooth_l1_loss(guide(reconstruction).float(), own_scores)
        loss = loss + config.guide * score_loss
        figures["guide"] = float(score_loss.detach())
        if isinstance(generator, MedXGAN):  # keep the finding in its code, not in the anatomy
            alone = _decoded(generator, generator.negative(encoded[len(w) :]), dtype).float()
            with half:
                excess = generator.excess(guide(alone).float()).square().mean()
            loss = loss + config.anatomy * excess
            figures["anatomy"] = float(excess.detach())
    return loss, figures
