"""What a `fit` is asked to do, the families of generators it can train, and what each needs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from contrafact.core import InputError, UnsupportedError, configure, nearest, read_toml
from contrafact.counterfactual import DirectionConfig
from contrafact.generators import (
    EncoderConfig,
    LegacyConfig,
    LegacyMedXGAN,
    LegacyTrainerConfig,
    LegacyTraining,
    MedXGAN,
    MedXGANConfig,
    MedXGANTrainerConfig,
    MedXGANTraining,
    StyleGAN2,
    StyleGAN2Config,
    StyleGAN2Training,
    TrainerConfig,
    TranslatorConfig,
    TranslatorTrainerConfig,
)

AnyConfig = StyleGAN2Config | MedXGANConfig | LegacyConfig | TranslatorConfig
AnyGenerator = StyleGAN2 | MedXGAN | LegacyMedXGAN
AnyTraining = StyleGAN2Training | MedXGANTraining | LegacyTraining


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """The training images.

    path     folder of images or CSV, relative to the configuration; see `io.read_cohort`
    patient  regular expression for the patient in a file name
    window   (low, high) image units that become -1 and 1; refused where most pixels lie outside
    crop     images with sides of different lengths: "squeeze" (scaled to a square, which changes shapes) or
             "center" (the middle square is cut out)
    """

    path: str
    patient: str | None = None
    window: tuple[float, float] = (0.0, 255.0)
    crop: str = "squeeze"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """One model under study. `path` and `output` as in `load_predictor`; `targets` get a direction each."""

    path: str
    output: str | None = None
    targets: tuple[str, ...] = ("class:1",)
    hold: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """A whole `fit`. `models` by name; the first is the one the bundle explains by default.

    [generator] family   "stylegan2", or "medxgan": trained against the first model, with one code for each
                         of its targets; it needs no directions. "medxgan-legacy": the same as it was
                         published, for one target at 64 or 128 pixels. "translator": one pass makes the image
                         at another score of the first model, for each of its targets; no latent space
    """

    name: str
    out: str
    data: DataConfig
    models: Mapping[str, ModelConfig] = field(default_factory=dict)
    generator: AnyConfig = field(default_factory=StyleGAN2Config)
    training: TrainerConfig | MedXGANTrainerConfig | LegacyTrainerConfig | TranslatorTrainerConfig = field(
        default_factory=TrainerConfig
    )
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    direction: DirectionConfig = field(default_factory=DirectionConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class _StyleGAN2Fit(FitConfig):
    generator: StyleGAN2Config = field(default_factory=StyleGAN2Config)
    training: TrainerConfig = field(default_factory=TrainerConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class _MedXGANFit(FitConfig):
    generator: MedXGANConfig = field(default_factory=MedXGANConfig)
    training: MedXGANTrainerConfig = field(default_factory=MedXGANTrainerConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class _LegacyFit(FitConfig):
    generator: LegacyConfig = field(default_factory=LegacyConfig)
    training: LegacyTrainerConfig = field(default_factory=LegacyTrainerConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class _TranslatorFit(FitConfig):
    generator: TranslatorConfig = field(default_factory=TranslatorConfig)
    training: TranslatorTrainerConfig = field(default_factory=TranslatorTrainerConfig)


CONFIGS: dict[str, type[FitConfig]] = {
    "stylegan2": _StyleGAN2Fit,
    "medxgan": _MedXGANFit,
    "medxgan-legacy": _LegacyFit,
    "translator": _TranslatorFit,
}


def read_config(path: str | Path) -> tuple[FitConfig, Path]:
    """The configuration and its output folder; paths in it are relative to the file."""
    path = Path(path)
    table = read_toml(path)
    family, table["generator"] = family_of(table.get("generator", {}))
    config = configure(CONFIGS[family], table, where=path.name)
    if codes := codes_of(config.generator):
        targets = next(iter(config.models.values())).targets if config.models else ()
        if len(targets) != codes:
            raise InputError(
                f"a medxgan has one code per target of its first model; got {codes} classes for "
                f"{len(targets)} targets"
            )
    if isinstance(config.generator, TranslatorConfig):
        targets = next(iter(config.models.values())).targets if config.models else ()
        if len(targets) != config.generator.targets:
            raise InputError(
                f"a translator knows the targets of its first model; got targets = "
                f"{config.generator.targets} in [generator] for {len(targets)} in [models]"
            )
    if getattr(config.generator, "axes", 2) == 3 and config.training.mirror:
        raise InputError("mirror must be false for volumes, whose last axis may be any; got true")
    return config, (path.parent / config.out).resolve()


def family_of(table: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The family that a [generator] table names, and the table without its name."""
    rest = dict(table)
    family = rest.pop("family", "stylegan2")
    if family not in CONFIGS:
        raise InputError(
            f"family must be one of {', '.join(CONFIGS)}; got '{family}'{nearest(family, CONFIGS)}"
        )
    return family, rest


def name_of(config: AnyConfig) -> str:
    """The family of a generator of that size."""
    names = {
        StyleGAN2Config: "stylegan2",
        MedXGANConfig: "medxgan",
        LegacyConfig: "medxgan-legacy",
        TranslatorConfig: "translator",
    }
    return names[type(config)]


def codes_of(config: AnyConfig) -> int:
    """How many codes of findings a generator of that size has; 0: it goes along directions."""
    return 1 if isinstance(config, LegacyConfig) else getattr(config, "classes", 0)


def make_generator(config: AnyConfig) -> AnyGenerator:
    """An untrained generator of that size, of a family with a latent space."""
    if isinstance(config, TranslatorConfig):
        raise InputError("expected a generator with a latent space; got a translator")
    if isinstance(config, LegacyConfig):
        return LegacyMedXGAN(config)
    return MedXGAN(config) if isinstance(config, MedXGANConfig) else StyleGAN2(config)


def make_training(
    size: AnyConfig,
    config: Any,
    images: Tensor,
    *,
    guide: Any,
    device: str,
    team: Any,
    origin: Mapping[str, Any] | None = None,
) -> AnyTraining:
    """A training run at its first step, of a family with a latent space; `origin`: what else its saved states
    must agree with."""
    if isinstance(size, TranslatorConfig):
        raise InputError("expected a generator with a latent space; got a translator")
    if isinstance(size, StyleGAN2Config):
        return StyleGAN2Training(size, config, images, device=device, team=team, origin=origin)
    if guide is None:
        raise UnsupportedError(
            "a medxgan is trained against a model that gives gradients: expected [models.NAME] with a torch "
            "model; got none"
        )
    if team is not None:
        raise UnsupportedError("a medxgan is trained on one device; got several")
    if isinstance(size, LegacyConfig):
        return LegacyTraining(size, config, images, guide=guide, device=device, origin=origin)
    return MedXGANTraining(size, config, images, guide=guide, device=device, origin=origin)


@contextlib.contextmanager
def guided(predictor: Any, targets: list[Any], window: tuple[float, float]) -> Iterator[Any]:
    """The model, frozen, as a guide: images in [-1, 1] to scores (N, targets); None: a black box."""
    if not getattr(predictor, "differentiable", True):
        yield None
        return
    low, high = window

    def guide(images: Tensor) -> Tensor:
        outputs = predictor((images.float() + 1) / 2 * (high - low) + low)
        return torch.stack([target(outputs) for target in targets], dim=1)

    with predictor.frozen():
        yield guide
