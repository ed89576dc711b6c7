"""The training loop of a translator: progress, remaining time and warnings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from contrafact.generators.progress import Progress
from contrafact.generators.translator_training import TranslatorTraining


def train_translator(
    training: TranslatorTraining, *, report_kimg: float = 0.4, stop: Callable[[], bool] = lambda: False
) -> Iterator[Progress]:
    """Train until `training.config.kimg`; yield a report every `report_kimg`.

    The caller saves `training.state()`. `stop` is called between steps; where it returns true, the training
    yields a last report and ends. `figures` has the losses, the mean distance from the requested score
    (`missed`) and the mean change of a pixel (`changed`, the range is 2). A report has a finding where images
    do not change, or where the discriminator is too strong.
    """
    total, began, first = training.config.kimg * 1000, time.perf_counter(), training.seen
    due = training.seen + report_kimg * 1000
    while training.seen < total:
        training.step()
        stopping = stop()
        if training.seen < min(due, total) and not stopping:
            continue
        due = training.seen + report_kimg * 1000
        pace = (training.seen - first) / max(time.perf_counter() - began, 1e-9)
        yield Progress(
            done=training.seen,
            total=total,
            seconds_left=max(0.0, total - training.seen) / pace,
            figures={**training.figures, "images_s": pace},
            findings=tuple(_findings(training)),
        )
        if stopping:
            return


def _findings(training: TranslatorTraining) -> Iterator[str]:
    """Yield the problems that the figures of the last step show, as sentences."""
    if training.seen < 2000:
        return
    if training.figures["changed"] < 5e-4:
        yield "the translator does not change the images yet: raise guide, or lower size and smooth"
    if training.figures["discriminator"] < 0.1:
        yield "the discriminator recognises every generated image: lower adversarial, or use more images"
