"""The training loop of a GAN: progress, image quality, failure detection and rollback to the best state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from contrafact.core import ContrafactError
from contrafact.generators.augmentation import signed
from contrafact.generators.diagnostics import AnyTraining, TrainingMonitor
from contrafact.generators.distances import (
    Extractor,
    RandomFeatures,
    batch_size,
    decoded,
    frechet_distance,
    kernel_distance,
)
from contrafact.generators.progress import Progress


def train_generator(
    training: AnyTraining,
    *,
    report_kimg: float = 4.0,
    quality_kimg: float = 20.0,
    extractor: Extractor | None = None,
    quality_images: int = 1000,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress]:
    """Train until `training.config.kimg`; yield a report every `report_kimg`.

    The caller shows progress and saves `training.state()`. `stop` is called between steps; where it returns
    true, the training yields a last report and ends. Every `quality_kimg` the averaged generator is compared
    with the data by KID and Fréchet distance (features of `extractor`, default `RandomFeatures`). The best
    state is kept in memory; on NaN or mode collapse the training rolls back to it, with twice the R1 weight.

    raises  ContrafactError at the third failure
    """
    total = training.config.kimg * 1000
    channels, *sides = training.average.image_shape
    extractor = extractor or RandomFeatures(channels, axes=len(sides)).to(training.device)
    monitor = TrainingMonitor()
    # Cohorts are often sorted by class; the reference must contain all classes.
    rows = torch.randperm(len(training.images), generator=torch.Generator().manual_seed(0))
    real = _features(extractor, training.images[rows[:quality_images]], training.device)
    best, best_kid, rollbacks = training.state(), float("inf"), 0
    began, first = time.perf_counter(), training.seen
    next_report = training.seen + report_kimg * 1000
    next_quality = (training.seen // (quality_kimg * 1000) + 1) * quality_kimg * 1000
    while training.seen < total:
        training.step()
        stopping = stop()
        finding = monitor.step(training)
        due = training.seen >= min(next_report, total) or stopping
        if finding is None and not due:
            continue
        next_report = training.seen + report_kimg * 1000
        quality: dict[str, float] = {}
        findings = [finding] if finding else list(monitor.report(training))
        if not finding and (training.seen >= next_quality or training.seen >= total):
            next_quality += quality_kimg * 1000
            quality = measure(training, extractor, real, quality_images)
            if quality["kid"] < best_kid:
                best, best_kid = training.state(), quality["kid"]
        if monitor.must_roll_back:
            rollbacks += 1
            if rollbacks == 3:
                raise ContrafactError(
                    f"training failed three times ({findings[0]}); "
                    "raise gamma, or start again in another out with a lower rate"
                )
            gamma = 2 * training.gamma
            training.restore(best)
            training.vary_after_rollback(gamma, rollbacks)
            findings.append(
                f"rolled back to {training.seen / 1000:.1f} kimg; gamma is now {training.gamma:.3g}"
            )
            monitor = TrainingMonitor()
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
    """Return KID and Fréchet distance of the averaged generator from `real` features."""
    rng = torch.Generator().manual_seed(12345)  # the same latents every time, for comparable values
    parts = []
    for start in range(0, images, 100):
        generated = decoded(training.average, training.average.sample(min(100, images - start), rng))
        parts.append(_features(extractor, generated, training.device))
    fake = torch.cat(parts)
    return {"kid": kernel_distance(real, fake), "frechet": frechet_distance(real, fake)}


def _features(extractor: Extractor, images: Tensor, device: torch.device) -> Tensor:
    """Return the extractor's features (N, F) of images, on the CPU."""
    parts = []
    for part in images.split(batch_size(images.shape[2:])):
        with torch.no_grad():
            parts.append(extractor(signed(part.to(device))).cpu())
    return torch.cat(parts)
