"""The translator: a network that changes an image to another score of a model in one pass.

x' = x + change(x, now, to) · mask(x, now, to), where `now` is the model's score of x and `to` the requested
score. Pixels outside the mask keep their exact values, so no inversion of the image is needed.

Source: Singla et al. 2020 (arXiv 1911.00483), 2023 (arXiv 2101.04230): a conditional generator that
exaggerates a classifier's score step by step; Mertes et al. 2022 (GANterfactual). Differs: the image is
changed by a masked residual, not generated anew; the requested score is a number, not a bin; the encoder's
input is only the image and its own score, so that all frames of one image share one encoder pass; a region
can limit the change.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrafact.core.errors import InputError
from contrafact.generators.translator_regions import places, values_around

EMBEDDING = 128
WIDTHS = (24, 48, 96, 128)


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslatorConfig:
    """Size of a translator. About 0.9 million parameters at the default widths in 2D.

    resolution  pixels of a side, a multiple of fold · 2^(len(widths) - 1)
    channels    of the image
    axes        2, or 3 for volumes
    widths      feature channels from the finest level to the coarsest
    fold        side of the blocks of pixels that become channels at the input: 2 costs a quarter of 1
    targets     number of scores of the model that can condition it
    place       middle diameter, as a share of a side, of the discs within which the image may change: for
                findings that are local, such as a nodule; 0: everywhere
    """

    resolution: int = 64
    channels: int = 1
    axes: int = 2
    widths: tuple[int, ...] = WIDTHS
    fold: int = 2
    targets: int = 1
    place: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        step = self.fold * 2 ** (len(self.widths) - 1)
        if self.axes not in (2, 3):
            raise InputError(f"axes must be 2 or 3; got {self.axes}")
        if min(self.channels, self.fold, self.targets, len(self.widths), *self.widths) < 1:
            raise InputError(f"channels, widths, fold and targets must be at least 1; got {self}")
        if not 0 <= self.place <= 1:
            raise InputError(f"place must be from 0 to 1; got {self.place}")
        if self.resolution < step or self.resolution % step:
            raise InputError(
                f"resolution must be a multiple of {step} with fold {self.fold} and {len(self.widths)} widths; "
                f"got {self.resolution}"
            )


class Translator(nn.Module):
    """A network from images (N, C, *S) in [-1, 1] and scores to images at another score.

    `low` and `high` (targets,) are the limits of the scores in training; beyond them it extrapolates.
    """

    low: Tensor
    high: Tensor

    def __init__(self, config: TranslatorConfig) -> None:
        super().__init__()
        self.config = config
        wide = config.widths
        folded = config.fold**config.axes
        entry = (config.channels + 1) * folded  # the image and the region
        self.register_buffer("low", torch.full((config.targets,), -2.2))
        self.register_buffer("high", torch.full((config.targets,), 2.2))
        self.of_image = _scores_to_embedding(1 + config.targets)
        self.of_goal = _scores_to_embedding(3 + config.targets)
        self.down = nn.ModuleList(
            _Level(before, after, config.axes) for before, after in zip((entry, *wide), wide, strict=False)
        )
        self.up = nn.ModuleList(
            _Level(coarse + fine, fine, config.axes)
            for fine, coarse in zip(reversed(wide[:-1]), reversed(wide[1:]), strict=True)
        )
        self.bottom = _Level(wide[-1], wide[-1], config.axes)
        self.out = _convolution(config.axes, wide[0], 2 * config.channels * folded)
        for parameter in self.out.parameters():  # the initial change is 0
            nn.init.zeros_(parameter)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Return the shape (C, *S) of an image."""
        return (self.config.channels, *(self.config.resolution,) * self.config.axes)

    @property
    def places(self) -> Tensor | None:
        """Return the regions (P, 1, *S) in which a change is tried, where the finding is local; None: the whole
        image may change."""
        return places(self.image_shape[1:], self.config.place) if self.config.place else None

    def forward(
        self,
        images: Tensor,
        now: Tensor,
        to: Tensor,
        *,
        which: Tensor | None = None,
        region: Tensor | None = None,
    ) -> Tensor:
        """Return images (N, C, *S) with scores `now` (N,) translated to the scores `to` (N,).

        which   (N,) indices of the scores' targets; None: the first target
        region  (N, 1, *S), 1 where the image may change, else 0; None: everywhere
        """
        return self.translate(self.encode(images, now, which=which, region=region), to)

    def encode(
        self, images: Tensor, now: Tensor, *, which: Tensor | None = None, region: Tensor | None = None
    ) -> Encoded:
        """Return the encoding that all frames of the same images share; it costs a third of a full pass."""
        which = torch.zeros(len(images), dtype=torch.long, device=images.device) if which is None else which
        region = torch.ones_like(images[:, :1]) if region is None else region.to(images)
        scaled = self._scaled(now, which)
        kind = F.one_hot(which, self.config.targets).to(images)
        embedded = self.of_image(torch.cat([scaled[:, None], kind], dim=1))
        x = fold(torch.cat([images, region], dim=1), self.config.fold)
        features = []
        for number, level in enumerate(self.down):
            x = level(halved(x) if number else x, embedded)
            features.append(x)
        around = values_around(images, region) if self.config.place else None
        return Encoded(images, region, which, scaled, kind, tuple(features), around)

    def translate(self, encoded: Encoded, to: Tensor) -> Tensor:
        """Return the frames (N, C, *S) of encoded images at the scores `to` (N,)."""
        goal = self._scaled(to, encoded.which)
        numbers = torch.stack([encoded.now, goal, goal - encoded.now], dim=1)
        embedded = self.of_goal(torch.cat([numbers, encoded.kind], dim=1))
        *finer, coarsest = encoded.features
        x = self.bottom(coarsest, embedded)
        for level, fine in zip(self.up, reversed(finer), strict=True):
            x = level(torch.cat([doubled(x), fine], dim=1), embedded)
        change, mask = unfold(self.out(x).float(), self.config.fold, self.config.axes).chunk(2, dim=1)
        images, region = encoded.images, encoded.region
        change = change * torch.sigmoid(mask + 1)
        if self.config.fold > 1:
            change = without_comb(change)
        changed = (images + change * region).clamp(-1.0, 1.0)
        if encoded.around is not None:
            low, high = (limit.to(changed) for limit in encoded.around)
            falls = (goal < encoded.now).view(-1, *(1,) * (images.ndim - 1))
            within = changed.maximum(low.minimum(images)).minimum(high.maximum(images))
            if changed.requires_grad:  # training: what lies beyond a limit still learns to come back
                within = changed + (within - changed).detach()
            changed = torch.where(falls, within, changed)
        return torch.where(region > 0, changed, images)  # outside the region the values are exactly equal

    def _scaled(self, score: Tensor, which: Tensor) -> Tensor:
        """Return scores (N,) scaled from [low, high] of their targets to [-1, 1]."""
        low, high = self.low[which], self.high[which]
        return (score.to(low) - (high + low) / 2) / ((high - low) / 2).clamp_min(1e-6)


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """Encoded images: the features that their frames share, the scaled scores `now` (N,), the one-hot targets
    `kind` (N, targets), and of a local finding the limits of the values around each region (N, C, 1, ...): what
    replaces the finding lies between them."""

    images: Tensor
    region: Tensor
    which: Tensor
    now: Tensor
    kind: Tensor
    features: tuple[Tensor, ...]
    around: tuple[Tensor, Tensor] | None = None

    def rows(self, chosen: Tensor) -> Encoded:
        """Return the selected images, in that order and with repetitions."""
        parts = (self.images, self.region, self.which, self.now, self.kind)
        images, region, which, now, kind = (part[chosen] for part in parts)
        around = None if self.around is None else (self.around[0][chosen], self.around[1][chosen])
        return Encoded(images, region, which, now, kind, tuple(part[chosen] for part in self.features), around)


class _Level(nn.Module):
    """Two convolutions of width 3; the embedded scores modulate the channels between them."""

    def __init__(self, before: int, after: int, axes: int) -> None:
        super().__init__()
        self.first, self.second = _convolution(axes, before, after), _convolution(axes, after, after)
        self.style = nn.Linear(EMBEDDING, 2 * after)
        nn.init.zeros_(self.style.weight)
        nn.init.zeros_(self.style.bias)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(x), 0.2)
        x = x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-4)
        style = self.style(embedded).to(x)
        gain, offset = style.view(*style.shape, *(1,) * (x.ndim - 2)).chunk(2, dim=1)
        return F.leaky_relu(self.second(x * (1 + gain) + offset), 0.2)


def _scores_to_embedding(numbers: int) -> nn.Module:
    return nn.Sequential(nn.Linear(numbers, EMBEDDING), nn.SiLU(), nn.Linear(EMBEDDING, EMBEDDING), nn.SiLU())


def _convolution(axes: int, before: int, after: int) -> nn.Conv2d | nn.Conv3d:
    return (nn.Conv2d if axes == 2 else nn.Conv3d)(before, after, 3, padding=1)


def halved(x: Tensor) -> Tensor:
    """Return x (N, C, *S) at half the size, by means."""
    return F.avg_pool2d(x, 2) if x.ndim == 4 else F.avg_pool3d(x, 2)


def doubled(x: Tensor) -> Tensor:
    """Return x (N, C, *S) at twice the size, by linear interpolation between pixel centres."""
    return F.interpolate(
        x, scale_factor=2, mode="bilinear" if x.ndim == 4 else "trilinear", align_corners=False
    )


def without_comb(x: Tensor) -> Tensor:
    """Return x (N, C, *S) filtered with weights 1, 2, 1 along every axis, which removes the pattern of
    alternating pixels that unfolding creates."""
    for axis in range(2, x.ndim):
        side = x.shape[axis]
        before = torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, side - 1)], dim=axis)
        after = torch.cat([x.narrow(axis, 1, side - 1), x.narrow(axis, side - 1, 1)], dim=axis)
        x = (before + 2 * x + after) / 4
    return x


def fold(x: Tensor, by: int) -> Tensor:
    """Return x (N, C, *S) with blocks of pixels as channels, (N, C · by^axes, *S / by)."""
    if by == 1:
        return x
    n, channels, *sides = x.shape
    axes = len(sides)
    x = x.reshape(n, channels, *(part for side in sides for part in (side // by, by)))
    order = [0, 1, *(3 + 2 * k for k in range(axes)), *(2 + 2 * k for k in range(axes))]
    return x.permute(order).reshape(n, channels * by**axes, *(side // by for side in sides))


def unfold(x: Tensor, by: int, axes: int) -> Tensor:
    """Return the inverse of `fold`."""
    if by == 1:
        return x
    n, channels, *sides = x.shape
    x = x.reshape(n, channels // by**axes, *(by,) * axes, *sides)
    order = [0, 1, *(part for k in range(axes) for part in (2 + axes + k, 2 + k))]
    return x.permute(order).reshape(n, channels // by**axes, *(side * by for side in sides))
