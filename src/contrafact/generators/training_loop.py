"""The run around the training steps: progress, quality, the doctor, going back to the best state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from contrafact.core import ContrafactError
from contrafact.generators.augmentation import signed
from contrafact.generators.diagnostics import AnyTraining, TrainingMonitor
from contrafact.generators.distances import (
    Extractor,
    RandomFeatures,
    at_once,
    decoded,
    frechet_distance,
    kernel_distance,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a long piece of work stands.

    done, total     in units of the work (images, steps)
    seconds_left    at the speed of this session so far
    figures         losses and rates of the last step
    quality         KID and Fréchet distance, where this report measured them
    findings        what the doctor says, plain sentences
    """

    done: float
    total: float
    seconds_left: float
    figures: dict[str, float] = field(default_factory=dict)
    quality: dict[str, float] = field(default_factory=dict)
    findings: tuple[str, ...] = ()


def train_generator(
    training: AnyTraining,
    *,
    report_kimg: float = 4.0,
    quality_kimg: float = 20.0,
    extractor: Extractor | None = None,
    quality_images: int = 1000,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress]:
    """Train until `training.config.kimg`; yields a report every `report_kimg`.

    The caller draws bars and saves `training.state()`; `stop` is asked between steps, and the last
    report is yielded after it. Every
    `quality_kimg` the averaged generator is compared with the data by KID and Fréchet distance
    (features of `extractor`, default `RandomFeatures`); the best state is kept in memory, and the
    doctor goes back to it on NaN or collapse, with twice the R1 weight.

    raises  ContrafactError after the third return to the best state
    """
    total = training.config.kimg * 1000
    channels, *sides = training.average.image_shape
    extractor = extractor or RandomFeatures(channels, axes=len(sides)).to(training.device)
    doctor = TrainingMonitor()
    # A cohort lists one class after the other: the reference must hold all of them.
    rows = torch.randperm(len(training.images), generator=torch.Generator().manual_seed(0))
    real = _features(extractor, training.images[rows[:quality_images]], training.device)
    best, best_kid, returns = training.state(), float("inf"), 0
    began, first = time.perf_counter(), training.seen
    next_report = training.seen + report_kimg * 1000
    next_quality = (training.seen // (quality_kimg * 1000) + 1) * quality_kimg * 1000
    while training.seen < total:
        training.step()
        stopping = stop()
        finding = doctor.step(training)
        due = training.seen >= min(next_report, total) or stopping
        if finding is None and not due:
            continue
        next_report = training.seen + report_kimg * 1000
        quality: dict[str, float] = {}
        findings = [finding] if finding else list(doctor.look(training))
        if not finding and (training.seen >= next_quality or training.seen >= total):
            next_quality += quality_kimg * 1000
            quality = measure(training, extractor, real, quality_images)
            if quality["kid"] < best_kid:
                best, best_kid = training.state(), quality["kid"]
        if doctor.must_return:
            returns += 1
            if returns == 3:
                raise ContrafactError(
                    f"training fell apart three times ({findings[0]}); "
                    "raise gamma, or begin anew in another out with a lower rate"
                )
            gamma = 2 * training.gamma
            training.restore(best)
            training.go_another_way(gamma, returns)
            findings.append(f"went back to {training.seen / 1000:.1f} kimg; gamma is now {training.gamma:.3g}")
            doctor = TrainingMonitor()
            next_report = training.seen + report_kimg * 1000
        pace = (training.seen - first) / max(time.perf_counter() - began, 1e-9)
        yield Progress(
            done=training.seen,
            total=total,
            seconds_left=max(0.0, total - training.seen) / pace if pace > 0 else float("inf"),
            figures={**training.figures, "augment_p": training.augment_p, "images_s": pace},
            quality=quality,
            findings=tuple(findings),
        )
        if stopping:
            return


def measure(training: AnyTraining, extractor: Extractor, real: Tensor, images: int) -> dict[str, float]:
    """KID and Fréchet distance of the averaged generator."""
    rng = torch.Generator().manual_seed(12345)  # the same latents every time: comparable
    parts = []
    for start in range(0, images, 100):
        drawn = decoded(training.average, training.average.sample(min(100, images - start), rng))
        parts.append(_features(extractor, drawn, training.device))
    fake = torch.cat(parts)
    return {"kid": kernel_distance(real, fake), "frechet": frechet_distance(real, fake)}


def _features(extractor: Extractor, images: Tensor, device: torch.device) -> Tensor:
    parts = []
    for part in images.split(at_once(images.shape[2:])):
        with torch.no_grad():
            parts.append(extractor(signed(part.to(device))).cpu())
    return torch.cat(parts)
