"""Training a MedXGAN against a frozen classifier, which comes in as `guide`.

Source: Dravid et al. 2022 (medXGAN, arXiv 2204.05376).
Differs: the classifier's logits are matched, not its probabilities, and follow the strength s of the
finding (a calibrated path); every anatomy is drawn twice, with and without the finding, and the
difference is asked to be small and to lie in few places; a reader on the discriminator's features
has to find both codes again, so that the anatomy stays the same; the negative realisation must be
negative for every anatomy; both classes take part equally; R1, adaptive augmentation and an averaged
generator; a run resumes to the very same next step.
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
from contrafact.generators.augmentation import augment, mirror_half, next_probability, preset, signed
from contrafact.generators.checkpoint import check_trained_with, pack, same_run, trained_with, unpack
from contrafact.generators.discriminator import Discriminator
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
from contrafact.generators.precision import Precision, check_precision, once
from contrafact.generators.stylegan2_3d import VolumeDiscriminator
from contrafact.generators.stylegan2_training import move_average, seeded

Guide = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class MedXGANTrainerConfig:
    """How a MedXGAN is trained; what is not listed is as in `TrainerConfig`.

    guide      weight of the classifier's term: the distance of its logit from the one asked, in
               units of the gap between the classes
    change     weight of the mean absolute difference, with and without the finding, and of its total
               variation
    identity   weight of the codes' reader
    noise      standard deviation of the noise on what the guide sees (the range is 2): an answer that
               noise takes away is no finding. Halved until the guide, which may answer to noise itself,
               says the same of the training images with it, to a tenth of the gap; 0 where it never does
    judged     side at which the discriminator sees images, a power of two from 8; None: their own. Finer
               texture is not asked for then: in volumes a small generator cannot draw it, and would lose
               by it every time
    probabilities   the guide gives probabilities, whose logits are taken
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
    """The state of one training run. `step()` shows one batch to both networks.

    images  (N, C, *S): uint8 (0 to 255) or float32 in [-1, 1]
    guide   images in [-1, 1] to logits (N,) or (N, classes) of the findings, differentiable; above 0
            the finding is there. Frozen by the caller
    raises  InputError for images of another size, a guide that gives probabilities, a finding that no
            training image has or that every one has; ContrafactError for a loss that is no number,
            before any weight is changed by it
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
        with seeded(config.seed, self.device):  # layers draw their weights here; restored on leaving
            self.generator = MedXGAN(size).to(self.device)
            self.judged = replace(size.style, resolution=config.judged or size.resolution)
            kind = Discriminator if size.axes == 2 else VolumeDiscriminator
            self.discriminator = kind(self.judged).to(self.device)
            wide, codes = size.style.width(4), size.anatomy + size.classes * size.pathology
            self.reader = EqualLinear(wide, codes).to(self.device)
        self.guide = Checked(guide, size.classes, probabilities=config.probabilities)
        answers = self.guide.look(images, self.device)
        self.rows, levels = by_class(answers)
        self.noise = self._bearable(answers > 0, levels)
        self.generator.levels.copy_(levels)
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.rng = torch.Generator().manual_seed(config.seed * 1000 + 1)
        judges = [*self.discriminator.parameters(), *self.reader.parameters()]
        self.adam_g = lazy_adam(self.generator.parameters(), rate=config.rate, interval=0)
        self.adam_d = lazy_adam(judges, rate=config.rate, interval=config.r1_every)
        self.steps, self.seen = 0, 0
        self.augment_p, self._signs = 0.0, [0.0, 0.0]
        self.gamma = config.gamma or 0.0008 * size.resolution**size.axes / config.batch
        self.figures: dict[str, float] = {}

    def _bearable(self, there: Tensor, levels: Tensor) -> float:
        """The noise that the guide bears: its answers to images with and to images without each finding
        (N, classes) move by a tenth of the gap at most. Five times half of it, then none."""
        rng, deviation = torch.Generator().manual_seed(self.config.seed), self.config.noise
        some = []  # finding, images, noise, answers
        for number, column in enumerate(there.t()):
            for side in (column, ~column):
                rows = side.nonzero()[:, 0]
                images = signed(self.images[rows[torch.randperm(len(rows), generator=rng)[:32]]])
                plain = self.guide.answers(images, self.device)[:, number]
                some.append((number, images, torch.randn(images.shape, generator=rng), plain))
        gap = 0.1 * (levels[:, 1] - levels[:, 0])

        def moved(number: int, images: Tensor, grain: Tensor, plain: Tensor) -> Tensor:
            noisy = self.guide.answers(images + deviation * grain, self.device)[:, number]
            return (noisy - plain).abs().median()

        for _ in range(5 if deviation else 0):
            if all(bool(moved(*one) <= gap[one[0]]) for one in some):
                return deviation
            deviation /= 2
        return 0.0

    def step(self) -> None:
        """One step of D (and the reader), with R1 where it is due, and one of G."""
        self._step_discriminator()
        self._step_generator()
        self.steps += 1
        self.seen += self.config.batch
        self._move_average()
        if self.steps % 4 == 0:
            sign = self._signs[0] / self._signs[1]
            self.figures["real_sign"] = sign
            self.augment_p = next_probability(
                self.augment_p, sign, target=self.config.augment_target, images=4 * self.config.batch
            )
            self._signs = [0.0, 0.0]

    def _step_discriminator(self) -> None:
        dtype, reals = self.precision.of(self._try), self._draw_reals()
        with torch.no_grad():
            codes = self._draw_codes()
            fakes = self.generator.decode(codes, dtype=dtype)
        self.adam_d.zero_grad(set_to_none=True)
        logits = self.discriminator(self._augment(reals), dtype=dtype)
        features = self.discriminator.features(self._augment(fakes), dtype=dtype)
        loss = discriminator_loss(logits, self.discriminator.judge(features))
        self._note(loss_d=loss)
        self._signs = [self._signs[0] + float(logits.detach().sign().mean()), self._signs[1] + 1]
        (loss + self.config.identity * self._unread(features, codes)).backward()
        self._apply(self.adam_d, self.discriminator, self.reader)
        every = self.config.r1_every
        if every and self.steps % every == 0:
            self.adam_d.zero_grad(set_to_none=True)
            penalty = r1_penalty(lambda x: self.discriminator(self._augment(x)), reals, self.gamma)
            self._note(r1=penalty)
            (penalty * every).backward()
            self._apply(self.adam_d, self.discriminator)

    def _try(self, dtype: torch.dtype) -> None:
        """The passes of a step, for their time alone."""
        codes = torch.zeros(self.config.batch, self.generator.latent_size, device=self.device)
        fakes = smaller(self.generator.decode(codes, dtype=dtype), self.judged.resolution)
        once(fakes, partial(self.discriminator, dtype=dtype), self.generator.synthesis, self.discriminator)

    def _step_generator(self) -> None:
        config, dtype = self.config, self.precision.of(self._try)
        self.discriminator.requires_grad_(False)
        self.reader.requires_grad_(False)
        self.adam_g.zero_grad(set_to_none=True)
        codes = self._draw_codes(track=True)
        fakes = self.generator.decode(codes, dtype=dtype)
        features = self.discriminator.features(self._augment(fakes), dtype=dtype)
        adversary = generator_loss(self.discriminator.judge(features))
        change = torch.sub(*fakes.chunk(2))
        small = change.abs().mean() + total_variation(change)
        guided, unread = self._guided(fakes, codes), self._unread(features, codes)
        loss = adversary + config.guide * guided + config.change * small + config.identity * unread
        self._note(loss_g=adversary, guide=guided, change=small, identity=unread)
        self.figures["noise"] = self.noise
        loss.backward()
        self.discriminator.requires_grad_(True)
        self.reader.requires_grad_(True)
        self._apply(self.adam_g, self.generator)

    def _guided(self, fakes: Tensor, codes: Tensor) -> Tensor:
        """How far the guide's logits are from those asked: from both sides with the finding, from
        above without it (a healthy image may be as healthy as it likes)."""
        if not self.config.guide:
            return fakes.new_zeros(())
        noise = torch.randn(fakes.shape, generator=self.rng).to(fakes) * self.noise
        half = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision.name == "bf16")
        with half:
            logits = self.guide(fakes + noise).float()
        strength = self.generator.strength(codes)
        low, high = self.generator.levels.unbind(dim=1)
        off = (logits - self.generator.expected(strength)) / (high - low)
        off = torch.where(strength > 0, off, off.clamp_min(0.0))
        return F.smooth_l1_loss(off, torch.zeros_like(off), beta=0.1)

    def _unread(self, features: Tensor, codes: Tensor) -> Tensor:
        """Squared error of the codes that are read from an image, in units of their spread."""
        codes = codes.detach()
        error = (self.reader(features) - codes).square()
        a, p = self.generator.split(error)
        spread = self.generator.split(codes)[0].var(dim=0).mean().clamp_min(1e-4)
        return a.mean() / spread + p.mean() * self.size.pathology

    def _draw_codes(self, *, track: bool = False) -> Tensor:
        """Latents (batch, latent_size): half as many anatomies, with the finding, then without."""
        n = self.config.batch // 2
        z = torch.randn(n, self.size.anatomy, generator=self.rng).to(self.device)
        a = self.generator.mapping(z, track=track)
        p = self.generator.draw_pathology(n, self.rng)
        return torch.cat([torch.cat([a, p], dim=1), torch.cat([a, torch.zeros_like(p)], dim=1)])

    def _draw_reals(self) -> Tensor:
        """Images, one half of them with a finding."""
        half = self.config.batch // 2
        picks = [rows[torch.randint(len(rows), (half,), generator=self.rng)] for rows in self.rows]
        reals = signed(self.images[torch.cat(picks)].to(self.device))
        return mirror_half(reals, self.rng) if self.config.mirror else reals

    def _augment(self, images: Tensor) -> Tensor:
        """As the discriminator sees them."""
        seen = augment(images, preset(self.config.augment), self.augment_p, self.rng)
        return smaller(seen, self.judged.resolution)

    def _note(self, **losses: Tensor) -> None:
        """Keep the losses for the report; one that is no number ends the run before it does harm."""
        self.figures |= {name: float(loss.detach()) for name, loss in losses.items()}
        broken = [name for name in losses if not math.isfinite(self.figures[name])]
        if broken:
            self.discriminator.requires_grad_(True)
            self.reader.requires_grad_(True)
            raise ContrafactError(
                f"{', '.join(broken)} is not a finite number at {self.seen / 1000:.1f} kimg; its gradient "
                "was not used: check the guide and the images, or lower rate"
            )

    def _apply(self, adam: torch.optim.Adam, *networks: nn.Module) -> None:
        parameters = [p for network in networks for p in network.parameters()]
        self.figures["broken_gradients"] = float(clean_gradients(parameters))
        adam.step()

    def _move_average(self) -> None:
        config = self.config
        move_average(self.average, self.generator, seen=self.seen, batch=config.batch, kimg=config.ema_kimg)

    def state(self) -> dict[str, Tensor]:
        """Everything the next step depends on, as copied CPU tensors with flat names."""
        counts = [self.steps, self.seen, self.augment_p, *self._signs, self.gamma]
        return pack(
            self._modules(),
            self._adams(),
            rng=self.rng.get_state(),
            about=self.precision.noted(self.about),
            counts=torch.tensor(counts, dtype=torch.float64),
        )

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go back to a `state()`; one of another network, other images or other settings is refused."""
        with same_run(f"{self.size.resolution} px medxgan"):
            unpack(state, self._modules(), self._adams())
            self.rng.set_state(state["rng"])
            counts = state["counts"].tolist()
        check_trained_with(state, self.about)
        self.precision.go_on(state)
        self.steps, self.seen = int(counts[0]), int(counts[1])
        self.augment_p, self._signs = counts[2], counts[3:5]
        self.gamma = self.config.gamma or counts[5]

    def go_another_way(self, gamma: float, turn: int) -> None:
        """After a return to an earlier state: a stronger penalty and other random numbers."""
        self.gamma = gamma
        self.figures.clear()
        self.rng.manual_seed(self.config.seed * 1000 + 1 + turn * 104_729)

    def _adams(self) -> dict[str, torch.optim.Adam]:
        return {"adam_g": self.adam_g, "adam_d": self.adam_d}

    def _modules(self) -> dict[str, nn.Module]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "reader": self.reader,
            "average": self.average,
        }


class Checked:
    """A guide whose answers are logits (N, classes)."""

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

    def answers(self, images: Tensor, device: torch.device) -> Tensor:
        """Logits (N, classes), on the CPU."""
        with torch.no_grad():
            return torch.cat([self(signed(part.to(device))).float().cpu() for part in images.split(64)])

    def look(self, images: Tensor, device: torch.device) -> Tensor:
        """Logits (N, classes) of the training images; probabilities are refused."""
        logits = self.answers(images, device)
        if not bool(torch.isfinite(logits).all()):
            raise InputError("guide gave NaN or infinite logits for the training images")
        if not self.probabilities and len(logits) > 1 and 0 <= float(logits.min()) <= float(logits.max()) <= 1:
            raise InputError(
                "guide must give logits; every answer to the training images lies from 0 to 1, as "
                "probabilities do: give the values before the last softmax or sigmoid, or set "
                "probabilities = true, and their logits are taken"
            )
        return logits


def by_class(logits: Tensor) -> tuple[list[Tensor], Tensor]:
    """Rows of the images with a finding and without any, and the median logits (classes, 2) of the
    images without and with each finding."""
    levels = []
    for number, column in enumerate(logits.t()):
        there = column > 0
        if not 0 < int(there.sum()) < len(column):
            which = "has" if bool(there.all()) else "lacks"
            raise InputError(
                f"expected training images with and without finding {number}; by the guide every one of "
                f"{len(column)} {which} it: add images of the other class"
            )
        levels.append(torch.stack([column[~there].median(), column[there].median()]))
    some = (logits > 0).any(dim=1)
    if bool(some.all()):
        raise InputError("expected some training images without any finding; by the guide there is none")
    return [some.nonzero()[:, 0], (~some).nonzero()[:, 0]], torch.stack(levels)


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
