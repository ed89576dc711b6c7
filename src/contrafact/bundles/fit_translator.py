"""Fitting a bundle with a translator to images and a model, in one stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from contrafact.bundles import save_bundle
from contrafact.bundles.fit_config import FitConfig, name_of
from contrafact.bundles.fit_models import Loader, copy_models, scores_of, training_of
from contrafact.bundles.samples import changed_samples, write_grid
from contrafact.core import InputError
from contrafact.counterfactual import Bundle, Translation
from contrafact.generators import GeneratorFamily, Progress, TranslatorTraining
from contrafact.io import read_tensors, write_json, write_tensors


def fit_translator(
    config: FitConfig,
    family: type[GeneratorFamily],
    out: Path,
    images: Tensor,
    load: Loader,
    stop: Callable[[], bool],
) -> Iterator[tuple[str, Progress]]:
    """Train a translator with the first model, write its bundle, and yield (stage, progress).

    The training resumes where `out` contains a run. For a model without gradients a `Student` imitates it, at
    the cost of a pass of the model for every generated image.

    raises  InputError without a model
    """
    if not config.models:
        raise InputError("expected [models.NAME], the model with which a translator is trained; got none")
    with scores_of(config, load) as (guide, black_box):
        training = training_of(config, images, load, guide=guide, black_box=black_box)
        path = out / "checkpoint.safetensors"
        if path.exists():
            training.restore(read_tensors(path))
        write_json(out / "fit.json", {"family": name_of(config.generator), **dataclasses.asdict(config)})
        total = training.config.kimg * 1000
        if training.seen >= total:
            yield "generator", Progress(done=training.seen, total=total, seconds_left=0.0)
        for progress in family.train(training, stop=stop):
            write_tensors(out / "translator.safetensors", training.average.state_dict())
            if isinstance(training, TranslatorTraining):
                write_grid(out / "samples.png", changed_samples(training))
            write_tensors(path, training.state())  # last: a fit that was killed before takes its steps again
            yield "generator", progress
    if training.seen >= training.config.kimg * 1000:
        _write_bundle(config, out, load, training)


def _write_bundle(config: FitConfig, out: Path, load: Loader, training: Any) -> None:
    name, model = next(iter(config.models.items()))
    predictors = {key: load(choice) for key, choice in config.models.items()}
    digest = predictors[name].digest
    bundle = Bundle(
        name=config.name,
        translator=training.average,
        translations=tuple(
            Translation(model=digest, target=target, number=number)
            for number, target in enumerate(model.targets)
        ),
        engine="translate",
        window=config.data.window,
        crop=config.data.crop,
        predictor=predictors[name],
        predictors=predictors,
    )
    files = copy_models(config, load.root, out / "bundle")
    save_bundle(out / "bundle", bundle, descriptions=files, main=name)
