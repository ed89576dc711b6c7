"""The statistics of a study: means and medians with intervals over patients, paired tests, ranks.

A row is a mapping with model, image, patient, target, method, metric and value (NaN for a failure), a column
for each subgroup, and an optional `note` on the value. Failures are counted and rank last; none is omitted
silently.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from contrafact.core.intervals import wilson

Rows = Sequence[Mapping[str, Any]]
Table = list[dict[str, Any]]
RESAMPLES = 2000
DRAWN = 2**18  # numbers that are drawn at once: they stay in a processor's cache


def summarise(
    rows: Rows,
    by: Sequence[str] = ("model", "method", "metric"),
    *,
    shares: Collection[str] | None = None,
) -> Table:
    """Return the mean and the median of every group, over patients and not images.

    shares  metrics that are 0 or 1 for each image, with the intervals of a proportion; None: all such metrics
    gives  the columns of `by`, mean with its 95 % interval low, high (None for fewer than 2 patients), median,
           patients, failed (rows without a value), noted (values with a note, such as inverted curves)
    """
    table = []
    for group, group_rows in groups(rows, by).items():
        means = per_patient(group_rows)
        is_share = shares is None or group_rows[0].get("metric") in shares
        low, high = (interval if is_share else bootstrap)(means, str(group))
        table.append(
            dict(zip(by, group, strict=True))
            | {"mean": _known(means.mean() if len(means) else np.nan), "low": low, "high": high}
            | {"median": _known(np.median(means) if len(means) else np.nan), "patients": len(means)}
            | {"failed": sum(not np.isfinite(r["value"]) for r in group_rows)}
            | {"noted": sum(bool(r.get("note")) for r in group_rows)}
        )
    return table


def ranks(rows: Rows, better: Mapping[str, str]) -> Table:
    """Return the mean rank of each method for each metric: 1 is best, failures are last, ties share a rank.

    better  "higher" or "lower" by metric
    gives   model, metric, method, rank, low, high, patients
    """
    table = []
    for (model, metric), group_rows in groups(rows, ("model", "metric")).items():
        methods = sorted({str(r["method"]) for r in group_rows})
        patients = sorted({str(r["patient"]) for r in group_rows})
        values = np.full((len(patients), len(methods)), -np.inf)
        line, column_of = ({name: at for at, name in enumerate(names)} for names in (patients, methods))
        sign = 1 if better.get(metric, "higher") == "higher" else -1
        for (patient, method), method_rows in groups(group_rows, ("patient", "method")).items():
            mean = per_patient(method_rows)
            if len(mean) and all(np.isfinite(r["value"]) for r in method_rows):
                values[line[patient], column_of[method]] = sign * mean[0]
        ranked = stats.rankdata(-values, axis=1)
        for column, method in enumerate(methods):
            low, high = bootstrap(ranked[:, column], f"{model}{metric}{method}")
            row = {"model": model, "metric": metric, "method": method}
            table.append(
                row | {"rank": float(ranked[:, column].mean()), "low": low, "high": high}
                | {"patients": len(patients)}
            )  # fmt: skip
    return table


def family_ranks(
    table: Rows, families: Mapping[str, str], *, counted: Mapping[str, bool] | None = None
) -> Table:
    """Return ranks over families of metrics: every family has the same weight, however many metrics it has.

    table     result of `ranks`
    families  the family of each metric
    counted   whether a family counts for the overall rank; None, or none that does: all count
    gives     model, method, families (the mean rank over the metrics of each), rank (the mean over the families
              that count), apart (range of those: their disagreement about this method)
    """
    result: Table = []
    for (model, method), group_rows in groups(table, ("model", "method")).items():
        by_family = {
            family: float(np.mean([r["rank"] for r in group_rows if families[r["metric"]] == family]))
            for family in dict.fromkeys(families[r["metric"]] for r in group_rows)
        }
        overall = [rank for family, rank in by_family.items() if counted is None or counted.get(family, True)]
        overall = overall or list(by_family.values())
        result.append(
            {"model": model, "method": method, "families": by_family}
            | {"rank": float(np.mean(overall)), "apart": max(overall) - min(overall)}
        )
    return sorted(result, key=lambda row: (row["model"], row["rank"]))


def disagreement(table: Rows) -> Table:
    """Return Spearman's correlation between the method ranks of every two families of metrics.

    table  result of `family_ranks`
    gives  model, first, second, correlation (None for fewer than 3 methods, or where a family ranks all methods
           equally), methods
    """
    result: Table = []
    for (model,), group_rows in groups(table, ("model",)).items():
        names = list(dict.fromkeys(family for row in group_rows for family in row["families"]))
        for first, second in itertools.combinations(names, 2):
            both = [r["families"] for r in group_rows if first in r["families"] and second in r["families"]]
            ranked = np.array([[r[first], r[second]] for r in both]).reshape(-1, 2)
            defined = len(ranked) > 2 and np.ptp(ranked, axis=0).all()
            value = float(stats.spearmanr(*ranked.T).statistic) if defined else None
            result.append({"model": model, "first": first, "second": second, "correlation": value})
            result[-1]["methods"] = len(ranked)
    return result


def compare(rows: Rows, between: str) -> Table:
    """Compare every two methods (or models) on the same patients by Wilcoxon's signed-rank test, with Holm's
    correction over all pairs for one metric (and one method, where models are compared).

    between  "method" or "model"
    gives    model or method, metric, first, second, difference (mean of first minus second) with its
             interval, p, holm, differs (holm < 0.05), patients
    """
    fixed = ("model", "metric") if between == "method" else ("method", "metric")
    table: Table = []
    for group, group_rows in groups(rows, fixed).items():
        values = {
            str(k): _by_patient(value_rows) for (k,), value_rows in groups(group_rows, (between,)).items()
        }
        part: Table = []
        for first, second in itertools.combinations(sorted(values), 2):
            shared = sorted(set(values[first]) & set(values[second]))
            differences = np.array([values[first][p] - values[second][p] for p in shared])
            low, high = bootstrap(differences, f"{group}{first}{second}")
            part.append(
                dict(zip(fixed, group, strict=True))
                | {
                    "first": first,
                    "second": second,
                    "difference": _known(differences.mean() if len(differences) else np.nan),
                }
                | {"low": low, "high": high, "p": signed_rank(differences), "patients": len(shared)}
            )
        for row, adjusted in zip(part, holm([row["p"] for row in part]), strict=True):
            table.append(row | {"holm": adjusted, "differs": adjusted is not None and adjusted < 0.05})
    return table


def signed_rank(differences: NDArray[Any]) -> float | None:
    """Return p of Wilcoxon's test on paired differences (N,); None for fewer than 6 patients; 1 where all are
    0."""
    if len(differences) < 6:
        return None
    if not np.any(differences):
        return 1.0
    return float(stats.wilcoxon(differences).pvalue)


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Return p-values corrected for their number (Holm 1979); None remains None."""
    known = [(p, i) for i, p in enumerate(values) if p is not None]
    corrected: list[float | None] = [None] * len(values)
    least = 0.0
    for position, (p, i) in enumerate(sorted(known)):
        least = max(least, min(1.0, (len(known) - position) * p))
        corrected[i] = least
    return corrected


def interval(values: NDArray[Any], name: str = "") -> tuple[float | None, float | None]:
    """Return the 95 % interval of a mean over patients: by `bootstrap`, or Wilson's where all values are 0 or
    all are 1, since resampling would give an interval of width 0."""
    if len(values) >= 2 and (not np.any(values) or np.all(values == 1)):
        return wilson(int(values.sum()), len(values))
    return bootstrap(values, name)


def bootstrap(values: NDArray[Any], name: str = "") -> tuple[float | None, float | None]:
    """Return the 95 % percentile interval of the means of resampled patients; None for fewer than 2. The same
    name gives the same resamples."""
    if len(values) < 2:
        return None, None
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    values = np.asarray(values)
    resamples = _resamples(rng, len(values), RESAMPLES)
    means = np.concatenate([values.take(drawn, mode="clip").mean(axis=1) for drawn in resamples])  # none is cut
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _resamples(
    rng: np.random.Generator, count: int, rounds: int, *, rows: int = 0
) -> Iterator[NDArray[np.int32]]:
    """Yield resamples with replacement of `count` numbers, some (n, count) at a time; fewer where each stands
    for many rows."""
    together = max(1, DRAWN // max(count, rows))
    for start in range(0, rounds, together):
        yield rng.integers(count, size=(min(together, rounds - start), count), dtype=np.int32)


def area_under_curve(scores: NDArray[Any], labels: NDArray[Any], patients: Sequence[str]) -> dict[str, Any]:
    """Return the AUC of a model on the cohort with its interval over patients.

    scores  (N,) probability of the class; labels (N,) bool
    gives   auc, low, high, cases, patients; or `reason` where all labels are of one class, or an output is
            not finite. For an AUC of 0 or 1 the interval is Wilson's, for the number of patients in the smaller
            class
    """
    if labels.all() or not labels.any():
        return {"auc": None, "reason": "one class only: the AUC is undefined; add cases of the other"}
    if not np.isfinite(scores).all():
        count = int((~np.isfinite(scores)).sum())
        return {"auc": None, "reason": f"{count} of {len(scores)} outputs are not finite: the AUC is undefined"}
    rng, (names, patient) = np.random.default_rng(0), np.unique(np.asarray(patients), return_inverse=True)
    areas = _areas(scores, labels)
    resampled = list[float]()
    for drawn in _resamples(rng, len(names), 400, rows=len(labels)):
        times = np.stack([np.bincount(row, minlength=len(names)) for row in drawn])
        resampled += [area for area in areas(times[:, patient]) if np.isfinite(area)]
    low, high = np.percentile(resampled, [2.5, 97.5]) if len(resampled) > 20 else (None, None)
    auc = float(areas(np.ones((1, len(labels)), dtype=int))[0])
    if auc in (0.0, 1.0):
        fewest = min(len({p for p, x in zip(patients, labels, strict=True) if x == side}) for side in (0, 1))
        low, high = wilson(int(auc) * fewest, fewest)
    return {
        "auc": auc,
        "low": _known(low), "high": _known(high), "cases": len(labels), "patients": len(names),
    }  # fmt: skip


def _areas(scores: NDArray[Any], labels: NDArray[Any]) -> Callable[[NDArray[Any]], NDArray[np.float64]]:
    """Return a function from how often each case counts (R, N) to the areas (R,) under the ROC curve, the share
    of pairs of both classes in the right order (a tie is half a pair); NaN where a class is missing."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.nan))  # of equal scores; NaN differs from all
    positive = np.asarray(labels, dtype=bool)[order]

    def areas(times: NDArray[Any]) -> NDArray[np.float64]:
        counts = times[:, order].astype(np.float64)
        here, others = (
            np.add.reduceat(np.where(side, counts, 0.0), starts, axis=1) for side in (positive, ~positive)
        )
        below = np.cumsum(others, axis=1) - others / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((here * below).sum(axis=1) / (here.sum(axis=1) * others.sum(axis=1)))

    return areas


def groups(rows: Iterable[Mapping[str, Any]], by: Sequence[str]) -> dict[tuple[str, ...], list[Any]]:
    """Return rows grouped by the values of columns, in sorted order."""
    grouped: dict[tuple[str, ...], list[Any]] = {}
    for row in rows:
        grouped.setdefault(tuple(str(row.get(column, "")) for column in by), []).append(row)
    return dict(sorted(grouped.items()))


def per_patient(rows: Rows) -> NDArray[np.float64]:
    """Return the means of the patients that have a value."""
    return np.array(list(_by_patient(rows).values()), dtype=np.float64)


def _by_patient(rows: Rows) -> dict[str, float]:
    """Return the mean value of each patient, without failures."""
    by_patient: dict[str, list[float]] = {}
    for row in rows:
        if math.isfinite(row["value"]):
            by_patient.setdefault(str(row["patient"]), []).append(row["value"])
    return {
        patient: float(values[0] if len(values) == 1 else np.mean(values))
        for patient, values in sorted(by_patient.items())
    }


def _known(value: Any) -> float | None:
    """Return a number, or None where it is not finite."""
    return None if value is None or not np.isfinite(value) else float(value)
