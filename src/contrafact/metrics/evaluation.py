"""Evaluate many metrics on many explanations of an image, with shared forward passes."""

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
    """Value of one metric for one explanation.

    value    NaN if the metric has no value; `reason` then explains why
    note     a caution about the value: "inverted: ..." if hiding the whole image does not lower the output, so
             that a removal curve cannot fall
    passes   forward passes of this metric, for all maps together, without those cached by earlier metrics
    seconds  time of this metric, for all maps together
    """

    metric: str
    label: str
    value: float
    reason: str = ""
    passes: int = 0
    seconds: float = 0.0
    note: str = ""


def evaluate(panel: HeatmapContext, metrics: Sequence[Any], labels: Sequence[str]) -> Iterator[Score]:
    """Yield the score of every metric for every map; a metric that fails yields scores with a reason.

    labels   name of each map
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
    """Yield the score of every metric for every counterfactual; a failed metric yields a score with a reason.

    labels   name of each counterfactual; empty: their numbers
    """
    for strip, label in zip(walked, labels or map(str, range(len(walked))), strict=True):
        for metric in metrics:
            before, began, why = strip.passes, time.perf_counter(), ""
            try:
                value = float(metric(strip))
            except ContrafactError as error:
                value, why = float("nan"), " ".join(str(error).split())
            if not why and not np.isfinite(value):
                value, why = float("nan"), "the metric is not defined for this counterfactual"
            yield Score(
                metric=METRICS.name_of(metric),
                label=label,
                value=value,
                reason=why,
                passes=strip.passes - before,
                seconds=round(time.perf_counter() - began, 4),
            )
