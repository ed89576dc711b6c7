"""The models of a fit: loading them, their scores, and copying them into the bundle."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from contrafact.bundles.fit_config import FitConfig, ModelConfig, guided, name_of
from contrafact.core import Trust, check_file
from contrafact.generators import TrainingSetup, family_named
from contrafact.io import read_json, write_json
from contrafact.models import load_predictor
from contrafact.models.description_schema import read_description


@dataclass(frozen=True, slots=True)
class Loader:
    """A loader of a configuration's models, relative to the folder `root`, within the given trust."""

    root: Path
    device: str
    trust: Trust

    def __call__(self, model: ModelConfig) -> Any:
        """Return the predictor of a model; raise InputError for one that no bundle can hold."""
        for path in _files_of(self.root / model.path):
            check_file(path, "a model of a bundle: one file, or a description of one file")
        return load_predictor(
            self.root / model.path,
            device=self.device,
            output=model.output,
            trust=self.trust.scripts,
            trust_code=self.trust.factories,
        )


def origin_of(config: FitConfig, load: Loader) -> dict[str, Any]:
    """Return the facts that a saved training must share besides its images: window, crop, guiding model."""
    origin: dict[str, Any] = {"window": list(config.data.window), "crop": config.data.crop}
    if family_named(name_of(config.generator)).wants_guide(config.training) and config.models:
        model = next(iter(config.models.values()))
        origin |= {"model": load(model).digest, "targets": list(model.targets)}
    return origin


@contextlib.contextmanager
def guide_of(config: FitConfig, load: Loader, *, wanted: bool) -> Iterator[Any]:
    """Yield the frozen first model as a function of images in [-1, 1] to scores (N, targets); None where it is
    not `wanted`, or for a model without gradients."""
    if not config.models or not wanted:
        yield None
        return
    model = next(iter(config.models.values()))
    predictor = load(model)
    targets = [predictor.target(text) for text in model.targets]
    with guided(predictor, targets, config.data.window) as guide:
        yield guide


@contextlib.contextmanager
def scores_of(config: FitConfig, load: Loader) -> Iterator[tuple[Any, bool]]:
    """Yield the frozen first model as a function of images in [-1, 1] to scores (N, targets), and whether it is
    a black box, without gradients."""
    model = next(iter(config.models.values()))
    predictor = load(model)
    targets = [predictor.target(text) for text in model.targets]
    with guided(predictor, targets, config.data.window) as guide:
        if guide is not None:
            yield guide, False
            return
    low, high = config.data.window

    def scores(images: Tensor) -> Tensor:
        outputs = torch.as_tensor(predictor((images.float().cpu() + 1) / 2 * (high - low) + low))
        return torch.stack([target(outputs) for target in targets], dim=1)

    yield scores, True


def training_of(
    config: FitConfig, images: Tensor, load: Loader, *, guide: Any, black_box: bool = False, team: Any = None
) -> Any:
    """Return the training run of a configuration on images (N, C, *S), before its first step.

    guide, black_box  function of images in [-1, 1] to scores, and whether it has no gradients (`scores_of`)
    raises  UnsupportedError for a guided family without a guide, or on several devices
    """
    setup = TrainingSetup(
        images=images,
        guide=guide,
        black_box=black_box,
        device=load.device,
        team=team,
        origin=origin_of(config, load),
        encoder=config.encoder,
    )
    return family_named(name_of(config.generator)).training(config.generator, config.training, setup)


def _files_of(source: Path) -> list[Path]:
    """Return the files that a bundle would hold of a model."""
    if source.suffix != ".json":
        return [source]
    about = read_description(source)
    named = about.get("model", about.get("weights"))
    return [source, source.parent / named] if isinstance(named, str) else [source]


def copy_models(config: FitConfig, root: Path, folder: Path) -> dict[str, str]:
    """Copy descriptions and weights of the models into a bundle's folder; return their file names by model.

    Every file has the model's name, so that no model overwrites another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, model in config.models.items():
        source = root / model.path
        files[name] = f"{name}{source.suffix}"
        if source.suffix != ".json":
            shutil.copy(source, folder / files[name])
            if model.output:  # a description is needed to store it
                write_json(folder / f"{name}.json", {"model": files[name], "output": model.output})
                files[name] = f"{name}.json"
            continue
        about = read_json(source)
        about |= {"output": model.output} if model.output else {}
        key = "model" if "model" in about else "weights"
        weights = source.parent / about[key]
        about[key] = f"{name}{weights.suffix}"
        shutil.copy(weights, folder / about[key])
        write_json(folder / files[name], about)
    return files
