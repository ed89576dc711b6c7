"""The training of a translator with a frozen model, the argument `guide`.

Source: Singla et al. 2020 (arXiv 1911.00483), 2023 (arXiv 2101.04230). Differs: the discriminator is
projected and conditioned on the score, with the model's own scores for real images, so that a translated
image must resemble real images of its score; the guide's input is shifted, blurred and noisy, so that the
change must survive these perturbations; images and goals are sampled evenly over the scores, so that rare
findings are as frequent as common ones; the change is kept small by a loss that saturates per pixel,
so that a few pixels may change much; regions that may change are sampled at random. A resumed run continues
with exactly the same next step.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrafact.core.errors import ContrafactError, InputError
from contrafact.core.fingerprint import fingerprint
from contrafact.generators.augmentation import mirror_half, signed
from contrafact.generators.checkpoint import check_trained_with, pack, same_run, trained_with, unpack
from contrafact.generators.precision import Precision, channels_last
from contrafact.generators.projected_discriminator import (
    ConditionalHeads,
    PlainFeatures,
    ProjectedFeatures,
    RandomLayers,
    generator_hinge,
    hinge_generated,
    hinge_real,
)
from contrafact.generators.seeding import seeded
from contrafact.generators.student import Student
from contrafact.generators.translator import Translator, TranslatorConfig
from contrafact.generators.translator_losses import (
    blurred,
    huber,
    in_units_of,
    otherwise_exposed,
    shifted,
    variation,
)
from contrafact.generators.translator_regions import LocalRegions, discs_around, random_boxes
from contrafact.generators.translator_settings import TranslatorTrainerConfig, check_images, check_pairs

Guide = Callable[[Tensor], Tensor]
NEIGHBOURS = 30  # number of images on either side of a score, among which one is sampled


class TranslatorTraining:
    """The state of one training run of a translator. `step()` trains both networks on one batch.

    images  uint8 or float32 (N, C, *S) in [-1, 1] at the translator's resolution
    guide   function of images in [-1, 1] to scores (N, targets), differentiable unless `black_box`
    pairs   images (P, C, *S) with a finding, and the same images without it, such as patches with a pasted
            lesion: examples of its removal, and of its addition in the region where they differ
    allies  other models of the same scores, (N, targets) each: the requested score must be reached for all of
            them, so that what only one model sees earns little; their units are fitted to the guide's
    black_box   the guide gives no gradients: a `Student` imitates it, and replaces it in the loss
    seen    number of images so far; `figures`: losses of the last step; `average`: the translator with
            averaged weights, which is the result
    raises  InputError for images that do not fit, or scores that are not finite or constant
    """

    def __init__(
        self,
        size: TranslatorConfig,
        config: TranslatorTrainerConfig,
        images: Tensor,
        *,
        guide: Guide,
        pairs: tuple[Tensor, Tensor] | None = None,
        allies: Sequence[Guide] = (),
        black_box: bool = False,
        device: str | torch.device = "cpu",
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        check_images(images, size, config)
        self.device = torch.device(device)
        self.config, self.images, self.guide, self.pairs = config, images, guide, pairs
        self.rng = torch.Generator().manual_seed(config.seed)
        self.scores = self._scores_of(images)
        self.allies = [(ally, *in_units_of(self.scores, self._scores_by(ally, images))) for ally in allies]
        if pairs is None and config.pair_kimg:
            raise InputError(f"expected pairs to begin with, for pair_kimg = {config.pair_kimg:g}; got none")
        if pairs is not None:
            check_pairs(pairs, images)
            self.pair_scores = tuple(self._scores_by(guide, part) for part in pairs)
            origin = {**(origin or {}), "pair images": [fingerprint(part.cpu().numpy()) for part in pairs]}
        if allies:
            origin = {**(origin or {}), "allies": [[g.tolist(), o.tolist()] for _, g, o in self.allies]}
        self.order = self.scores.argsort(dim=0)
        self.local = LocalRegions(images, self.scores, guide, size.place, self.device) if size.place else None
        with seeded(config.seed, self.device):
            self.translator = Translator(size).to(self.device)
            features = ProjectedFeatures if config.features == "photographs" else PlainFeatures
            self.features = features(size.channels, size.resolution).to(self.device)
            heads = ConditionalHeads(self.features.shapes, numbers=2 * size.targets, axes=size.axes)
            self.heads = heads.to(self.device)
            self.student = (
                Student(size.channels, size.targets, axes=size.axes).to(self.device) if black_box else None
            )
        if size.axes == 2:  # 1.2 to 1.6 times as fast on the tested CPUs, and the layout of tensor cores
            for network in (self.translator, self.features, self.heads):
                channels_last(network)
        self.translator.low.copy_(self.scores.quantile(0.03, dim=0))
        self.translator.high.copy_(self.scores.quantile(0.97, dim=0))
        self.average = copy.deepcopy(self.translator).eval().requires_grad_(False)
        self.adam = torch.optim.Adam(self.translator.parameters(), config.rate, (0.5, 0.99))
        self.adam_student = None
        if self.student is not None:
            self.student.low.copy_(self.translator.low)
            self.student.high.copy_(self.translator.high)
            self.adam_student = torch.optim.Adam(self.student.parameters(), config.rate)
        self.adam_heads = torch.optim.Adam(self.heads.parameters(), 0.4 * config.rate, (0.0, 0.99))
        self.seen, self.figures = 0, dict[str, float]()
        self.about = trained_with(config, images, {**(origin or {}), "size": asdict(size)})
        self.precision = Precision(config.precision, self.device)

    def step(self) -> None:
        """Train the translator and its discriminator (and the student) by one step each, on one batch; at the
        start the translator alone, on pairs, where the configuration asks for it."""
        if self.pairs is not None and self.seen < 1000 * self.config.pair_kimg:
            self._step_of_pairs()
            return
        b, low, high = self.config.batch, self.translator.low.cpu(), self.translator.high.cpu()
        which = torch.randint(self.config_targets, (b,), generator=self.rng)
        sources, to = (low[which] + torch.rand(b, generator=self.rng) * (high - low)[which] for _ in range(2))
        rows, real_rows = self._rows_near(sources, which), self._rows_near(to, which)
        now, to = self.scores[rows, which].to(self.device), to.to(self.device)
        images, reals, region = self._batch_of(rows, real_rows, (to > now).cpu())
        which = which.to(self.device)
        with self._autocast():
            translated = self.translator(images, now, to, which=which, region=region)
            warp = self._shifts(b, 0.25)  # of the discriminator's input
            features = self.features(self._exposed(shifted(translated, warp)))
            logits = self.heads(features, self._condition(to, which))
            scores = self._guided(translated.float())[:, torch.arange(b), which]
            part = slice(0, b // 4)
            back = images[part]
            if self.config.cycle:
                back = self.translator(
                    translated[part], to[part], now[part], which=which[part], region=region[part]
                )
            same = self.translator(images[part], now[part], now[part], which=which[part], region=region[part])
            wrong = self._of_pairs(b // 4)
        change = translated.float() - images
        half_range = ((self.translator.high - self.translator.low) / 2)[which]
        losses = {
            "guide": self.config.guide
            * F.smooth_l1_loss(scores / half_range, (to / half_range).expand_as(scores)),
            "adversarial": self.config.adversarial * generator_hinge(logits),
            "size": self.config.size * self._size(change),
            "smooth": self.config.smooth * variation(change),
            "cycle": self.config.cycle * huber(back.float() - images[part]),
            "identity": self.config.identity * huber(same.float() - images[part]),
            **({} if wrong is None else {"pairs": self.config.pairs * wrong.square().mean()}),
        }
        self._apply(self.adam, torch.stack(list(losses.values())).sum(), self.translator)
        with self._autocast():
            with torch.no_grad():
                real_features = self.features(self._exposed(shifted(reals, warp.flip(0))))
            on_real = self.heads(real_features, self._condition_of(real_rows, which))
            on_translated = self.heads([scale.detach() for scale in features], self._condition(to, which))
        discriminator = hinge_real(on_real) + hinge_generated(on_translated)
        self._apply(self.adam_heads, discriminator, self.heads)
        self._train_student(
            torch.cat([images, reals]), torch.cat([rows, real_rows]), translated.detach().float()
        )
        self.seen += b
        self._move_average()
        missed = (scores[0].detach() - to).abs().mean()
        self._record(
            {**losses, "discriminator": discriminator, "missed": missed, "changed": change.abs().mean()}
        )

    def _guided(self, translated: Tensor) -> Tensor:
        """Return the scores (G, N, targets) of translated images by the model, or its student, and by the
        allies, in units of the model's score."""
        seen = self._perturbed(translated)
        scores = [(self.student or self.guide)(seen).float()]
        scores += [(ally(seen).float() - offset) / gain for ally, gain, offset in self.allies]
        return torch.stack(scores)

    def _train_student(self, real: Tensor, rows: Tensor, translated: Tensor) -> None:
        """Train the student of a black box by one step, on real images with their known scores and on
        translated images, which the model scores."""
        if self.student is None or self.adam_student is None:
            return
        with torch.no_grad():
            translated_scores = self.guide(translated).float().to(self.device)
        images = torch.cat([real, translated])
        scores = torch.cat([self.scores[rows].to(self.device), translated_scores])
        with self._autocast():
            loss = self.student.loss(self._perturbed(images), scores)
        self._apply(self.adam_student, loss, self.student)

    def state(self) -> dict[str, Tensor]:
        """Return everything that the next step depends on."""
        return pack(
            self._modules(),
            self._adams(),
            seen=torch.tensor(self.seen),
            rng=self.rng.get_state(),
            about=self.precision.recorded(self.about),
        )

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restore a `state()`. Raise InputError for one of another configuration or other images."""
        check_trained_with(state, self.about)
        self.precision.resume(state)
        with same_run("translator"):
            unpack(state, self._modules(), self._adams())
            self.seen = int(state["seen"])
            self.rng.set_state(state["rng"].cpu())

    @property
    def config_targets(self) -> int:
        """Return the number of targets of the translator."""
        return self.translator.config.targets

    def _scores_of(self, images: Tensor) -> Tensor:
        """Return the guide's scores (N, targets) of the training images. Raise InputError where they are not
        finite, or constant."""
        scores = self._scores_by(self.guide, images)
        if bool((scores.quantile(0.97, dim=0) - scores.quantile(0.03, dim=0) < 1e-3).any()):
            raise InputError(
                "expected scores that differ between training images; got the same score for all; check the "
                "target"
            )
        return scores

    def _scores_by(self, guide: Guide, images: Tensor) -> Tensor:
        with torch.no_grad():
            parts = [guide(signed(part.to(self.device))).float().cpu() for part in images.split(128)]
        scores = torch.cat(parts)
        if not bool(torch.isfinite(scores).all()):
            raise InputError("expected finite scores of the training images; got NaN or infinite values")
        return scores

    def _rows_near(self, score: Tensor, which: Tensor) -> Tensor:
        """Return rows (N,) of random training images among the `NEIGHBOURS` of each score (N,)."""
        chosen = torch.empty(len(score), dtype=torch.long)
        reach = min(NEIGHBOURS, (len(self.images) - 1) // 2)
        for number in range(self.config_targets):
            selected = (which == number).nonzero()[:, 0]
            order = self.order[:, number]
            position = torch.searchsorted(self.scores[order, number].contiguous(), score[selected])
            position = position.clamp(reach, len(order) - 1 - reach)
            offset = torch.randint(-reach, reach + 1, position.shape, generator=self.rng)
            chosen[selected] = order[position + offset]
        return chosen

    def _batch_of(self, rows: Tensor, reals: Tensor, rises: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the training images of `rows` and of `reals`, and where the first may change."""
        if self.local is None:
            return self._images_of(rows), self._images_of(reals), self._regions(len(rows))
        images = signed(self.images[rows].to(self.device))
        both = torch.cat([images, self.local.sample(rows, rises, self.rng).to(self.device)], dim=1)
        images, region = self._mirrored(both).split([images.shape[1], 1], dim=1)
        return images, self._images_of(reals), region

    def _images_of(self, rows: Tensor) -> Tensor:
        """Return the training images of those rows, randomly flipped where `mirror` is set."""
        return self._mirrored(signed(self.images[rows].to(self.device)))

    def _mirrored(self, images: Tensor) -> Tensor:
        return mirror_half(images, self.rng) if self.config.mirror else images

    def _regions(self, n: int) -> Tensor:
        """Return sampled regions (n, 1, *S) that may change: everywhere, inside a box, or outside it."""
        size = self.translator.config
        shape = (size.resolution,) * size.axes
        return random_boxes(n, shape, self.config.regions, self.rng).to(self.device)

    def _condition(self, score: Tensor, which: Tensor) -> Tensor:
        """Return the discriminator's condition (N, 2 targets): scaled scores, and one-hot targets."""
        scaled = torch.zeros(len(score), self.config_targets, device=self.device)
        scaled[torch.arange(len(score)), which] = self.translator._scaled(score, which)
        return torch.cat([scaled, F.one_hot(which, self.config_targets).to(scaled)], dim=1)

    def _condition_of(self, rows: Tensor, which: Tensor) -> Tensor:
        """Return the condition (N, 2 targets) of real training images."""
        return self._condition(self.scores[rows, which.cpu()].to(self.device), which)

    def _perturbed(self, images: Tensor) -> Tensor:
        """Return images as input of the guide: shifted, half of them blurred, with noise."""
        n = len(images)
        x = shifted(images, self._shifts(n, 2 * self.config.jitter))
        smooth = blurred(x)
        chosen = torch.rand(n, generator=self.rng).to(self.device) < 0.5
        x = self._exposed(torch.where(chosen.view(-1, *(1,) * (x.ndim - 1)), smooth, x))
        return x + self.config.noise * torch.randn(x.shape, generator=self.rng).to(self.device)

    def _step_of_pairs(self) -> None:
        """Train the translator by one step on pairs, and on images that are asked for their own score: without
        these it learns to change whatever the request, and unlearns everything in the first full steps."""
        rows = torch.randint(len(self.images), (self.config.batch,), generator=self.rng)
        which = torch.randint(self.config_targets, (self.config.batch,), generator=self.rng)
        images, now = self._images_of(rows), self.scores[rows, which].to(self.device)
        with self._autocast():
            wrong = self._of_pairs(self.config.batch // 2)
            same = self.translator(images, now, now, which=which.to(self.device)).float() - images
        assert wrong is not None
        loss = wrong.square().mean() + same.square().mean()
        self._apply(self.adam, loss, self.translator)
        self.seen += self.config.batch
        self._move_average()
        if self.seen >= 1000 * self.config.pair_kimg:
            self.adam.state.clear()  # the losses that follow have gradients of another size
        self._record({"pairs": self.config.pairs * loss})

    def _of_pairs(self, n: int) -> Tensor | None:
        """Return what is wrong (2 n, C, *S) with translations of n pairs: from their first images to their
        second, and back where the region is given in which they differ; None without pairs."""
        if self.pairs is None or not (self.config.pairs or self.config.pair_kimg):
            return None
        rows = torch.randint(len(self.pairs[0]), (n,), generator=self.rng)
        which = torch.randint(self.config_targets, (n,), generator=self.rng)
        both = torch.cat([signed(part[rows].to(self.device)) for part in self.pairs], dim=1)
        before, after = self._mirrored(both).chunk(2, dim=1)
        now, to = (scores[rows, which].to(self.device) for scores in self.pair_scores)
        differs = blurred((before - after).abs().amax(dim=1, keepdim=True)) > 0
        region, whole = differs, torch.ones_like(differs)
        if self.local is not None:
            region = whole = discs_around(differs, self.rng)
        translated: Tensor = self.translator(
            torch.cat([before, after]),
            torch.cat([now, to]),
            torch.cat([to, now]),
            which=which.repeat(2).to(self.device),
            region=torch.cat([whole, region]).to(before),
        )
        return translated.float() - torch.cat([after, before])

    def _exposed(self, images: Tensor) -> Tensor:
        """Return images with random brightness, contrast and colours, as far as `exposure` says."""
        return otherwise_exposed(images, self.config.exposure, self.rng) if self.config.exposure else images

    def _shifts(self, n: int, width: float) -> Tensor:
        """Return n random shifts as affine maps (n, axes, axes + 1), uniform over `width` (a side is 2)."""
        axes = self.translator.config.axes
        theta = torch.eye(axes, axes + 1).repeat(n, 1, 1)
        theta[:, :, -1] = (torch.rand(n, axes, generator=self.rng) - 0.5) * width
        return theta.to(self.device)

    def _size(self, change: Tensor) -> Tensor:
        """Return the loss of a change's size: saturating, or Huber's."""
        if not self.config.saturation:
            return huber(change)
        square = change.square()
        return (square / (square + self.config.saturation**2)).mean() * 0.1

    def _autocast(self) -> torch.autocast:
        half = self.precision.of(self._trial_step) == torch.bfloat16
        return torch.autocast(self.device.type, torch.bfloat16, enabled=half)

    def _trial_step(self, dtype: torch.dtype) -> None:
        """Run one pass of the translator with gradients, to measure its time."""
        images, score = signed(self.images[torch.arange(4).clamp_max(len(self.images) - 1)]), torch.zeros(4)
        which = torch.zeros(4, dtype=torch.long)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            translated = self.translator(images, score, score, which=which)
        torch.autograd.grad(translated.float().sum(), list(self.translator.out.parameters()))

    def _apply(self, adam: torch.optim.Adam, loss: Tensor, network: nn.Module) -> None:
        if not bool(torch.isfinite(loss)):
            raise ContrafactError(
                "expected a finite loss; got NaN or infinity; lower the rate, or set precision = 'fp32'"
            )
        parameters = list(network.parameters())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        adam.step()
        adam.zero_grad(set_to_none=True)

    def _move_average(self) -> None:
        reach = min(self.config.ema_kimg * 1000, 0.1 * self.seen)
        keep = 0.5 ** (self.config.batch / max(reach, 1.0))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.translator.parameters(), strict=True):
                mean.lerp_(value, 1 - keep)

    def _record(self, figures: Mapping[str, Tensor]) -> None:
        self.figures = {name: float(value.detach()) for name, value in figures.items()}

    def _adams(self) -> dict[str, torch.optim.Adam]:
        own = {} if self.adam_student is None else {"adam_student": self.adam_student}
        return {"adam": self.adam, "adam_heads": self.adam_heads, **own}

    def _modules(self) -> dict[str, nn.Module]:
        parts: dict[str, nn.Module] = {"translator": self.translator, "average": self.average}
        parts |= {"heads": self.heads, **({} if self.student is None else {"student": self.student})}
        return {**parts, "features": RandomLayers(self.features)}
