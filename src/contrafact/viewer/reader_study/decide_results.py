"""The results of a study of decisions as tables, for the page and as CSV."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from contrafact.core.power import mcnemar_power, pairs_needed
from contrafact.io.tables import csv_table
from contrafact.study.statistics import signed_rank
from contrafact.viewer.reader_study.decisions import (
    FIGURES,
    Decisions,
    Flags,
    Weights,
    changes,
    decisions_of,
    once,
    over_readers,
    reliance,
    roc,
    shares,
    sides,
)
from contrafact.viewer.reader_study.many_readers import (
    analysis,
    difference,
    resampled,
    told,
    with_interval,
)
from contrafact.viewer.reader_study.sessions import ARMS, Planned

GAINED, LOST = (
    0.15,
    0.05,
)  # assumed when the study is planned: right in the second arm alone, in the first alone
SUMMARY = ("table", "arms", "of", "figure", "value", "low", "high", "p", "count", "n")


def decide_plan(planned: Planned) -> list[str]:
    """Return what is planned and its statistical power, to be read before the study begins."""
    design, count = planned.design, len(planned.cases)
    right = sum(case.right for case in planned.cases)
    told = ", ".join(ARMS[arm] for arm in design.arms)
    how = {
        "crossover": f"every image once in each arm, an arm a session, {planned.sessions} sessions at least "
        f"{design.washout:g} days apart",
        "parallel": "every image in one arm",
        "sequential": "every image in all arms, one directly after the other",
    }[design.kind]
    lines = [
        f"task 'decide': {count} images, {right} predicted right and {count - right} wrong (of "
        f"{planned.available[0]} and {planned.available[1]} with a label); arms: {told}; {how}; "
        f"{len(planned)} answers per reader."
    ]
    if planned.left_out:
        lines.append(f"task 'decide': {planned.left_out} labelled images have no explanation and are left out")
    if right in (0, count):
        kind, name = ("wrong", "over-reliance") if right else ("right", "under-reliance")
        lines.append(f"task 'decide': no prediction is {kind}: {name} cannot be measured")
    if len(design.arms) > 1 and design.kind != "parallel":
        needed = pairs_needed(GAINED, LOST)
        readers = -(-needed // count)
        lines.append(
            f"To see a gain of 10 points between two arms (15 % of answers right in the second alone, 5 % in "
            f"the first alone; exact McNemar, two-sided, 5 %, power 80 %) takes {needed} pairs: {readers} "
            f"reader{'' if readers == 1 else 's'}. Three readers here give a power of "
            f"{100 * mcnemar_power(3 * count, GAINED, LOST):.0f} %. Pairs count as independent here: answers "
            "of several readers for one image are not, and it takes somewhat more."
        )
    return lines


def decide_results(
    lines: Sequence[Mapping[str, Any]], arms: Sequence[str], *, rng: np.random.Generator
) -> dict[str, Any] | None:
    """Return the tables of a study of decisions; None before the first answer.

    gives  arms, pairs (differences, changes and reliance between every two arms), confidence, readers
    """
    found = decisions_of(lines, arms)
    if not np.isfinite(found.yes).any():
        return None
    weights, numbers = resampled(found, rng), range(len(found.arms))
    analyses = {name: analysis(found, name) for name in ("AUC", "accuracy")}
    return {
        "readers": len(found.readers),
        "images": len(found.items),
        "complete": analyses["AUC"]["readers"] if analyses["AUC"] else 0,
        "arms": [_arm(found, arm, weights) for arm in numbers],
        "pairs": [_pair(found, pair, weights, analyses) for pair in itertools.combinations(numbers, 2)],
        "confidence": [
            _confidence(found, pair, name, among, weights)
            for pair in itertools.combinations(numbers, 2)
            for name, among in sides(found).items()
        ],
    }


def _arm(found: Decisions, arm: int, weights: Weights) -> dict[str, Any]:
    seconds, right = found.seconds[arm], found.truth == found.predicted
    return {
        "arm": ARMS[found.arms[arm]],
        "answers": int(np.isfinite(found.yes[arm]).sum()),
        "of": found.yes[arm].size,
        "figures": {name: with_interval(found, name, arm, weights) for name in FIGURES},
        "right where the model is right": _mean(
            found, found.correct[arm], right, weights, count=int(right.sum())
        ),
        "right where the model is wrong": _mean(
            found, found.correct[arm], ~right, weights, count=int((~right).sum())
        ),
        "roc": roc(found.rating[arm], found.truth),
        "seconds": float(np.nanmedian(seconds)) if np.isfinite(seconds).any() else None,
    }


def _mean(
    found: Decisions, values: Any, among: Flags, weights: Weights, *, count: int | None = None
) -> dict[str, float | None]:
    """Return the mean over readers of their mean over some images with its interval; `count` as in `told`."""
    mine = once(found)
    value = float(over_readers(shares(values, mine.cases * among), mine.readers)[0])
    return told(value, over_readers(shares(values, weights.cases * among), weights.readers), count)


def _pair(
    found: Decisions, pair: tuple[int, int], weights: Weights, analyses: Mapping[str, Any]
) -> dict[str, Any]:
    first, second = pair
    relied = reliance(found, first, second) if found.arms[first] == "none" else None
    return {
        "first": ARMS[found.arms[first]],
        "second": ARMS[found.arms[second]],
        "figures": {name: difference(found, name, pair, weights) for name in FIGURES},
        "analysis": {name: one["differences"][pair] for name, one in analyses.items() if one},
        "changes": changes(found, first, second),
        "reliance": relied,
    }


def _confidence(
    found: Decisions, pair: tuple[int, int], name: str, among: Flags, weights: Weights
) -> dict[str, Any]:
    """Return the confidence in the model's prediction before and after, of images with one kind of answer."""
    before, after = (found.confidence_in_model[arm] for arm in pair)
    moved = np.where(among, after - before, np.nan)
    seen = moved[np.isfinite(moved)]
    per_image = np.array(
        [column[np.isfinite(column)].mean() for column in moved.T if np.isfinite(column).any()]
    )
    both = np.isfinite(moved)
    return {
        "first": ARMS[found.arms[pair[0]]],
        "second": ARMS[found.arms[pair[1]]],
        "predictions": name,
        "n": len(seen),
        "before": float(before[both].mean()) if len(seen) else None,
        "after": float(after[both].mean()) if len(seen) else None,
        "change": _mean(found, moved, among, weights),
        "sd": float(seen.std(ddof=1)) if len(seen) > 1 else None,
        "p": signed_rank(per_image),
    }


def summary_csv(results: Mapping[str, Any]) -> str:
    """Return the tables as CSV, a figure a row."""
    rows: list[dict[str, Any]] = []
    for arm in results["arms"]:
        about = {"table": "arm", "arms": arm["arm"], "n": arm["answers"]}
        named = {**arm["figures"], **{name: arm[name] for name in arm if name.startswith("right where")}}
        rows += [{**about, "figure": name, **value} for name, value in named.items()]
        rows.append({**about, "figure": "seconds, median", "value": arm["seconds"]})
    for pair in results["pairs"]:
        about = {"table": "difference", "arms": f"{pair['second']} − {pair['first']}"}
        rows += [{**about, "figure": name, "of": "bootstrap", **v} for name, v in pair["figures"].items()]
        rows += [{**about, "figure": k, "of": "Obuchowski-Rockette", **v} for k, v in pair["analysis"].items()]
        changed = pair["changes"]
        of_changes = {"n": changed["pairs"], "p": changed["p"]}
        rows += [
            {**about, **of_changes, "table": "changes", "figure": name, "count": changed[name]}
            for name in ("changed", "towards", "away")
        ]
        for name, one in (pair["reliance"] or {}).items():
            value = {"value": one["share"], "low": one["low"], "high": one["high"]}
            rows.append(
                {**about, "table": "reliance", "figure": name, "count": one["count"], "n": one["of"], **value}
            )
    for one in results["confidence"]:
        about = {
            "table": "confidence in the prediction",
            "of": one["predictions"],
            "n": one["n"],
            "p": one["p"],
        }
        rows.append({**about, "arms": f"{one['second']} − {one['first']}", "figure": "change", **one["change"]})
    return csv_table(rows, SUMMARY, newline="\r\n")
