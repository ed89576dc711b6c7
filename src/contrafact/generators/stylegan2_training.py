"""The training of a StyleGAN2, one step at a time.

Source: Karras et al. 2020 (arXiv 1912.04958 and 2006.06676).
Differs: the whole state (networks, Adam, random numbers, augmentation, path length) is a flat
dictionary of tensors, so that a resumed run continues with exactly the same next step; an encoder may be
trained together with the generator (`joint`), and a projected discriminator beside the own one (`projected`).
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from contrafact.core.errors import InputError
from contrafact.generators.augmentation import augment, mirror_half, preset, signed
from contrafact.generators.checkpoint import load_known, same_run, trained_with
from contrafact.generators.discriminator import Discriminator
from contrafact.generators.encoder import EncoderConfig
from contrafact.generators.gan_run import adapt_augmentation, move_average, resume, saved, vary
from contrafact.generators.joint_encoder import Guide, JointEncoder
from contrafact.generators.losses import (
    clean_gradients,
    discriminator_loss,
    generator_loss,
    lazy_adam,
    path_lengths,
    path_penalty,
    r1_penalty,
)
from contrafact.generators.precision import Precision, check_precision, trial_step
from contrafact.generators.projected_discriminator import (
    ProjectedDiscriminator,
    generator_hinge,
)
from contrafact.generators.seeding import seeded
from contrafact.generators.stylegan2 import StyleGAN2, StyleGAN2Config


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerConfig:
    """Hyper-parameters of training a generator.

    kimg          thousands of real images in the training
    batch         images per step, over all devices
    rate          Adam's learning rate
    gamma         weight of R1; None = 0.0008 resolution^2 / batch
    r1_every, path_every   steps between regularisers (0: never)
    path_after_kimg        start of the path length regulariser, after the generator has learnt coarse structure
    mixing        probability of style mixing; 0 keeps one w per image, which inverts best
    ema_kimg      half-life of the averaged generator; None = 10 batch / 32
    mirror        flip images left to right at random (never for a frontal chest)
    augment       preset of the adaptive augmentation, see `generators.augmentation`
    augment_target         target of the mean sign of the discriminator's logits of real images
    projected     weight of the loss of a discriminator on fixed features of photographs (Sauer et al. 2021),
                  beside the own one; 0: none
    joint         weight of the losses of an encoder that is trained together with the generator, which then
                  draws half of each batch from encoded real images (Lang et al. 2021); 0: none
    precision     precision of the convolutions: bf16, fp16 or fp32; auto: bf16, on a CPU only where that is
                  faster than fp32. Both regularisers use float32
    seed          seed of this run; no global seed is set
    """

    kimg: float = 200.0
    batch: int = 32
    rate: float = 0.0025
    gamma: float | None = None
    r1_every: int = 16
    path_every: int = 8
    path_after_kimg: float = 20.0
    mixing: float = 0.0
    ema_kimg: float | None = None
    mirror: bool = False
    augment: str = "none"
    augment_target: float = 0.6
    projected: float = 0.0
    joint: float = 0.0
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        preset(self.augment)
        check_precision(self.precision)
        if self.batch < 2:
            raise InputError(f"batch must be at least 2; got {self.batch}")
        if not self.kimg > 0:
            raise InputError(f"kimg must be above 0; got {self.kimg}")
        if not 0 <= self.mixing <= 1:
            raise InputError(f"mixing must be from 0 to 1; got {self.mixing}")
        for name in ("projected", "joint"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must be 0 or more; got {getattr(self, name)}")
        if self.joint and self.mixing:
            raise InputError(f"mixing must be 0 with joint, whose encoder gives one w; got {self.mixing}")


class Team(Protocol):
    """A group of processes that train together, such as Lightning Fabric."""

    @property
    def world_size(self) -> int: ...
    @property
    def global_rank(self) -> int: ...
    def all_reduce(self, data: Tensor, *, reduce_op: str) -> Tensor: ...


class StyleGAN2Training:
    """The state of one training run. `step()` trains both networks on one batch.

    images  (N, C, R, R): uint8 (0 to 255) or float32 in [-1, 1]; they stay on their device
    labels  (N, labels) one-hot or None
    origin  further facts that a saved state must share, such as the window of the images
    encoder, guide  settings of the encoder of `joint`, and the model's scores that its images have to keep: a
            differentiable function of images in [-1, 1]; None: no scores
    raises  InputError for images or labels that do not fit, or a batch that the processes cannot share
    """

    def __init__(
        self,
        size: StyleGAN2Config,
        config: TrainerConfig,
        images: Tensor,
        *,
        labels: Tensor | None = None,
        device: torch.device | str = "cpu",
        team: Team | None = None,
        origin: Mapping[str, Any] | None = None,
        encoder: EncoderConfig | None = None,
        guide: Guide | None = None,
    ) -> None:
        _check_images(images, labels, size)
        self.size, self.config, self.images, self.labels = size, config, images, labels
        self.about = trained_with(config, images, origin)
        self.device, self.team = torch.device(device), team
        ranks, rank = (team.world_size, team.global_rank) if team else (1, 0)
        self.precision = Precision(config.precision, self.device, alone=ranks == 1)
        if config.batch % ranks:
            raise InputError(f"batch must be a multiple of {ranks} processes; got {config.batch}")
        self.local_batch = config.batch // ranks
        with seeded(config.seed, self.device):  # seeds the initial weights; the global state is restored
            self.generator = StyleGAN2(size).to(self.device)
            self.discriminator = Discriminator(size).to(self.device)
            self.projected = self.joint = None
            if config.projected:
                side, rate = size.resolution, config.rate
                self.projected = ProjectedDiscriminator(size.channels, side, self.device, rate)
            if config.joint:
                features = self.projected and self.projected.features
                own = encoder or EncoderConfig()
                self.joint = JointEncoder(
                    self.generator, own, guide=guide, features=features, device=self.device
                )
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.rng = torch.Generator().manual_seed(config.seed * 1000 + rank + 1)
        self.adam_g = lazy_adam(self.generator.parameters(), rate=config.rate, interval=config.path_every)
        self.adam_d = lazy_adam(self.discriminator.parameters(), rate=config.rate, interval=config.r1_every)
        self.steps, self.seen = 0, 0
        self.augment_p, self.signs = 0.0, [0.0, 0.0]
        self.path_mean = torch.zeros((), device=self.device)
        self.gamma = config.gamma or 0.0008 * size.resolution**2 / config.batch
        self.figures: dict[str, float] = {}

    def step(self) -> None:
        """Train the discriminator and the generator by one step each, with the regularisers that are due."""
        self._step_discriminator()
        self._step_generator()
        self.steps += 1
        self.seen += self.config.batch
        move_average(self)
        self._share_figures()
        adapt_augmentation(self)

    def _step_discriminator(self) -> None:
        dtype = self.precision.of(self._trial_step)
        reals, labels = self._sample_reals()
        with torch.no_grad():
            fakes, _ = self._draw(labels, reals, dtype=dtype)
        self.adam_d.zero_grad(set_to_none=True)
        real_logits = self.discriminator(self._augment(reals), labels, dtype=dtype)
        fake_logits = self.discriminator(self._augment(fakes), labels, dtype=dtype)
        loss = discriminator_loss(real_logits, fake_logits)
        loss.backward()
        self._note_signs(real_logits)
        self.figures["loss_d"] = float(loss.detach())
        self._apply(self.adam_d, self.discriminator)
        if self.projected is not None:
            self._step_projected(reals, fakes)
        every = self.config.r1_every
        if every and self.steps % every == 0:
            self.adam_d.zero_grad(set_to_none=True)
            penalty = r1_penalty(lambda x: self.discriminator(self._augment(x), labels), reals, self.gamma)
            (penalty * every).backward()
            self.figures["r1"] = float(penalty.detach())
            self._apply(self.adam_d, self.discriminator)

    def _trial_step(self, dtype: torch.dtype) -> None:
        """Run the passes of a training step without an update, to measure their time."""
        ws = torch.zeros(self.local_batch, self.size.w_dim, device=self.device)
        labels = torch.zeros(self.local_batch, self.size.labels, device=self.device)
        fakes = self.generator.synthesis(ws, dtype=dtype)
        discriminator = functools.partial(
            self.discriminator, labels=labels if self.size.labels else None, dtype=dtype
        )
        trial_step(fakes, discriminator, self.generator.synthesis, self.discriminator)

    def _step_generator(self) -> None:
        dtype = self.precision.of(self._trial_step)
        needed = self.size.labels or self.joint is not None
        reals, labels = self._sample_reals() if needed else (None, None)
        judges = [self.discriminator, *([] if self.projected is None else [self.projected.heads])]
        for judge in judges:
            judge.requires_grad_(False)
        self.adam_g.zero_grad(set_to_none=True)
        fakes, latents = self._draw(labels, reals, dtype=dtype, track=True)
        loss = generator_loss(self.discriminator(self._augment(fakes), labels, dtype=dtype))
        self.figures["loss_g"] = float(loss.detach())
        if self.projected is not None:
            loss = loss + self.config.projected * generator_hinge(self.projected(self._augment(fakes)))
        if self.joint is not None and reals is not None:
            self.joint.adam.zero_grad(set_to_none=True)
            (drawn, plain), (encoded, sampled) = (x.float().tensor_split(2) for x in (fakes, latents))
            errors, figures = self.joint.loss(reals[: len(drawn)], drawn, encoded, sampled, plain)
            self.figures |= figures
            loss = loss + self.config.joint * errors
        loss.backward()
        for judge in judges:
            judge.requires_grad_(True)
        self._apply(self.adam_g, self.generator)
        if self.joint is not None:
            self._apply(self.joint.adam, self.joint.encoder)
        every = self.config.path_every
        if every and self.steps % every == 0 and self.seen >= self.config.path_after_kimg * 1000:
            self._regularise_path(every)

    def _regularise_path(self, every: int) -> None:
        half = max(1, self.local_batch // 2)
        _, labels = self._sample_reals() if self.size.labels else (None, None)
        ws = self._sample_w(None if labels is None else labels[:half], n=half)
        ws = ws[:, None].expand(-1, self.size.num_ws, -1) if ws.ndim == 2 else ws
        self.adam_g.zero_grad(set_to_none=True)
        code = self._sample_code(half)
        lengths = path_lengths(lambda w: self.generator.synthesis(w, code, rng=self.rng), ws, self.rng)
        penalty = path_penalty(lengths, self.path_mean)
        if self.team and self.team.world_size > 1:
            self.path_mean = self.team.all_reduce(self.path_mean, reduce_op="mean")
        (penalty * every).backward()
        self.figures["path"] = float(penalty.detach())
        self._apply(self.adam_g, self.generator)

    def _sample_reals(self) -> tuple[Tensor, Tensor | None]:
        """Return a batch of training images, and their labels where there are any."""
        at = torch.randint(len(self.images), (self.local_batch,), generator=self.rng)
        reals = signed(self.images[at.to(self.images.device)].to(self.device))
        if self.config.mirror:
            reals = mirror_half(reals, self.rng)
        return reals, None if self.labels is None else self.labels[at].to(self.device).float()

    def _sample_w(self, labels: Tensor | None, *, n: int | None = None, track: bool = False) -> Tensor:
        n = n or self.local_batch
        z = torch.randn(2, n, self.size.z_dim, generator=self.rng).to(self.device)
        w: Tensor = self.generator.mapping(z[0], labels, track=track)
        if float(torch.rand((), generator=self.rng)) >= self.config.mixing:
            return w
        cross = int(torch.randint(1, self.size.num_ws, (), generator=self.rng))
        late = torch.arange(self.size.num_ws, device=self.device)[None, :, None] >= cross
        return torch.where(late, self.generator.mapping(z[1], labels)[:, None], w[:, None])

    def _sample_code(self, n: int) -> Tensor | None:
        """Return sampled spatial codes (n, spatial, cells, cells); None for a generator without them."""
        if not self.size.spatial:
            return None
        side = self.size.code_side
        return self.generator.draw_code(n, self.rng).unflatten(1, (self.size.spatial, side, side))

    def _draw(
        self, labels: Tensor | None, reals: Tensor | None, *, dtype: torch.dtype, track: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return a batch of generated images and their latents; with a joint encoder the first half of them is
        drawn from the encoded first half of `reals`."""
        if self.joint is None or reals is None:
            w = self._sample_w(labels, track=track)
            code = self._sample_code(len(w))
            return self.generator.synthesis(w, code, dtype=dtype, rng=self.rng), w
        half = (self.local_batch + 1) // 2
        encoded = self.joint.encoder(reals[:half])
        rest = None if labels is None else labels[half:]
        sampled = self._sample_w(rest, n=self.local_batch - half, track=track)
        if self.size.spatial:
            sampled = torch.cat([sampled, self.generator.draw_code(len(sampled), self.rng)], dim=1)
        latents = torch.cat([encoded, sampled])
        w, code = self.generator.split(latents)
        return self.generator.synthesis(w, code, dtype=dtype, rng=self.rng), latents

    def _step_projected(self, reals: Tensor, fakes: Tensor) -> None:
        """Train the heads of the projected discriminator by one step."""
        assert self.projected is not None
        self.projected.adam.zero_grad(set_to_none=True)
        loss = self.projected.loss(self._augment(reals), self._augment(fakes))
        loss.backward()
        self.figures["loss_p"] = float(loss.detach())
        self._apply(self.projected.adam, self.projected.heads)

    def _augment(self, images: Tensor) -> Tensor:
        return augment(images, preset(self.config.augment), self.augment_p, self.rng)

    def _note_signs(self, real_logits: Tensor) -> None:
        """Add the mean sign of the logits of real images, which controls the augmentation."""
        signs = real_logits.detach().sign().mean()
        if self.team:
            signs = self.team.all_reduce(signs, reduce_op="mean")
        self.signs[0] += float(signs)
        self.signs[1] += 1

    def _apply(self, adam: torch.optim.Adam, network: nn.Module) -> None:
        """Average the gradients over all processes, and update the weights."""
        parameters = [p for p in network.parameters() if p.grad is not None]
        if self.team and self.team.world_size > 1:
            for parameter in parameters:
                gradient = parameter.grad
                if gradient is not None:
                    parameter.grad = self.team.all_reduce(gradient, reduce_op="mean")
        self.figures["broken_gradients"] = float(clean_gradients(parameters))
        adam.step()

    def _share_figures(self) -> None:
        """Average the figures over all processes, so that all stop and roll back together."""
        if self.team and self.team.world_size > 1:
            names = sorted(self.figures)
            values = torch.tensor([self.figures[n] for n in names], device=self.device)
            shared = self.team.all_reduce(values, reduce_op="mean").tolist()
            self.figures = dict(zip(names, shared, strict=True))

    def state(self) -> dict[str, Tensor]:
        """Return everything that the next step depends on, as copied CPU tensors with flat names."""
        return saved(self, path_mean=self.path_mean)

    def begin_with(self, generator: Mapping[str, Tensor], encoder: Mapping[str, Tensor] | None = None) -> None:
        """Begin with the weights of a trained generator, and of its encoder where one is trained too.

        A spatial code may be new; it begins with a small effect.
        raises  InputError for weights of other sizes
        """
        with same_run(f"{self.size.resolution} px"):
            for network in (self.generator, self.average):
                load_known(network, generator, new=("synthesis.from_code",))
            if self.joint is None:
                return
            if encoder is not None:
                own = {k: v for k, v in encoder.items() if k not in ("w_avg", "w_std")}
                load_known(self.joint.encoder, own, new=("network.code", "w_avg", "w_std"))
            self.joint.centre(self.generator)

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore a `state()`. Raise InputError for one of another network, other images or settings."""
        name = f"{self.size.resolution} px"
        resume(self, state, name)
        with same_run(name):
            self.path_mean = state["path_mean"].to(self.device, copy=True)
        if self.team and self.team.global_rank:  # the saved random state is that of the first process
            self.rng.manual_seed(self.config.seed * 1000 + self.team.global_rank + 1 + self.steps * 7919)

    def vary_after_rollback(self, gamma: float, turn: int) -> None:
        """Set another R1 weight and other random numbers after the rollback number `turn`, so that the training
        does not repeat the same steps."""
        vary(self, gamma, turn, rank=self.team.global_rank if self.team else 0)

    def adams(self) -> dict[str, torch.optim.Adam]:
        more = {"projected": self.projected, "joint": self.joint}
        others = {f"adam_{name}": part.adam for name, part in more.items() if part is not None}
        return {"adam_g": self.adam_g, "adam_d": self.adam_d, **others}

    def modules(self) -> dict[str, nn.Module]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average,
            **({} if self.projected is None else self.projected.modules()),
            **({} if self.joint is None else {"encoder": self.joint.encoder}),
        }


def _check_images(images: Tensor, labels: Tensor | None, size: StyleGAN2Config) -> None:
    expected = (size.channels, size.resolution, size.resolution)
    if images.ndim != 4 or tuple(images.shape[1:]) != expected:
        raise InputError(f"images must be (N, {expected}); got {tuple(images.shape)}")
    if len(images) == 0:
        raise InputError("expected at least one training image; got an empty cohort")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise InputError(f"images must be uint8 or float in [-1, 1]; got {images.dtype}")
    if (labels is None) != (size.labels == 0):
        given = "none" if labels is None else "labels"
        raise InputError(f"this generator takes {size.labels} labels; got {given}")
