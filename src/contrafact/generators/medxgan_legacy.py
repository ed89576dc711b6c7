"""medXGAN as published: architecture, initial weights and losses.

Source: Dravid et al. 2022 (arXiv 2204.05376) and the sizes in its public code, in an own implementation.
Differs (flaws of that code, corrected here):
the classifier gives logits, where that code applied a second softmax to its probabilities; there an epoch
was as long as the validation set, and one script trained on its validation data: here training counts
steps, on the training images alone; only RGB of one size was possible, here any channels at 64 or 128
pixels; images are inverted with a fixed generator in evaluation mode, where that code updated batch
normalisation with one image and fitted all weights to each image, with a negative painted by hand over the
lesion; minority images were copied, here both classes are sampled equally; the classifier's prediction
decides which images have the finding.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrafact.core.errors import ContrafactError, InputError
from contrafact.generators.augmentation import signed
from contrafact.generators.checkpoint import check_trained_with, pack, same_run, trained_with, unpack
from contrafact.generators.medxgan_training import CheckedGuide, by_class
from contrafact.generators.precision import PRECISIONS, check_precision
from contrafact.generators.seeding import seeded

# (output channels, kernel) of the transposed convolutions of stride 2; the last one generates the image.
LAYERS = {64: ((384, 5), (256, 5), (192, 5), (0, 8)), 128: ((384, 5), (256, 5), (192, 5), (64, 5), (0, 8))}


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyConfig:
    """Sizes of the published networks: at 64 pixels for the brain, at 128 pixels for the chest.

    resolution           side of the square image in pixels: 64 or 128
    channels             image channels
    anatomy, pathology   length of z1 and z2
    """

    resolution: int = 64
    channels: int = 3
    anatomy: int = 1000
    pathology: int = 100

    def __post_init__(self) -> None:
        if self.resolution not in LAYERS:
            raise InputError(f"resolution must be 64 or 128 for the published networks; got {self.resolution}")
        for name in ("channels", "anatomy", "pathology"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1; got {getattr(self, name)}")


LEGACY = {"brain": LegacyConfig(), "chest": LegacyConfig(resolution=128, anatomy=100, pathology=10)}


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyTrainerConfig:
    """Hyper-parameters of the published training, without augmentation or averaged weights.

    kimg   thousands of real images in the training
    batch  images per step
    rate   Adam's learning rate
    guide  weight of the classifier's loss: 2 (brain) or 1 (chest) in the paper
    precision  precision of the networks: fp32, as published, or bf16
    seed   seed of this run; no global seed is set
    """

    mirror: ClassVar[bool] = False
    augment: ClassVar[str] = "none"
    kimg: float = 100.0
    batch: int = 32
    rate: float = 2e-4
    guide: float = 2.0
    precision: str = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        check_precision(self.precision, known=PRECISIONS)
        for name in ("kimg", "batch", "rate"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0; got {getattr(self, name)}")


class LegacyMedXGAN(nn.Module):
    """The generator: latents (N, anatomy + pathology) to images (N, C, R, R) in [-1, 1]; z2 = 0 is negative."""

    def __init__(self, config: LegacyConfig) -> None:
        super().__init__()
        self.config = config
        self.first = nn.Linear(config.anatomy + config.pathology, 768)
        layers: list[nn.Module] = []
        before = 768
        for wide, kernel in LAYERS[config.resolution]:
            layers.append(nn.ConvTranspose2d(before, wide or config.channels, kernel, 2, bias=False))
            layers += [nn.BatchNorm2d(wide), nn.ReLU()] if wide else [nn.Tanh()]
            before = wide
        self.layers = nn.Sequential(*layers)
        self.apply(_initialise)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Return the shape (C, R, R) of an image."""
        return (self.config.channels, self.config.resolution, self.config.resolution)

    @property
    def latent_size(self) -> int:
        """Return the length of a latent: z1 and z2."""
        return self.config.anatomy + self.config.pathology

    def decode(self, latents: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the images (N, C, R, R) of latents, as float32; the convolutions use `dtype`."""
        with torch.autocast(latents.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            images: Tensor = self.layers(self.first(latents)[:, :, None, None])
        return images.float()

    def negative(self, latents: Tensor) -> Tensor:
        """Return latents of the same anatomy without the finding (z2 = 0)."""
        z1, z2 = latents.split([self.config.anatomy, self.config.pathology], dim=-1)
        return torch.cat([z1, torch.zeros_like(z2)], dim=-1)

    def code(self, finding: int) -> slice:
        """Return the coordinates of z2 in a latent."""
        return slice(self.config.anatomy, None)

    def draw_code(self, n: int, rng: torch.Generator) -> Tensor:
        """Return sampled codes z2 (n, pathology)."""
        return torch.randn(n, self.config.pathology, generator=rng).to(self.first.weight.device)

    def strength(self, latents: Tensor) -> Tensor:
        """Return the length (N, 1) of z2, relative to that of a sampled code."""
        length = latents[:, self.code(0)].norm(dim=1, keepdim=True)
        return length / math.sqrt(self.config.pathology)

    def sample_classes(self, present: Tensor, rng: torch.Generator) -> Tensor:
        """Return sampled latents for cases (N,) with (1) and without (0) the finding."""
        z1 = torch.randn(len(present), self.config.anatomy, generator=rng).to(present.device)
        z2 = self.draw_code(len(present), rng).to(present.device)
        return torch.cat([z1, z2 * present[:, None]], dim=1)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Return sampled latents (n, latent_size), one half of them without the finding."""
        present = torch.rand(n, generator=rng) < 0.5
        return self.sample_classes(present.float().to(self.first.weight.device), rng)


class LegacyDiscriminator(nn.Module):
    """The discriminator: images (N, C, R, R) to logits (N,), real against generated, without the class."""

    def __init__(self, config: LegacyConfig) -> None:
        super().__init__()
        widths = [config.channels, 16, 32, 64, 128, 256, 512]
        layers: list[nn.Module] = []
        side = config.resolution
        for number, (a, b) in enumerate(itertools.pairwise(widths)):
            stride, padding = ((2, 1), (1, 0))[number % 2]
            layers.append(nn.Conv2d(a, b, 3, stride, padding, bias=False))
            layers += [nn.BatchNorm2d(b)] if number else []
            layers += [nn.LeakyReLU(0.2), nn.Dropout(0.5)]
            side = (side + 2 * padding - 3) // stride + 1
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.out = nn.Linear(side * side * 512, 1)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.out(self.layers(images))[:, 0]
        return logits


def _initialise(module: nn.Module) -> None:
    """Set the published initial weights of convolutions and batch normalisations."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def legacy_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return the cross-entropy of real images as real, plus that of generated ones as generated."""
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def legacy_generator_loss(
    fake_logits: Tensor, finding_logits: Tensor, present: Tensor, *, guide: float
) -> Tensor:
    """Return the cross-entropy of generated images as real, plus `guide` times that of the classifier's
    log-odds (N,) with the requested class (N,). Source: Odena et al. 2017 (arXiv 1610.09585)."""
    real = F.softplus(-fake_logits).mean()
    return real + guide * F.binary_cross_entropy_with_logits(finding_logits, present)


class LegacyTraining:
    """The published training. `step()` trains both networks on one batch.

    images  (N, C, R, R): uint8 (0 to 255) or float32 in [-1, 1]
    guide   differentiable function of images in [-1, 1] to log-odds of the finding (N,) or (N, 1), frozen by
            the caller; its predictions decide which images have the finding
    raises  as `MedXGANTraining`
    """

    augment_p, gamma = 0.0, 0.0  # read by `train_generator`

    def __init__(
        self,
        size: LegacyConfig,
        config: LegacyTrainerConfig,
        images: Tensor,
        *,
        guide: Callable[[Tensor], Tensor],
        device: torch.device | str = "cpu",
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        expected = (size.channels, size.resolution, size.resolution)
        if tuple(images.shape[1:]) != expected or len(images) == 0:
            raise InputError(f"images must be (N, {', '.join(map(str, expected))}); got {tuple(images.shape)}")
        self.size, self.config, self.images = size, config, images
        self.about = trained_with(config, images, origin)
        self.device = torch.device(device)
        self.guide = CheckedGuide(guide, 1, probabilities=False)
        self.rows, _ = by_class(self.guide.training_logits(images, self.device))
        with seeded(config.seed, self.device):
            self.generator = LegacyMedXGAN(size).to(self.device)
            self.discriminator = LegacyDiscriminator(size).to(self.device)
        self.rng = torch.Generator().manual_seed(config.seed + 1)
        self.adam_g, self.adam_d = (
            torch.optim.Adam(network.parameters(), lr=config.rate, betas=(0.5, 0.999))
            for network in (self.generator, self.discriminator)
        )
        self.seen = 0
        self.figures: dict[str, float] = {}

    @property
    def average(self) -> LegacyMedXGAN:
        """Return the generator itself, in evaluation mode until the next step, since there is no average."""
        return self.generator.eval()

    def step(self) -> None:
        """Train the discriminator and the generator by one step each."""
        dtype = PRECISIONS[self.config.precision]
        half = torch.autocast(self.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16)
        self.generator.train()
        seed = int(torch.randint(2**31, (), generator=self.rng))
        with seeded(seed, self.device):  # dropout uses the global random numbers
            present, requested = (self._sample_presence() for _ in range(2))
            with torch.no_grad():
                fakes = self.generator.decode(self.generator.sample_classes(requested, self.rng), dtype=dtype)
            with half:
                real, fake = self.discriminator(self._reals(present)), self.discriminator(fakes)
            self._apply(self.adam_d, legacy_discriminator_loss(real.float(), fake.float()), "loss_d")
            fakes = self.generator.decode(self.generator.sample_classes(present, self.rng), dtype=dtype)
            with half:
                fake_logits, odds = self.discriminator(fakes).float(), self.guide(fakes).float().flatten()
            loss = legacy_generator_loss(fake_logits, odds, present, guide=self.config.guide)
            self._apply(self.adam_g, loss, "loss_g")
        self.seen += self.config.batch

    def _sample_presence(self) -> Tensor:
        """Return sampled classes (batch,): 1 with the finding, 0 without."""
        return (torch.rand(self.config.batch, generator=self.rng) < 0.5).float().to(self.device)

    def vary_after_rollback(self, gamma: float, turn: int) -> None:
        """Set other random numbers after the rollback number `turn`; `gamma` is unused, without R1."""
        self.figures.clear()
        self.rng.manual_seed(self.config.seed + 1 + turn * 104_729)

    def _reals(self, present: Tensor) -> Tensor:
        """Return random training images of the requested classes (N,)."""
        positive, negative = (r[torch.randint(len(r), (len(present),), generator=self.rng)] for r in self.rows)
        return signed(self.images[torch.where(present.cpu() > 0, positive, negative)].to(self.device))

    def _apply(self, adam: torch.optim.Adam, loss: Tensor, name: str) -> None:
        self.figures[name] = float(loss.detach())
        if not math.isfinite(self.figures[name]):
            raise ContrafactError(
                f"{name} is not a finite number after {self.seen} images; its gradient was not applied: check "
                "the guide and the images, or lower rate"
            )
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()

    def state(self) -> dict[str, Tensor]:
        """Return everything that the next step depends on."""
        seen = torch.tensor([self.seen], dtype=torch.float64)
        return pack(self._modules(), self._adams(), rng=self.rng.get_state(), counts=seen, about=self.about)

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore a `state()`. Raise InputError for one of other images or settings."""
        with same_run("legacy medxgan"):
            unpack(state, self._modules(), self._adams())
        check_trained_with(state, self.about)
        self.rng.set_state(state["rng"])
        self.seen = int(state["counts"][0])

    def _modules(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "discriminator": self.discriminator}

    def _adams(self) -> dict[str, torch.optim.Adam]:
        return {"adam_g": self.adam_g, "adam_d": self.adam_d}
