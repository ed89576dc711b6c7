"""What a fit will cost on this machine: a few steps of it are timed, and nothing is written."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from contrafact.bundles.fit_config import FitConfig, name_of, read_config
from contrafact.bundles.fit_models import Loader, guide_of, scores_of, training_of
from contrafact.bundles.training_images import read_training_images
from contrafact.core import Trust
from contrafact.core.reading import naming
from contrafact.generators import family_named, train_encoder
from contrafact.generators.augmentation import preset
from contrafact.io import Cohort, read_cohort

STEPS = 16  # at most; both regularisers of a StyleGAN2 run once in these


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """The cost of a stage: so many steps of so many seconds each, without its reports."""

    name: str
    steps: int
    step_seconds: float

    @property
    def seconds(self) -> float:
        """The duration of the stage."""
        return self.steps * self.step_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class FitPlan:
    """What a fit costs, without the reports of its quality.

    out      the folder that it would write; `out / "bundle"` is the bundle
    family, shape  of the generator: shape of an image (C, *S)
    images   in the cohort; reading them all takes `reading_seconds`
    stages   timed stages; the directions of a family with a latent space are not timed
    memory   bytes: the peak of this process, or on a GPU of its memory, with every image of the cohort on top;
             None where the system does not tell
    disk     bytes of the saved state and the weights
    remarks  on the images, as sentences
    """

    out: Path
    family: str
    shape: tuple[int, ...]
    images: int
    device: str
    reading_seconds: float
    stages: tuple[StagePlan, ...]
    memory: int | None
    disk: int
    remarks: tuple[str, ...] = ()


def plan_fit(
    path: str | Path,
    *,
    device: str | None = None,
    seconds: float = 20.0,
    trust: bool = False,
    trust_code: bool = False,
) -> FitPlan:
    """Return what the fit of a configuration costs on this machine; nothing is written.

    A part of the images is read, the models are opened, and steps of each stage are taken for about `seconds`.

    raises  InputError for whatever `fit` refuses before its first step
    """
    with naming(Path(path).name):
        config, out = read_config(path)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        load = Loader(Path(path).parent, device, Trust(trust, trust_code))
        cohort = read_cohort(load.root / config.data.path, patient=config.data.patient)
        began = time.perf_counter()
        images, remarks = read_training_images(
            _part(cohort, max(64, 4 * config.training.batch)),
            config.generator,
            window=config.data.window,
            crop=config.data.crop,
        )
        reading = time.perf_counter() - began
        for model in config.models.values():
            load(model)
        stages, disk = _stages(config, images, load, seconds)
        others = len(cohort) - len(images)
        peak = _peak(device)
        return FitPlan(
            out=out,
            family=name_of(config.generator),
            shape=tuple(images.shape[1:]),
            images=len(cohort),
            device=device,
            reading_seconds=reading * len(cohort) / len(images),
            stages=stages,
            memory=None if peak is None else peak + others * images[0].nbytes * (device == "cpu"),
            disk=disk,
            remarks=tuple(remarks),
        )


def _part(cohort: Cohort, count: int) -> Cohort:
    """Return so many cases from all over the cohort, which may be sorted by class."""
    at = torch.linspace(0, len(cohort) - 1, min(count, len(cohort))).round().long().unique()
    return Cohort(tuple(cohort.cases[i] for i in at))


def _stages(
    config: FitConfig, images: Tensor, load: Loader, seconds: float
) -> tuple[tuple[StagePlan, ...], int]:
    """Return the timed stages, and the bytes that the training writes."""
    family = family_named(name_of(config.generator))
    with _guide(config, load, latent=family.latent, guided=family.wants_guide(config.training)) as (
        guide,
        black_box,
    ):
        training = training_of(config, images, load, guide=guide, black_box=black_box)
        step_seconds, taken = _timed(training.step, load.device, seconds)
        steps = math.ceil(config.training.kimg * 1000 * taken / training.seen)
        disk = sum(
            part.nbytes for part in (*training.state().values(), *training.average.state_dict().values())
        )
    stages = [StagePlan(name="generator", steps=steps, step_seconds=step_seconds)]
    if family.latent:
        stages.append(_encoder(config, images, load, training.average))
    return tuple(stages), disk


@contextlib.contextmanager
def _guide(config: FitConfig, load: Loader, *, latent: bool, guided: bool) -> Iterator[tuple[Any, bool]]:
    """Yield the guide of the training, as `fit` gives it, and whether it is a black box."""
    if not latent and config.models:
        with scores_of(config, load) as scores:
            yield scores
        return
    with guide_of(config, load, wanted=guided) as guide:
        yield guide, False


def _encoder(config: FitConfig, images: Tensor, load: Loader, generator: Any) -> StagePlan:
    """Time the steps of the encoder: those of a longer training less those of a shorter one."""
    generator = generator.eval().requires_grad_(False)
    took: list[float] = []
    with guide_of(config, load, wanted=not config.encoder.published) as guide:
        for steps in (1, 1, 5):  # the first one warms up
            began = time.perf_counter()
            settings = dataclasses.replace(config.encoder, steps=steps)
            for _ in train_encoder(
                generator,
                images,
                settings,
                guide=guide,
                mirror=config.training.mirror,
                how=preset(config.training.augment),
            ):
                _wait(load.device)
            took.append(time.perf_counter() - began)
    step = max(took[2] - took[1], 0.0) / 4 or took[2] / 5
    return StagePlan(name="encoder", steps=config.encoder.steps, step_seconds=step)


def _timed(step: Callable[[], Any], device: str, seconds: float) -> tuple[float, int]:
    """Return the mean duration of a step after the first, which also chooses the precision, and how many steps
    were taken."""
    step()
    _wait(device)
    began, count = time.perf_counter(), 0
    while count < STEPS and (count < 2 or time.perf_counter() - began < seconds):
        step()
        _wait(device)
        count += 1
    return (time.perf_counter() - began) / count, count + 1


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _peak(device: str) -> int | None:
    """Return the most bytes that the GPU, or this process, has held; None where the system does not tell."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_reserved(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
