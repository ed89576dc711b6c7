"""The training of a medXGAN with a frozen classifier, the argument `guide`.

Source: Dravid et al. 2022 (medXGAN, arXiv 2204.05376).
Differs: the loss matches the classifier's logits, not its probabilities, as a linear function of the
finding's strength s (a calibrated path); every anatomy is generated twice, with and without the finding,
and the difference is penalised by size and total variation; a reader on the discriminator's features
predicts both codes, so that the anatomy stays constant; the negative realisation must be
negative for every anatomy; both classes are sampled equally; R1, adaptive augmentation and an averaged
generator; a resumed run continues with exactly the same next step.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrafact.core.errors import ContrafactError, InputError
from contrafact.generators.augmentation import augment, mirror_half, preset, signed
from contrafact.generators.checkpoint import trained_with
from contrafact.generators.discriminator import Discriminator
from contrafact.generators.gan_run import adapt_augmentation, move_average, resume, saved, vary
from contrafact.generators.layers import EqualLinear, smaller
from contrafact.generators.losses import (
    clean_gradients,
    discriminator_loss,
    generator_loss,
    lazy_adam,
    r1_penalty,
    total_variation,
)
from contrafact.generators.medxgan import MedXGAN, MedXGANConfig
from contrafact.generators.precision import Precision, check_precision, trial_step
from contrafact.generators.seeding import seeded
from contrafact.generators.stylegan2_3d import VolumeDiscriminator

Guide = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class MedXGANTrainerConfig:
    """Hyper-parameters of training a medXGAN; those of a StyleGAN2 are as in `TrainerConfig`.

    kimg       thousands of real images in the training
    batch      images per step, a multiple of 4
    rate       Adam's learning rate
    gamma      weight of R1; None = 0.0008 resolution^2 / batch
    r1_every   steps between regularisers (0: never)
    ema_kimg   half-life of the averaged generator; None = 10 batch / 32
    mirror     flip images left to right at random (never for a frontal chest)
    augment    preset of the adaptive augmentation, see `generators.augmentation`
    augment_target  target of the mean sign of the discriminator's logits of real images
    precision  precision of the convolutions: bf16, fp16 or fp32; auto: bf16, on a CPU only where that is
               faster than fp32
    guide      weight of the classifier's loss: the distance of its logit from the requested one, in
               units of the difference between the classes
    change     weight of the mean absolute difference with and without the finding, and of its total
               variation
    identity   weight of the loss of the reader, which predicts the codes
    noise      standard deviation of the noise on the guide's input (the range is 2), against adversarial
               findings. It is halved until the noise changes the guide's logits of the training images by
               at most a tenth of the difference between the classes; 0 where it always does
    judged     side of the discriminator's input, a power of two from 8; None: the side of the images. A
               smaller one ignores fine texture, which a small generator cannot reproduce in volumes
    probabilities   the guide gives probabilities, which are converted to logits
    seed       seed of this run; no global seed is set
    """

    kimg: float = 100.0
    batch: int = 32
    rate: float = 0.0025
    gamma: float | None = None
    r1_every: int = 16
    ema_kimg: float | None = None
    mirror: bool = False
    augment: str = "none"
    augment_target: float = 0.6
    precision: str = "auto"
    guide: float = 2.0
    change: float = 1.0
    identity: float = 0.2
    noise: float = 0.05
    judged: int | None = None
    probabilities: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        preset(self.augment)
        check_precision(self.precision)
        if self.batch < 4 or self.batch % 4:
            raise InputError(f"batch must be a multiple of 4; got {self.batch}")
        if not self.kimg > 0:
            raise InputError(f"kimg must be above 0; got {self.kimg}")
        if self.judged is not None and (self.judged < 8 or self.judged & (self.judged - 1)):
            raise InputError(f"judged must be a power of two from 8, or None; got {self.judged}")
        for name in ("guide", "change", "identity", "noise"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must be 0 or more; got {getattr(self, name)}")


class MedXGANTraining:
    """The state of one training run. `step()` trains both networks on one batch.

    images  (N, C, *S): uint8 (0 to 255) or float32 in [-1, 1]
    guide   differentiable function of images in [-1, 1] to logits (N,) or (N, classes) of the findings, frozen
            by the caller; a finding is present where its logit is above 0
    raises  InputError for images of another size, a guide that gives probabilities, a finding that is present
            in no training image or in all; ContrafactError for a loss that is not finite, before it changes
            any weight
    """

    def __init__(
        self,
        size: MedXGANConfig,
        config: MedXGANTrainerConfig,
        images: Tensor,
        *,
        guide: Guide,
        device: torch.device | str = "cpu",
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        _check_images(images, size, config)
        self.size, self.config, self.images = size, config, images
        self.about = trained_with(config, images, origin)
        self.device = torch.device(device)
        self.precision = Precision(config.precision, self.device)
        with seeded(config.seed, self.device):  # seeds the initial weights; the global state is restored
            self.generator = MedXGAN(size).to(self.device)
            self.judged = replace(size.style, resolution=config.judged or size.resolution)
            kind = Discriminator if size.axes == 2 else VolumeDiscriminator
            self.discriminator = kind(self.judged).to(self.device)
            wide, codes = size.style.width(4), size.anatomy + size.classes * size.pathology
            self.reader = EqualLinear(wide, codes).to(self.device)
        self.guide = CheckedGuide(guide, size.classes, probabilities=config.probabilities)
        logits = self.guide.training_logits(images, self.device)
        self.rows, levels = by_class(logits)
        self.noise = self._tolerated_noise(logits > 0, levels)
        self.generator.levels.copy_(levels)
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.rng = torch.Generator().manual_seed(config.seed * 1000 + 1)
        parameters = [*self.discriminator.parameters(), *self.reader.parameters()]
        self.adam_g = lazy_adam(self.generator.parameters(), rate=config.rate, interval=0)
        self.adam_d = lazy_adam(parameters, rate=config.rate, interval=config.r1_every)
        self.steps, self.seen = 0, 0
        self.augment_p, self.signs = 0.0, [0.0, 0.0]
        self.gamma = config.gamma or 0.0008 * size.resolution**size.axes / config.batch
        self.figures: dict[str, float] = {}

    def _tolerated_noise(self, present: Tensor, levels: Tensor) -> float:
        """Return the greatest noise, `config.noise` halved up to five times, that changes the guide's logits of
        images with and without each finding by at most a tenth of the classes' difference; else 0."""
        rng, deviation = torch.Generator().manual_seed(self.config.seed), self.config.noise
        trials = []  # finding, images, noise, logits
        for number, column in enumerate(present.t()):
            for side in (column, ~column):
                rows = side.nonzero()[:, 0]
                images = signed(self.images[rows[torch.randperm(len(rows), generator=rng)[:32]]])
                plain = self.guide.logits(images, self.device)[:, number]
                trials.append((number, images, torch.randn(images.shape, generator=rng), plain))
        gap = 0.1 * (levels[:, 1] - levels[:, 0])

        def change(number: int, images: Tensor, noise: Tensor, plain: Tensor) -> Tensor:
            noisy = self.guide.logits(images + deviation * noise, self.device)[:, number]
            return (noisy - plain).abs().median()

        for _ in range(5 if deviation else 0):
            if all(bool(change(*trial) <= gap[trial[0]]) for trial in trials):
                return deviation
            deviation /= 2
        return 0.0

    def step(self) -> None:
        """Train the discriminator with the reader, and then the generator, by one step; with R1 where due."""
        self._step_discriminator()
        self._step_generator()
        self.steps += 1
        self.seen += self.config.batch
        move_average(self)
        adapt_augmentation(self)

    def _step_discriminator(self) -> None:
        dtype, reals = self.precision.of(self._trial_step), self._sample_reals()
        with torch.no_grad():
            codes = self._sample_codes()
            fakes = self.generator.decode(codes, dtype=dtype)
        self.adam_d.zero_grad(set_to_none=True)
        logits = self.discriminator(self._augment(reals), dtype=dtype)
        features = self.discriminator.features(self._augment(fakes), dtype=dtype)
        loss = discriminator_loss(logits, self.discriminator.logits(features))
        self._record(loss_d=loss)
        self.signs = [self.signs[0] + float(logits.detach().sign().mean()), self.signs[1] + 1]
        (loss + self.config.identity * self._reader_loss(features, codes)).backward()
        self._apply(self.adam_d, self.discriminator, self.reader)
        every = self.config.r1_every
        if every and self.steps % every == 0:
            self.adam_d.zero_grad(set_to_none=True)
            penalty = r1_penalty(lambda x: self.discriminator(self._augment(x)), reals, self.gamma)
            self._record(r1=penalty)
            (penalty * every).backward()
            self._apply(self.adam_d, self.discriminator)

    def _trial_step(self, dtype: torch.dtype) -> None:
        """Run the passes of a training step without an update, to measure their time."""
        codes = torch.zeros(self.config.batch, self.generator.latent_size, device=self.device)
        fakes = smaller(self.generator.decode(codes, dtype=dtype), self.judged.resolution)
        trial_step(
            fakes, partial(self.discriminator, dtype=dtype), self.generator.synthesis, self.discriminator
        )

    def _step_generator(self) -> None:
        config, dtype = self.config, self.precision.of(self._trial_step)
        self.discriminator.requires_grad_(False)
        self.reader.requires_grad_(False)
        self.adam_g.zero_grad(set_to_none=True)
        codes = self._sample_codes(track=True)
        fakes = self.generator.decode(codes, dtype=dtype)
        features = self.discriminator.features(self._augment(fakes), dtype=dtype)
        adversary = generator_loss(self.discriminator.logits(features))
        change = torch.sub(*fakes.chunk(2))
        small = change.abs().mean() + total_variation(change)
        guided, identity = self._guide_loss(fakes, codes), self._reader_loss(features, codes)
        loss = adversary + config.guide * guided + config.change * small + config.identity * identity
        self._record(loss_g=adversary, guide=guided, change=small, identity=identity)
        self.figures["noise"] = self.noise
        loss.backward()
        self.discriminator.requires_grad_(True)
        self.reader.requires_grad_(True)
        self._apply(self.adam_g, self.generator)

    def _guide_loss(self, fakes: Tensor, codes: Tensor) -> Tensor:
        """Return the loss of the guide's logits against the requested ones: two-sided with the finding, and
        only for greater logits without it, since a negative image may be more negative."""
        if not self.config.guide:
            return fakes.new_zeros(())
        noise = torch.randn(fakes.shape, generator=self.rng).to(fakes) * self.noise
        half = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision.name == "bf16")
        with half:
            logits = self.guide(fakes + noise).float()
        strength = self.generator.strength(codes)
        low, high = self.generator.levels.unbind(dim=1)
        error = (logits - self.generator.expected(strength)) / (high - low)
        error = torch.where(strength > 0, error, error.clamp_min(0.0))
        return F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.1)

    def _reader_loss(self, features: Tensor, codes: Tensor) -> Tensor:
        """Return the squared error of the reader's codes, relative to the variance of the codes."""
        codes = codes.detach()
        error = (self.reader(features) - codes).square()
        a, p = self.generator.split(error)
        spread = self.generator.split(codes)[0].var(dim=0).mean().clamp_min(1e-4)
        return a.mean() / spread + p.mean() * self.size.pathology

    def _sample_codes(self, *, track: bool = False) -> Tensor:
        """Return sampled latents (batch, latent_size): batch / 2 anatomies with the finding, then without."""
        n = self.config.batch // 2
        z = torch.randn(n, self.size.anatomy, generator=self.rng).to(self.device)
        a = self.generator.mapping(z, track=track)
        p = self.generator.draw_pathology(n, self.rng)
        return torch.cat([torch.cat([a, p], dim=1), torch.cat([a, torch.zeros_like(p)], dim=1)])

    def _sample_reals(self) -> Tensor:
        """Return a batch of training images, one half of them with a finding."""
        half = self.config.batch // 2
        picks = [rows[torch.randint(len(rows), (half,), generator=self.rng)] for rows in self.rows]
        reals = signed(self.images[torch.cat(picks)].to(self.device))
        return mirror_half(reals, self.rng) if self.config.mirror else reals

    def _augment(self, images: Tensor) -> Tensor:
        """Return images as input of the discriminator: augmented, and reduced to its resolution."""
        augmented = augment(images, preset(self.config.augment), self.augment_p, self.rng)
        return smaller(augmented, self.judged.resolution)

    def _record(self, **losses: Tensor) -> None:
        """Keep the losses for the report. Raise ContrafactError for one that is not finite."""
        self.figures |= {name: float(loss.detach()) for name, loss in losses.items()}
        broken = [name for name in losses if not math.isfinite(self.figures[name])]
        if broken:
            self.discriminator.requires_grad_(True)
            self.reader.requires_grad_(True)
            raise ContrafactError(
                f"{', '.join(broken)} is not a finite number at {self.seen / 1000:.1f} kimg; its gradient was "
                "not applied: check the guide and the images, or lower rate"
            )

    def _apply(self, adam: torch.optim.Adam, *networks: nn.Module) -> None:
        parameters = [p for network in networks for p in network.parameters()]
        self.figures["broken_gradients"] = float(clean_gradients(parameters))
        adam.step()

    def state(self) -> dict[str, Tensor]:
        """Return everything that the next step depends on, as copied CPU tensors with flat names."""
        return saved(self)

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore a `state()`. Raise InputError for one of another network, other images or settings."""
        resume(self, state, f"{self.size.resolution} px medxgan")

    def vary_after_rollback(self, gamma: float, turn: int) -> None:
        """Set another R1 weight and other random numbers after the rollback number `turn`."""
        vary(self, gamma, turn)

    def adams(self) -> dict[str, torch.optim.Adam]:
        return {"adam_g": self.adam_g, "adam_d": self.adam_d}

    def modules(self) -> dict[str, nn.Module]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "reader": self.reader,
            "average": self.average,
        }


class CheckedGuide:
    """A guide with checked output: logits (N, classes)."""

    def __init__(self, guide: Guide, classes: int, *, probabilities: bool) -> None:
        self.guide, self.classes, self.probabilities = guide, classes, probabilities

    def __call__(self, images: Tensor) -> Tensor:
        logits = self.guide(images)
        logits = logits[:, None] if logits.ndim == 1 else logits
        if tuple(logits.shape) != (len(images), self.classes):
            raise InputError(
                f"guide must give ({len(images)}, {self.classes}) logits; got {tuple(logits.shape)}"
            )
        return torch.logit(logits.float(), eps=1e-6) if self.probabilities else logits

    def logits(self, images: Tensor, device: torch.device) -> Tensor:
        """Return the logits (N, classes) of images, without gradients, on the CPU."""
        with torch.no_grad():
            return torch.cat([self(signed(part.to(device))).float().cpu() for part in images.split(64)])

    def training_logits(self, images: Tensor, device: torch.device) -> Tensor:
        """Return the logits (N, classes) of the training images. Raise InputError for probabilities or NaN."""
        logits = self.logits(images, device)
        if not bool(torch.isfinite(logits).all()):
            raise InputError("guide gave NaN or infinite logits for the training images")
        if not self.probabilities and len(logits) > 1 and 0 <= float(logits.min()) <= float(logits.max()) <= 1:
            raise InputError(
                "guide must give logits; got values from 0 to 1 for all training images, as "
                "probabilities do; return the values before the last softmax or sigmoid, or set "
                "probabilities = true"
            )
        return logits


def by_class(logits: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return the rows of the images with a finding and of those without any, and the median logits
    (classes, 2) of the images without and with each finding. Raise InputError where a group is empty."""
    levels = []
    for number, column in enumerate(logits.t()):
        present = column > 0
        if not 0 < int(present.sum()) < len(column):
            which = "has" if bool(present.all()) else "lacks"
            raise InputError(
                f"expected training images with and without finding {number}; by the guide's prediction every "
                f"one of {len(column)} {which} it: add images of the other class"
            )
        levels.append(torch.stack([column[~present].median(), column[present].median()]))
    positive = (logits > 0).any(dim=1)
    if bool(positive.all()):
        raise InputError("expected training images without any finding; by the guide's prediction, got none")
    return [positive.nonzero()[:, 0], (~positive).nonzero()[:, 0]], torch.stack(levels)


def _check_images(images: Tensor, size: MedXGANConfig, config: MedXGANTrainerConfig) -> None:
    if config.judged is not None and config.judged > size.resolution:
        raise InputError(f"judged must be at most the resolution, {size.resolution}; got {config.judged}")
    expected = (size.channels, *(size.resolution,) * size.axes)
    if tuple(images.shape[1:]) != expected or len(images) == 0:
        raise InputError(f"images must be (N, {', '.join(map(str, expected))}); got {tuple(images.shape)}")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise InputError(f"images must be uint8 or float in [-1, 1]; got {images.dtype}")
    if size.axes == 3 and config.augment != "none":
        raise InputError(f"augment must be 'none' for volumes; got '{config.augment}'")
