"""MedXGAN as it was published: architecture, starting weights and losses.

Source: Dravid et al. 2022 (arXiv 2204.05376) and the sizes in its public code, in an own implementation.
Differs (flaws of that code, left out here):
the classifier gives logits, where a second softmax was taken of its probabilities; an epoch was as long
as the validation set, and one script trained on its validation data: here a step is a step and the
images are those that are given; only RGB of one size was possible, here any channels at 64 or 128
pixels; images are found again with the generator in evaluation mode and unchanged, where batch
normalisation over one image moved and all weights were fitted to each image, with a negative painted
by hand over the lesion; minority images were copied, here both classes are drawn equally.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrafact.core.errors import ContrafactError, InputError
from contrafact.generation.augmentation import signed
from contrafact.generation.checkpoint import pack, unpack

# (channels out, kernel) of the transposed convolutions of stride 2; the last gives the image.
LAYERS = {64: ((384, 5), (256, 5), (192, 5), (0, 8)), 128: ((384, 5), (256, 5), (192, 5), (64, 5), (0, 8))}


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyConfig:
    """Sizes of the published networks: at 64 px those of the brain, at 128 px of the chest.

    anatomy, pathology   length of z1 and z2
    guide                weight of the classifier's loss
    """

    resolution: int = 64
    channels: int = 3
    anatomy: int = 1000
    pathology: int = 100
    guide: float = 2.0
    rate: float = 2e-4
    batch: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resolution not in LAYERS:
            raise InputError(f"the published networks draw 64 or 128 pixels; got {self.resolution}")
        for name in ("channels", "anatomy", "pathology", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1; got {getattr(self, name)}")


LEGACY = {
    "brain": LegacyConfig(),
    "chest": LegacyConfig(resolution=128, anatomy=100, pathology=10, guide=1.0),
}


class LegacyMedXGAN(nn.Module):
    """Latents (N, anatomy + pathology) to images (N, C, R, R) in [-1, 1]; z2 = 0 is the negative."""

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
        self.apply(_start)

    @property
    def image_shape(self) -> tuple[int, ...]:
        return (self.config.channels, self.config.resolution, self.config.resolution)

    @property
    def latent_size(self) -> int:
        return self.config.anatomy + self.config.pathology

    def decode(self, latents: Tensor) -> Tensor:
        images: Tensor = self.layers(self.first(latents)[:, :, None, None])
        return images

    def negative(self, latents: Tensor) -> Tensor:
        """The same anatomy without the finding: z2 = 0."""
        z1, z2 = latents.split([self.config.anatomy, self.config.pathology], dim=-1)
        return torch.cat([z1, torch.zeros_like(z2)], dim=-1)

    def code(self, finding: int) -> slice:
        """Where z2 stands in a latent."""
        return slice(self.config.anatomy, None)

    def draw_code(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.randn(n, self.config.pathology, generator=rng).to(self.first.weight.device)

    def strength(self, latents: Tensor) -> Tensor:
        """Length (N, 1) of z2, in units of a drawn one."""
        length = latents[:, self.code(0)].norm(dim=1, keepdim=True)
        return length / math.sqrt(self.config.pathology)

    def drawn(self, present: Tensor, rng: torch.Generator) -> Tensor:
        """Latents for cases (N,) with (1) and without (0) the finding."""
        z1 = torch.randn(len(present), self.config.anatomy, generator=rng).to(present.device)
        z2 = self.draw_code(len(present), rng).to(present.device)
        return torch.cat([z1, z2 * present[:, None]], dim=1)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw latents (n, latent_size), one half of them without the finding."""
        present = torch.rand(n, generator=rng) < 0.5
        return self.drawn(present.float().to(self.first.weight.device), rng)


class LegacyDiscriminator(nn.Module):
    """Images (N, C, R, R) to logits (N,), real against drawn; it sees no class."""

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
        self.apply(_start)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.out(self.layers(images))[:, 0]
        return logits


def _start(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def legacy_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Cross-entropy of real images as real, plus of drawn ones as drawn."""
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def legacy_generator_loss(
    fake_logits: Tensor, finding_logits: Tensor, present: Tensor, *, guide: float
) -> Tensor:
    """Cross-entropy of drawn images as real, plus `guide` times that of the classifier's log-odds (N,)
    with the class (N,) asked for. Source: Odena et al. 2017 (arXiv 1610.09585)."""
    real = F.softplus(-fake_logits).mean()
    return real + guide * F.binary_cross_entropy_with_logits(finding_logits, present)


class LegacyTraining:
    """The published training. `step()` shows one batch to both networks.

    images  (N, C, R, R): uint8 (0 to 255) or float32 in [-1, 1]; labels (N,): 1 with the finding
    guide   images in [-1, 1] to log-odds of the finding (N,), differentiable; frozen by the caller
    raises  InputError for images of another size, or one class only; ContrafactError for a loss that is
            no number, before any weight is changed by it
    """

    def __init__(
        self, config: LegacyConfig, images: Tensor, labels: Tensor, *, guide: Callable[[Tensor], Tensor]
    ) -> None:
        expected = (config.channels, config.resolution, config.resolution)
        if tuple(images.shape[1:]) != expected or len(images) != len(labels):
            raise InputError(
                f"images must be (N, {expected}) with N labels; got {tuple(images.shape)} and {len(labels)}"
            )
        self.rows = [(labels == k).nonzero()[:, 0] for k in (0, 1)]
        if not all(map(len, self.rows)):
            raise InputError("expected images of both classes; got one class only")
        self.config, self.images, self.guide = config, images, guide
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.generator, self.discriminator = LegacyMedXGAN(config), LegacyDiscriminator(config)
        self.rng = torch.Generator().manual_seed(config.seed + 1)
        self.adam_g, self.adam_d = (
            torch.optim.Adam(network.parameters(), lr=config.rate, betas=(0.5, 0.999))
            for network in (self.generator, self.discriminator)
        )
        self.seen = 0
        self.figures: dict[str, float] = {}

    def step(self) -> None:
        """One step of D and one of G."""
        with torch.random.fork_rng(devices=[]):  # dropout draws from the global numbers
            torch.manual_seed(int(torch.randint(2**31, (), generator=self.rng)))
            present = (torch.rand(self.config.batch, generator=self.rng) < 0.5).float()
            asked = (torch.rand(self.config.batch, generator=self.rng) < 0.5).float()
            with torch.no_grad():
                fakes = self.generator.decode(self.generator.drawn(asked, self.rng))
            judge = self.discriminator
            loss = legacy_discriminator_loss(judge(self._reals(present)), judge(fakes))
            self._apply(self.adam_d, loss, "loss_d")
            fakes = self.generator.decode(self.generator.drawn(present, self.rng))
            odds = self.guide(fakes).flatten()
            loss = legacy_generator_loss(judge(fakes), odds, present, guide=self.config.guide)
            self._apply(self.adam_g, loss, "loss_g")
        self.seen += self.config.batch

    def _reals(self, present: Tensor) -> Tensor:
        picks = [rows[torch.randint(len(rows), (len(present),), generator=self.rng)] for rows in self.rows]
        return signed(self.images[torch.where(present > 0, picks[1], picks[0])])

    def _apply(self, adam: torch.optim.Adam, loss: Tensor, name: str) -> None:
        self.figures[name] = float(loss.detach())
        if not math.isfinite(self.figures[name]):
            raise ContrafactError(
                f"{name} is not a finite number after {self.seen} images; the state before is kept"
            )
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()

    def state(self) -> dict[str, Tensor]:
        """Everything the next step depends on."""
        seen = torch.tensor([self.seen], dtype=torch.float64)
        return pack(self._modules(), self._adams(), rng=self.rng.get_state(), counts=seen)

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go back to a `state()`."""
        try:
            unpack(state, self._modules(), self._adams())
        except (KeyError, RuntimeError) as error:
            raise InputError("expected the saved state of a legacy run of this configuration") from error
        self.rng.set_state(state["rng"])
        self.seen = int(state["counts"][0])

    def _modules(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "discriminator": self.discriminator}

    def _adams(self) -> dict[str, torch.optim.Adam]:
        return {"adam_g": self.adam_g, "adam_d": self.adam_d}
