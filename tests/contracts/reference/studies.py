"""The statistics of a study from one table with what a real one has: repeats, failures, ties, subgroups."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from contrafact.core.intervals import wilson
from contrafact.core.power import judgements_needed, power
from contrafact.report.study import chart
from contrafact.study.statistics import (
    area_under_curve,
    bootstrap,
    compare,
    disagreement,
    family_ranks,
    groups,
    holm,
    interval,
    per_patient,
    ranks,
    signed_rank,
    summarise,
)

BETTER = {"deletion": "lower", "iou": "higher", "validity": "higher", "complexity": "lower"}
FAMILIES = {"deletion": "removal", "iou": "truth", "validity": "goal", "complexity": "shape", "mass": "truth"}


def rows() -> list[dict[str, Any]]:
    """Two models, 4 methods, 11 images of 8 patients, 5 metrics; one in 13 fails, one in 9 has a note."""
    rng, made = np.random.default_rng(8), list[dict[str, Any]]()
    for model in ("one", "two"):
        for image in range(11):
            for place, method in enumerate(("lime", "gradcam", "rise", "walk")):
                for metric in (*BETTER, "mass"):
                    value = float(rng.normal(place * (0.4 if metric == "iou" else -0.2) + 0.1 * (image % 3), 1))
                    value = (
                        float(value > -0.3)
                        if metric == "validity"
                        else round(value, 1 if metric == "mass" else 6)
                    )
                    number = len(made)
                    made.append(
                        {
                            "model": model,
                            "image": f"i{image}",
                            "patient": f"p{image * 8 // 11}",
                            "target": "class:1",
                        }
                        | {"method": method, "metric": metric, "value": value if number % 13 else math.nan}
                        | {"sex": "f" if image % 3 else "m", "note": "" if number % 9 else "inverted"}
                    )
    return made


def values() -> dict[str, Any]:
    table, rng = rows(), np.random.default_rng(9)
    ranked = ranks(table, BETTER)
    by_family = family_ranks(ranked, FAMILIES)
    summary = summarise(table)
    scores, labels = rng.normal(size=14), np.arange(14) % 3 > 0
    people = [f"p{k // 2}" for k in range(14)]
    shown = chart(summary, "iou", "higher")
    return {
        "summary": summary,
        "of two shares": summarise(table, ("sex", "metric"), shares={"validity"}),
        "ranks": ranked,
        "families": by_family,
        "counted": family_ranks(ranked, FAMILIES, counted={"shape": False, "goal": False}),
        "disagreement": disagreement(by_family),
        "methods": compare(table, "method"),
        "models": compare(table, "model"),
        "chart": [shown.width, shown.height, shown.rows, shown.ticks] if shown else None,
        "wilson": [wilson(k, n) for k, n in ((0, 0), (0, 7), (7, 7), (3, 11), (50, 400))],
        "intervals": [
            interval(np.array(v)) for v in ([0.0], [0.0] * 4, [1.0] * 5, [1.0, 0.0, 1.0], [2.0, 2.0])
        ],
        "bootstrap": [
            bootstrap(rng.normal(size=n), name) for n, name in ((1, ""), (2, ""), (9, "a"), (9, "b"))
        ],
        "holm": [holm(v) for v in ([0.01, None, 0.04, 0.03], [0.5, 0.9], [], [None])],
        "signed rank": [
            signed_rank(np.array(v)) for v in ([0.1] * 5, [0.1, 0.2, -0.05, 0.4, 0.6, 0.7], [0.0] * 6)
        ],
        "areas": [
            area_under_curve(scores + 0.5 * labels, labels, people),
            area_under_curve(labels.astype(float), labels, people),
            area_under_curve(-labels.astype(float), labels, people),
            area_under_curve(scores, labels > 2, people),
        ],
        "groups": [[list(key), len(some)] for key, some in groups(table, ("model", "sex")).items()],
        "patients": per_patient(table[:40]),
        "power": [power(0, 0.6), power(40, 0.6), power(40, 0.45, chance=0.3), power(100, 0.7, error=0.01)],
        "judgements": [judgements_needed(), judgements_needed(0.7, chance=0.4, wanted=0.9)],
    }
