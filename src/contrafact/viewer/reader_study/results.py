"""Results of a reader study, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from contrafact.core.power import judgements_needed, power, wilson
from contrafact.io.tables import csv_table
from contrafact.viewer.reader_study.trials import TASKS

COLUMNS = ("reader", "position", "task", "item", "truth", "answer", "correct", "seconds", "at")
OF_DECISIONS = (*COLUMNS, "arm", "session", "predicted", "probability", "confidence")
SHARE = 0.58  # share reached by three radiologists in the paper


def plan_words(counts: Mapping[str, int], left_out: int = 0) -> list[str]:
    """Return the statistical power of the study, to be read before it begins.

    counts    answers of one reader, by task
    left_out  number of images that are not of a patient and so are not shown as real
    """
    needed = judgements_needed(SHARE)
    lines = []
    for task, count in counts.items():
        readers = -(-needed // count)
        lines.append(
            f"task '{task}': {count} answers per reader. To tell {_percent(SHARE)} from 50 % (two-sided, "
            f"5 %, power 80 %) takes {needed} answers: {readers} reader{'' if readers == 1 else 's'}. "
            f"Three readers here give a power of {_percent(power(3 * count, SHARE))}. With 150 answers "
            f"the power is {_percent(power(150, SHARE))}."
        )
    if left_out:
        lines.append(f"task 'real': {left_out} images are left out, because they are phantoms or generated")
    return lines


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def table(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row per task and reader, and one for all readers of a task."""
    rows = []
    for task in (*TASKS, "decide"):
        asked = [line for line in lines if line["task"] == task]
        names = list(dict.fromkeys(line["reader"] for line in asked))
        for name in names:
            rows.append(_row(task, name, [line for line in asked if line["reader"] == name]))
        if names:
            rows.append(_row(task, None, asked))
    return rows


def _row(task: str, reader: str | None, lines: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    lines = list(lines)
    judged = [line for line in lines if line["answer"] is not None]
    correct = sum(line["correct"] for line in judged)
    low, high = wilson(correct, len(judged))
    by_truth = {
        truth: (sum(line["correct"] for line in judged if line["truth"] == truth), len(of))
        for truth in sorted({line["truth"] for line in lines})
        if (of := [line for line in judged if line["truth"] == truth])
    }
    seconds = sorted(line["seconds"] for line in judged if line["seconds"] is not None)
    return {
        "task": task,
        "reader": reader,
        "judged": len(judged),
        "of": len(lines),
        "correct": correct,
        "share": correct / len(judged) if judged else None,
        "low": low,
        "high": high,
        "by_truth": by_truth,
        "seconds": seconds[len(seconds) // 2] if seconds else None,
    }


def as_csv(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the answered trials as CSV."""
    columns = OF_DECISIONS if any(line["task"] == "decide" for line in lines) else COLUMNS
    return csv_table([line for line in lines if line["answer"] is not None], columns, newline="\r\n")
