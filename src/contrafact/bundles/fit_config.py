"""The configuration of a fit, and the families of generators that it can train."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from contrafact.core import InputError, configure, read_toml, resolved
from contrafact.core.reading import naming
from contrafact.counterfactual import DirectionConfig
from contrafact.generators import (
    EncoderConfig,
    GeneratorFamily,
    StyleGAN2Config,
    TrainerConfig,
    family_named,
    family_of_size,
)
from contrafact.generators.family import axes_of

PARTS = ("bundle", "generator", "encoder", "statistics", "translator")  # names of a bundle's own files


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
    """The configuration of a fit.

    name                 name of the bundle
    out                  folder of the bundle, relative to the configuration
    data                 the training images: the table `[data]`
    models               models under study by name, a table `[models.NAME]` each; the bundle explains the first
                         one by default
    start                folder of a fit or of a bundle of the same sizes, from whose generator and encoder the
                         training begins; a spatial code may be new
    [generator] family   "stylegan2"; or "medxgan": trained with the first model, with one code for each
                         of its targets and without directions; or "medxgan-legacy": the published medXGAN,
                         for one target at 64 or 128 pixels; or "translator": a network that changes the
                         image to another score of the first model in one pass, without a latent space
    """

    name: str
    out: str
    data: DataConfig
    models: Mapping[str, ModelConfig] = field(default_factory=dict)
    generator: Any = field(default_factory=StyleGAN2Config)
    training: Any = field(default_factory=TrainerConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    direction: DirectionConfig = field(default_factory=DirectionConfig)
    start: str | None = None


@functools.cache
def config_class(family: str) -> type[FitConfig]:
    """Return `FitConfig` with the [generator] and [training] tables of a family."""
    kind = family_named(family)
    tables = {"generator": kind.size, "training": kind.settings}
    fields = [(name, table, field(default_factory=table)) for name, table in tables.items()]
    return dataclasses.make_dataclass(
        f"{kind.__name__}Fit", fields, bases=(FitConfig,), frozen=True, kw_only=True, slots=True
    )


def read_config(path: str | Path) -> tuple[FitConfig, Path]:
    """Return the configuration in a TOML file and its output folder; paths in it are relative to the file.

    raises  InputError for unknown keys or families, models named as a part of the bundle, other numbers of
            codes or targets than the first model's, and mirrored volumes
    """
    path = Path(path)
    with naming(path.name):
        return _read_config(path)


def _read_config(path: Path) -> tuple[FitConfig, Path]:
    table = read_toml(path)
    family, table["generator"] = family_of(table.get("generator", {}))
    if not family_named(family).latent:
        for name in ("encoder", "direction"):
            if name in table:
                raise InputError(f"expected no [{name}] for a {family}, which has no latent space; remove it")
    config = configure(config_class(family), table, where=path.name)
    for name in config.models:
        if name in PARTS or Path(name).name != name:
            raise InputError(f"expected a model name that is no part of a bundle; got '{name}'; rename it")
    targets = next(iter(config.models.values())).targets if config.models else ()
    family_named(family).check(config.generator, len(targets))
    if config.start is not None and not family_named(family).begins:
        raise InputError(f"expected no 'start' for a {family}, whose training begins anew; remove it")
    if axes_of(config.generator) == 3 and config.training.mirror:
        raise InputError("mirror must be false for volumes, whose last axis need not be left-right; got true")
    return config, resolved(path.parent / config.out, f"a folder as 'out' of '{path.name}'")


def family_of(table: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the family that a [generator] table names, and the table without it. Raise InputError for an
    unknown family."""
    rest = dict(table)
    family = rest.pop("family", "stylegan2")
    family_named(family)
    return family, rest


def name_of(size: Any) -> str:
    """Return the name of the family of a generator of that size."""
    return family_of_size(size)


def codes_of(size: Any) -> int:
    """Return the number of codes for findings of a generator; 0 for one that uses directions."""
    return family_named(name_of(size)).codes(size)


def make_generator(size: Any) -> Any:
    """Return an untrained generator of that size. Raise InputError for a family without a latent space."""
    return latent_family(size).network(size)


def latent_family(size: Any) -> type[GeneratorFamily]:
    """Return the family of a generator of that size. Raise InputError for one without a latent space."""
    name = name_of(size)
    if not family_named(name).latent:
        raise InputError(f"expected a generator with a latent space; got a {name}")
    return family_named(name)


@contextlib.contextmanager
def guided(predictor: Any, targets: list[Any], window: tuple[float, float]) -> Iterator[Any]:
    """Yield the frozen model as a guide, a function of images in [-1, 1] to scores (N, targets); None for a
    model without gradients."""
    if not predictor.differentiable:
        yield None
        return
    low, high = window

    def guide(images: Tensor) -> Tensor:
        outputs = predictor((images.float() + 1) / 2 * (high - low) + low)
        return torch.stack([target(outputs) for target in targets], dim=1)

    with predictor.frozen():
        yield guide
