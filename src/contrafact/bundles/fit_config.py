"""The configuration of a fit, and the families of generators that it can train."""

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
    window   (low, high) in image units, which become -1 and 1; an error where most pixels lie outside
    crop     treatment of images that are not square: "squeeze" (resized to a square, which changes shapes) or
             "center" (cropped to the central square)
    """

    path: str
    patient: str | None = None
    window: tuple[float, float] = (0.0, 255.0)
    crop: str = "squeeze"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """One model under study.

    path, output  as in `load_predictor`
    targets       the fit makes a direction (or code) for each
    hold          targets whose scores the directions keep constant
    """

    path: str
    output: str | None = None
    targets: tuple[str, ...] = ("class:1",)
    hold: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """The configuration of a fit. `models` by name; the bundle explains the first one by default.

    [generator] family   "stylegan2"; or "medxgan": trained with the first model, with one code for each
                         of its targets and without directions; or "medxgan-legacy": the published medXGAN,
                         for one target at 64 or 128 pixels; or "translator": a network that changes the
                         image to another score of the first model in one pass, without a latent space
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
    """Return the configuration in a TOML file and its output folder; paths in it are relative to the file.

    raises  InputError for unknown keys or families, other numbers of codes or targets than the first model's,
            and mirrored volumes
    """
    path = Path(path)
    table = read_toml(path)
    family, table["generator"] = family_of(table.get("generator", {}))
    config = configure(CONFIGS[family], table, where=path.name)
    if codes := codes_of(config.generator):
        targets = next(iter(config.models.values())).targets if config.models else ()
        if len(targets) != codes:
            raise InputError(
                f"expected one code per target of the first model of a medxgan; got {codes} classes for "
                f"{len(targets)} targets"
            )
    if isinstance(config.generator, TranslatorConfig):
        targets = next(iter(config.models.values())).targets if config.models else ()
        if len(targets) != config.generator.targets:
            raise InputError(
                f"expected as many targets of a translator as of its first model; got targets = "
                f"{config.generator.targets} in [generator] for {len(targets)} in [models]"
            )
    if getattr(config.generator, "axes", 2) == 3 and config.training.mirror:
        raise InputError("mirror must be false for volumes, whose last axis need not be left-right; got true")
    return config, (path.parent / config.out).resolve()


def family_of(table: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the family that a [generator] table names, and the table without it. Raise InputError for an
    unknown family."""
    rest = dict(table)
    family = rest.pop("family", "stylegan2")
    if family not in CONFIGS:
        raise InputError(
            f"family must be one of {', '.join(CONFIGS)}; got '{family}'{nearest(family, CONFIGS)}"
        )
    return family, rest


def name_of(config: AnyConfig) -> str:
    """Return the name of the family of a generator with that configuration."""
    names = {
        StyleGAN2Config: "stylegan2",
        MedXGANConfig: "medxgan",
        LegacyConfig: "medxgan-legacy",
        TranslatorConfig: "translator",
    }
    return names[type(config)]


def codes_of(config: AnyConfig) -> int:
    """Return the number of codes for findings of a generator; 0 for one that uses directions."""
    return 1 if isinstance(config, LegacyConfig) else getattr(config, "classes", 0)


def make_generator(config: AnyConfig) -> AnyGenerator:
    """Return an untrained generator of that size. Raise InputError for a translator."""
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
    """Return a training run of a generator before its first step.

    guide   differentiable function of images in [-1, 1] to scores (N, targets), for medXGAN
    origin  further facts that its saved states must share
    raises  InputError for a translator; UnsupportedError for a medXGAN without a guide or on several devices
    """
    if isinstance(size, TranslatorConfig):
        raise InputError("expected a generator with a latent space; got a translator")
    if isinstance(size, StyleGAN2Config):
        return StyleGAN2Training(size, config, images, device=device, team=team, origin=origin)
    if guide is None:
        raise UnsupportedError(
            "expected [models.NAME] with a torch model, whose gradients train a medxgan; got none"
        )
    if team is not None:
        raise UnsupportedError("expected one device for a medxgan; got several")
    if isinstance(size, LegacyConfig):
        return LegacyTraining(size, config, images, guide=guide, device=device, origin=origin)
    return MedXGANTraining(size, config, images, guide=guide, device=device, origin=origin)


@contextlib.contextmanager
def guided(predictor: Any, targets: list[Any], window: tuple[float, float]) -> Iterator[Any]:
    """Yield the frozen model as a guide, a function of images in [-1, 1] to scores (N, targets); None for a
    model without gradients."""
    if not getattr(predictor, "differentiable", True):
        yield None
        return
    low, high = window

    def guide(images: Tensor) -> Tensor:
        outputs = predictor((images.float() + 1) / 2 * (high - low) + low)
        return torch.stack([target(outputs) for target in targets], dim=1)

    with predictor.frozen():
        yield guide
