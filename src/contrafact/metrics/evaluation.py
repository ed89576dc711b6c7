"""Many metrics on many maps of one image, with the model's passes shared."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from contrafact.core import METRICS, ContrafactError
from contrafact.metrics.counterfactual_context import CounterfactualContext
from contrafact.metrics.heatmap_context import HeatmapContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One metric of one result.

    value    NaN where there is none; `reason` then says why
    note     what to know of a value that there is: "inverted: ..." where hiding the whole image does not lower
             the answer, so that a curve of removal has no fall to show
    passes   images the model was shown for this metric, of all maps together: what an earlier metric
             has asked is not asked again
    seconds  of all maps together
    """

    metric: str
    label: str
    value: float
    reason: str = ""
    passes: int = 0
    seconds: float = 0.0
    note: str = ""


def evaluate(panel: HeatmapContext, metrics: Sequence[Any], labels: Sequence[str]) -> Iterator[Score]:
    """Every metric on every map; one that cannot be had is a score with its reason, and the others go on.

    labels   a name for each map
    """
    for metric in metrics:
        name, before, began = METRICS.name_of(metric), panel.passes, time.perf_counter()
        panel.failed.clear()
        panel.note = ""
        try:
            values = np.asarray(metric(panel), dtype=np.float64)
            reasons = [flaw or panel.failed.get(which, "") for which, flaw in enumerate(panel.flaws)]
        except ContrafactError as error:
            values = np.full(len(labels), np.nan)
            reasons = [" ".join(str(error).split())] * len(labels)
        passes, seconds = panel.passes - before, round(time.perf_counter() - began, 4)
        for label, value, reason in zip(labels, values, reasons, strict=True):
            why = reason or ("" if np.isfinite(value) else "the metric is not defined for this map")
            score = float("nan") if why else float(value)
            yield Score(
                metric=name,
                label=label,
                value=score,
                reason=why,
                passes=passes,
                seconds=seconds,
                note="" if why else panel.note,
            )


def evaluate_strips(
    walked: Sequence[CounterfactualContext], metrics: Sequence[Any], labels: Sequence[str] = ()
) -> Iterator[Score]:
    """Every metric on every strip; one that cannot be had is a score with its reason, and the others go on.

    labels   a name for each strip; none: their numbers
    """
    for strip, label in zip(walked, labels or map(str, range(len(walked))), strict=True):
        for metric in metrics:
            before, began, why = strip.passes, time.perf_counter(), ""
            try:
                value = float(metric(strip))
            except ContrafactError as error:
                value, why = float("nan"), " ".join(str(error).split())
            if not why and not np.isfinite(value):
                value, why = float("nan"), "the metric is not defined for this strip"
            yield Score(
                metric=METRICS.name_of(metric),
                label=label,
                value=value,
                reason=why,
                passes=strip.passes - before,
                seconds=round(time.perf_counter() - began, 4),
            )
