"""The settings of a translator's training, and the checks of its images."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from contrafact.core.errors import InputError, nearest
from contrafact.generators.translator import TranslatorConfig

FEATURES, PRECISIONS = ("photographs", "none"), ("auto", "bf16", "fp32")
AMOUNTS = (
    "guide", "adversarial", "size", "smooth", "saturation", "identity", "cycle", "pairs", "jitter", "noise",
    "pair_kimg", "exposure", "ema_kimg",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslatorTrainerConfig:
    """Hyper-parameters of training a translator.

    kimg         thousands of images in the training; a knee at 128 pixels needs about 20
    batch        images per step
    rate         Adam's learning rate for the translator; the discriminator's is 0.4 of it
    guide        weight of the model's loss: smooth distance of its score from the requested one, in units of
                 half the range of scores
    adversarial  weight of the discriminator's loss
    size, smooth weights of the size of the change and of its total variation
    saturation   change of a pixel (the range is 2) at which the loss of its size saturates; 0: Huber loss
    identity     weight of the loss of translations to the image's own score
    cycle        weight of the loss of translations back to the image
    regions      share of the batch that may change only inside, or only outside, a random box
    pairs        weight of the squared error of translations of pairs, images with a finding and the same
                 without it, where the training has them. (Huber's loss,
                 whose least value for most pixels is no change at all, learned nothing in 6 thousand images.)
    pair_kimg    thousands of images at the start of training that learn from pairs alone; 0: none. Removing a
                 lesion is soon learned so, and hardly beside the other losses
    jitter       greatest shift of the guide's input, as a share of the side
    noise        standard deviation of the noise on the guide's input (the range is 2)
    exposure     strength of random changes of brightness, contrast and colour on the inputs of the guide and
                 the discriminator, so that a change of exposure or stain earns nothing; 0.4 is much
    features     input of the discriminator: features of "photographs" (EfficientNet-Lite0, 2D), or "none"
    mirror       flip half of the images left to right
    ema_kimg     half-life of the averaged translator, in thousands of images
    precision    "bf16" or "fp32"; "auto": bf16, on a CPU the faster of both, kept when the run is resumed
    seed         seed of this run; no global seed is set
    """

    kimg: float = 20.0
    batch: int = 16
    rate: float = 1e-3
    guide: float = 2.0
    adversarial: float = 0.25
    size: float = 1.0
    smooth: float = 0.5
    saturation: float = 0.0
    identity: float = 4.0
    cycle: float = 2.0
    pairs: float = 40.0
    pair_kimg: float = 0.0
    regions: float = 0.25
    jitter: float = 0.045
    noise: float = 0.05
    exposure: float = 0.0
    ema_kimg: float = 4.0
    mirror: bool = False
    features: str = "photographs"
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("features", FEATURES), ("precision", PRECISIONS)):
            value = getattr(self, name)
            if value not in known:
                hint = nearest(value, known)
                raise InputError(f"{name} must be one of {', '.join(known)}; got '{value}'{hint}")
        if self.batch < 4 or self.batch % 4:
            raise InputError(f"batch must be a multiple of 4; got {self.batch}")
        for name, least in {"kimg": "above", "rate": "above", **dict.fromkeys(AMOUNTS, "at least")}.items():
            value = getattr(self, name)
            if not 0 <= value < math.inf or (value == 0 and least == "above"):
                raise InputError(f"{name} must be {least} 0 and finite; got {value}")
        if not 0 <= self.regions <= 1:
            raise InputError(f"regions must be from 0 to 1; got {self.regions}")


def check_images(images: Tensor, size: TranslatorConfig, config: TranslatorTrainerConfig) -> None:
    """Raise InputError for images that do not fit the translator or its training."""
    wanted = (size.channels, *(size.resolution,) * size.axes)
    if tuple(images.shape[1:]) != wanted:
        raise InputError(f"expected training images {wanted}; got {tuple(images.shape[1:])}")
    if len(images) < 4 * config.batch:
        raise InputError(f"expected at least {4 * config.batch} training images; got {len(images)}")
    if size.axes == 3 and config.features == "photographs":
        raise InputError("features must be 'none' for volumes; got 'photographs'")


def check_pairs(pairs: tuple[Tensor, Tensor], images: Tensor) -> None:
    """Raise InputError for pairs that do not fit one another, or the training images."""
    shapes = [tuple(part.shape) for part in pairs]
    if (
        len(shapes) != 2
        or shapes[0] != shapes[1]
        or shapes[0][1:] != tuple(images.shape[1:])
        or not shapes[0][0]
    ):
        raise InputError(f"expected two rows of images {tuple(images.shape[1:])} as pairs; got {shapes}")
