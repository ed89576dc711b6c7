"""Rows of scores to tables: means and medians with intervals over patients, paired tests, ranks.

A row is a mapping with model, image, patient, target, method, metric and value (NaN: it failed), a column for
each subgroup, and `note`, where the value needs one. A value that failed is counted, and ranks last; it is
never left out in silence.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from contrafact.core.intervals import wilson

Rows = Sequence[Mapping[str, Any]]
Table = list[dict[str, Any]]
DRAWS = 2000


def summarise(
    rows: Rows,
    by: Sequence[str] = ("model", "method", "metric"),
    *,
    shares: Collection[str] | None = None,
) -> Table:
    """The mean and the median of every group, over patients and not images.

    shares  metrics that are 0 or 1 for each image, whose intervals are those of a share; None: all that may be
    gives  the columns of `by`, mean with its 95 % interval low, high (None where nothing can be said), median,
           patients, failed (rows without a value), noted (values with a note, such as inverted curves)
    """
    table = []
    for group, some in groups(rows, by).items():
        means = per_patient(some)
        share = shares is None or some[0].get("metric") in shares
        low, high = (interval if share else bootstrap)(means, str(group))
        table.append(
            dict(zip(by, group, strict=True))
            | {"mean": _known(means.mean() if len(means) else np.nan), "low": low, "high": high}
            | {"median": _known(np.median(means) if len(means) else np.nan), "patients": len(means)}
            | {"failed": sum(not np.isfinite(r["value"]) for r in some)}
            | {"noted": sum(bool(r.get("note")) for r in some)}
        )
    return table


def ranks(rows: Rows, better: Mapping[str, str]) -> Table:
    """The mean rank of each method for each metric: 1 is best, what failed is last, ties share.

    better  "higher" or "lower" by metric
    gives   model, metric, method, rank, low, high, patients
    """
    table = []
    for (model, metric), some in groups(rows, ("model", "metric")).items():
        methods = sorted({str(r["method"]) for r in some})
        patients = sorted({str(r["patient"]) for r in some})
        values = np.full((len(patients), len(methods)), -np.inf)
        sign = 1 if better.get(metric, "higher") == "higher" else -1
        for (patient, method), few in groups(some, ("patient", "method")).items():
            found = per_patient(few)
            if len(found) and all(np.isfinite(r["value"]) for r in few):
                values[patients.index(patient), methods.index(method)] = sign * found[0]
        placed = stats.rankdata(-values, axis=1)
        for column, method in enumerate(methods):
            low, high = bootstrap(placed[:, column], f"{model}{metric}{method}")
            about = {"model": model, "metric": metric, "method": method}
            table.append(
                about | {"rank": float(placed[:, column].mean()), "low": low, "high": high}
                | {"patients": len(patients)}
            )  # fmt: skip
    return table


def family_ranks(
    table: Rows, families: Mapping[str, str], *, counted: Mapping[str, bool] | None = None
) -> Table:
    """Ranks by families of metrics: every family counts once, however many metrics it has.

    table     of `ranks`
    families  the family of each metric
    counted   whether a family counts for the rank over all; None, or none that does: all count
    gives     model, method, families (the mean rank over the metrics of each), rank (the mean over the families
              that count), apart (greatest less least of those: how far they disagree about this method)
    """
    found: Table = []
    for (model, method), some in groups(table, ("model", "method")).items():
        by = {
            family: float(np.mean([r["rank"] for r in some if families[r["metric"]] == family]))
            for family in dict.fromkeys(families[r["metric"]] for r in some)
        }
        told = [rank for family, rank in by.items() if counted is None or counted.get(family, True)]
        told = told or list(by.values())
        found.append(
            {"model": model, "method": method, "families": by}
            | {"rank": float(np.mean(told)), "apart": max(told) - min(told)}
        )
    return sorted(found, key=lambda row: (row["model"], row["rank"]))


def disagreement(table: Rows) -> Table:
    """Do the families put the methods in the same order? Spearman's correlation for every two of them.

    table  of `family_ranks`
    gives  model, first, second, correlation (None for fewer than 3 methods, or where one ranks all alike),
           methods
    """
    found: Table = []
    for (model,), some in groups(table, ("model",)).items():
        names = list(dict.fromkeys(family for row in some for family in row["families"]))
        for first, second in itertools.combinations(names, 2):
            both = [r["families"] for r in some if first in r["families"] and second in r["families"]]
            ranked = np.array([[r[first], r[second]] for r in both]).reshape(-1, 2)
            said = len(ranked) > 2 and np.ptp(ranked, axis=0).all()
            value = float(stats.spearmanr(*ranked.T).statistic) if said else None
            found.append({"model": model, "first": first, "second": second, "correlation": value})
            found[-1]["methods"] = len(ranked)
    return found


def compare(rows: Rows, between: str) -> Table:
    """Every two methods (or models) on the same patients: Wilcoxon's signed-rank test, p by Holm over all
    pairs of one metric (of one method, where models are compared).

    between  "method" or "model"
    gives    model or method, metric, first, second, difference (mean of first minus second) with its
             interval, p, holm, differs (holm < 0.05), patients
    """
    fixed = ("model", "metric") if between == "method" else ("method", "metric")
    table: Table = []
    for group, some in groups(rows, fixed).items():
        values = {str(k): _by_patient(few) for (k,), few in groups(some, (between,)).items()}
        part: Table = []
        for first, second in itertools.combinations(sorted(values), 2):
            shared = sorted(set(values[first]) & set(values[second]))
            apart = np.array([values[first][p] - values[second][p] for p in shared])
            low, high = bootstrap(apart, f"{group}{first}{second}")
            part.append(
                dict(zip(fixed, group, strict=True))
                | {
                    "first": first,
                    "second": second,
                    "difference": _known(apart.mean() if len(apart) else np.nan),
                }
                | {"low": low, "high": high, "p": signed_rank(apart), "patients": len(shared)}
            )
        for row, adjusted in zip(part, holm([row["p"] for row in part]), strict=True):
            table.append(row | {"holm": adjusted, "differs": adjusted is not None and adjusted < 0.05})
    return table


def signed_rank(apart: NDArray[Any]) -> float | None:
    """p of Wilcoxon's test on paired differences; None for fewer than 6 patients; 1 where all are equal."""
    if len(apart) < 6:
        return None
    if not np.any(apart):
        return 1.0
    return float(stats.wilcoxon(apart).pvalue)


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for their number (Holm 1979); what could not be tested stays None."""
    known = [(p, i) for i, p in enumerate(values) if p is not None]
    found: list[float | None] = [None] * len(values)
    least = 0.0
    for place, (p, i) in enumerate(sorted(known)):
        least = max(least, min(1.0, (len(known) - place) * p))
        found[i] = least
    return found


def interval(values: NDArray[Any], name: str = "") -> tuple[float | None, float | None]:
    """95 % interval of a mean over patients: `bootstrap`, and Wilson's where every patient has 0, or every one
    has 1. Such values are a share, and resampling them gives an interval without width."""
    if len(values) >= 2 and (not np.any(values) or np.all(values == 1)):
        return wilson(int(values.sum()), len(values))
    return bootstrap(values, name)


def bootstrap(values: NDArray[Any], name: str = "") -> tuple[float | None, float | None]:
    """95 % of the means of resampled patients; None for fewer than 2. The same draws for the same name."""
    if len(values) < 2:
        return None, None
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    means = np.concatenate(
        [values[rng.integers(len(values), size=(200, len(values)))].mean(axis=1) for _ in range(DRAWS // 200)]
    )
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def area_under_curve(scores: NDArray[Any], labels: NDArray[Any], patients: Sequence[str]) -> dict[str, Any]:
    """AUC of a model on the cohort with its interval over patients.

    scores  (N,) probability of the class; labels (N,) bool
    gives   auc, low, high, cases; or `reason` where labels are of one class only. Where no case is misplaced
            the interval is Wilson's, for as many patients as the smaller class has
    """
    from sklearn.metrics import roc_auc_score

    if labels.all() or not labels.any():
        return {"auc": None, "reason": "one class only: the AUC is not defined; add cases of the other"}
    rng, names = np.random.default_rng(0), sorted(set(patients))
    rows = [np.flatnonzero(np.array(patients) == name) for name in names]
    draws = []
    for _ in range(400):
        chosen = np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])
        if 0 < labels[chosen].sum() < len(chosen):
            draws.append(roc_auc_score(labels[chosen], scores[chosen]))
    low, high = np.percentile(draws, [2.5, 97.5]) if len(draws) > 20 else (None, None)
    auc = float(roc_auc_score(labels, scores))
    if auc in (0.0, 1.0):
        fewest = min(len({p for p, x in zip(patients, labels, strict=True) if x == side}) for side in (0, 1))
        low, high = wilson(int(auc) * fewest, fewest)
    return {
        "auc": auc,
        "low": _known(low), "high": _known(high), "cases": len(labels), "patients": len(names),
    }  # fmt: skip


def groups(rows: Iterable[Mapping[str, Any]], by: Sequence[str]) -> dict[tuple[str, ...], list[Any]]:
    """Rows by the values of some columns, in sorted order."""
    found: dict[tuple[str, ...], list[Any]] = {}
    for row in rows:
        found.setdefault(tuple(str(row.get(column, "")) for column in by), []).append(row)
    return dict(sorted(found.items()))


def per_patient(rows: Rows) -> NDArray[np.float64]:
    """The mean of every patient that has a value."""
    return np.array(list(_by_patient(rows).values()), dtype=np.float64)


def _by_patient(rows: Rows) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for row in rows:
        if np.isfinite(row["value"]):
            found.setdefault(str(row["patient"]), []).append(row["value"])
    return {patient: float(np.mean(values)) for patient, values in sorted(found.items())}


def _known(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
