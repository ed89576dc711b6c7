"""The metrics of a study: the evaluation of all results of an image, and the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from contrafact.api import explanation
from contrafact.api.evaluation import Inputs, counterfactual_context, heatmap_context, references_of
from contrafact.core import (
    METRICS,
    UNTRUSTED,
    Counterfactual,
    Grid,
    Heatmap,
    Image,
    InputError,
    Record,
    Trust,
    fingerprint,
    is_there,
    traits_of,
)
from contrafact.core.execution import parameters_of
from contrafact.core.fingerprint import digest_of_path
from contrafact.io import Case, Run, open_run, stored_grid, write_atomic, write_json
from contrafact.io.remote import local
from contrafact.io.tables import csv_table
from contrafact.jobs.tasks import Failure
from contrafact.metrics import Score, evaluate, evaluate_strips, references
from contrafact.metrics.families import WORD, by_construction, family_of, finds_truth, is_yes_or_no
from contrafact.study import StudyConfig
from contrafact.study.inputs import (
    digests_of_model,
    loaded,
    mask_if_there,
    model_of,
    optional_mask,
    read_mask,
    region_of,
)
from contrafact.study.statistics import (
    area_under_curve,
    compare,
    disagreement,
    family_ranks,
    groups,
    ranks,
    summarise,
)


@dataclass(frozen=True, slots=True)
class ScoringTask:
    """All results of one image for one target of one model: rows of the run by method label, and failures."""

    key: str
    image: str
    target: str
    model: str
    case: Case
    maps: tuple[tuple[str, Mapping[str, Any]], ...]
    failed: tuple[tuple[str, str], ...]
    label: str = "metrics"


def scoring_tasks_of(
    run: Run,
    config: StudyConfig,
    folder: Path,
    cases: Sequence[Case],
    study_tasks: Sequence[Any],
    trust: Trust = UNTRUSTED,
    *,
    labelled: frozenset[str] = frozenset(),
) -> list[ScoringTask]:
    """Return a scoring task for every image, target and model of the run; `labelled` as in `tasks_of`."""
    every = {row["key"]: (row, run.flaw(row)) for row in run.rows()}
    rows = {key: row for key, (row, flaw) in every.items() if not flaw}
    failures = {row["key"]: row["error"] for row in run.failures()}
    failures |= {key: flaw for key, (_, flaw) in every.items() if flaw}
    by_path = {str(case.path): case for case in cases}
    metrics = {label: parameters_of(config.metric(label)) for label in config.metrics}
    second = config.second_model and digests_of_model(config.second_model, folder, trust)
    tasks = []
    for (image, target, model), group in groups(
        [asdict(task) for task in study_tasks], ("image", "target", "model")
    ).items():
        case = by_path[image]
        mask = mask_if_there(config, folder, case) if is_there(local(case.path)) else None
        maps = tuple((c["label"], rows[c["key"]]) for c in group if c["key"] in rows)
        failed = tuple((c["label"], failures.get(c["key"], "not done")) for c in group if c["key"] not in rows)
        available = sorted(c["key"] for c in group if c["key"] in rows)
        known = [case.patient, case.label, dict(case.extra), mask and digest_of_path(mask)]
        known += ["label map"] if "masks" in labelled else []
        mark = fingerprint(available, failed, metrics, second, known, config.seed, config.references)
        key = "/".join(filter(None, (model, case.path.name, target or "-", mark)))
        tasks.append(ScoringTask(key, image, target, model, case, maps, failed))
    return tasks


def begin_scoring(setting: tuple[StudyConfig, str, Trust, frozenset[str], str], device: str) -> Any:
    """Load the models once in a worker process; return the function that runs a scoring task."""
    config, path, trust, labelled, run_folder = setting
    folder, run = Path(path), open_run(run_folder)
    models, background = loaded(config, folder, device, trust)
    metrics = {label: config.metric(label) for label in config.metrics}
    choice = config.second_model
    second = None if choice is None else model_of(choice, folder, device, trust)[0]

    def run_task(scoring: ScoringTask) -> dict[str, Any]:
        results: dict[str, Heatmap | Counterfactual] = {}
        unreadable: dict[str, str] = {}
        for label, row in scoring.maps:
            try:
                results |= {} if row.get("picture") else {label: stored(run, row)}
            except InputError as error:
                unreadable[label] = str(error)
        if not results:
            return {"scores": [], "outputs": None, "unreadable": unreadable}
        rows = {label: row for label, row in scoring.maps if label in results}
        image, (predictor, bundle) = image_of(run, next(iter(rows.values()))), models[scoring.model]
        mask = mask_if_there(config, folder, scoring.case)
        target = scoring.target or next(iter(rows.values()))["record"]["target"]
        truth = read_mask(mask, label_map="masks" in labelled) if mask else None
        shared: Any = {"target": target, "mask": truth, "bundle": bundle, "seed": config.seed}
        file = scoring.case.path
        reference = optional_mask(folder, config.reference, file, label_map="reference" in labelled)
        maps = {label: result for label, result in results.items() if isinstance(result, Heatmap)}
        scores: list[tuple[str, Score]] = []
        if maps:
            region = region_of(config, folder, file, labelled)
            more = references_of(image, truth, target, predictor) if config.references else {}
            inputs = Inputs(
                reference=reference, region=region, background=background, bundle=bundle, seed=config.seed
            )
            with heatmap_context(
                maps, predictor, image, target=target, mask=truth, inputs=inputs, references=more
            ) as context:
                for label, metric in _of("heatmap", metrics):
                    scores += [(label, score) for score in evaluate(context, [metric], [*maps, *more])]
        for name, strip in results.items():
            if isinstance(strip, Counterfactual):
                with counterfactual_context(
                    strip, predictor, image, second_model=second, reference=reference, **shared
                ) as context:
                    for label, metric in _of("strip", metrics):
                        scores += [(label, score) for score in evaluate_strips([context], [metric], [name])]
        return {"scores": scores, "outputs": _probabilities(predictor, image), "unreadable": unreadable}

    return run_task


def _of(kind: str, metrics: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the metrics of heatmaps or of counterfactuals, with their labels."""
    return [(label, metric) for label, metric in metrics.items() if metric.of == kind]


def image_of(run: Run, row: Mapping[str, Any]) -> Image:
    """Return the image of a row of the run, as it was explained."""
    arrays = run.arrays(row)
    values = arrays["image"]
    grid = stored_grid(row, values.shape[1:], arrays["affine"])
    return Image(
        values, grid, tuple(row["window"]), source=row.get("source") or "", about=row.get("about") or {}
    )


def stored(run: Run, row: Mapping[str, Any]) -> Heatmap | Counterfactual:
    """Return the result of a row of the run, from its fields and arrays."""
    arrays = run.arrays(row)
    record = Record(**row["record"])
    if row["kind"] == "heatmap":
        grid = Grid(arrays["values"].shape, affine=arrays["affine"])
        return Heatmap(values=arrays["values"], grid=grid, record=record)
    numbers: dict[str, Any] = {k: np.asarray(row[k]) for k in ("requested", "scores", "latent_distance")}
    numbers |= {k: row[k] for k in ("origin", "reconstruction_error", "above_tolerance", "outcome")}
    second = row.get("second")  # rows of older versions have none
    return Counterfactual(
        frames=arrays["frames"],
        reconstruction=arrays["reconstruction"],
        grid=Grid(arrays["frames"].shape[2:], affine=arrays["strip_affine"]),
        record=record,
        goal=row.get("goal"),
        second=None if second is None else np.asarray(second, dtype=float),
        **numbers,
    )


def _probabilities(predictor: Any, image: Any) -> list[float] | None:
    """Return a classifier's probabilities, for its AUC on the cohort; None for other models."""
    outputs = explanation.ask(predictor, image)
    if outputs.ndim != 2 or predictor.output in ("regression", "survival", "detection"):
        return None
    return [float(p) for p in predictor.probabilities(outputs)[0]]


def record_of(scoring: ScoringTask, result: Any) -> dict[str, Any]:
    """Return the line of a scoring task in the run: case, target, model, every score, and every failure."""
    case = scoring.case
    about: dict[str, Any] = {"image": case.path.name, "source": scoring.image, "patient": case.patient}
    about |= {"label": case.label, "target": scoring.target or "-", "model": scoring.model}
    about |= {"columns": dict(case.extra)}
    failure = result.error if isinstance(result, Failure) else ""
    scores = [] if failure else [_plain(label, score) for label, score in result["scores"]]
    unreadable = {} if failure else result["unreadable"]
    return {
        **about,
        "scores": scores,
        "failed": [{"method": label, "reason": reason} for label, reason in scoring.failed]
        + [{"method": label, "reason": failure} for label, _ in scoring.maps if failure]
        + [{"method": label, "reason": reason} for label, reason in unreadable.items()],
        "outputs": None if failure else result["outputs"],
        "failure": failure,
    }


def _plain(label: str, score: Score) -> dict[str, Any]:
    """Return a score as a mapping of JSON values."""
    about = {"metric": label, "method": score.label, "reason": score.reason}
    value = score.value if np.isfinite(score.value) else None
    return about | {"value": value, "passes": score.passes, "seconds": score.seconds, "note": score.note}


def rows_of(lines: Sequence[Mapping[str, Any]], config: StudyConfig) -> list[dict[str, Any]]:
    """Return one row per model, image, target, method and metric, sorted; NaN with a reason for failures."""
    rows = []
    for line in lines:
        shared = {k: line[k] for k in ("model", "image", "patient", "label", "target")}
        shared |= {name: line["columns"].get(name, "") for name in config.subgroups if name != "label"}
        for score in line["scores"]:
            value = np.nan if score["value"] is None else score["value"]
            rows.append({**shared, **score, "value": value})
        for failed in [*line["failed"], *_unevaluated(line, config)]:
            strip = failed["method"] in config.methods and _is_strip(config, failed["method"])
            kind = "strip" if strip else "heatmap"
            for metric in (m for m in config.metrics if config.metric(m).of == kind):
                rows.append({**shared, **failed, "metric": metric, "value": np.nan, "passes": 0})
    return sorted(
        rows, key=lambda r: tuple(str(r[k]) for k in ("model", "image", "target", "metric", "method"))
    )


def _unevaluated(line: Mapping[str, Any], config: StudyConfig) -> list[dict[str, str]]:
    """Return failures of the reference maps for an image of which no method has a map."""
    expected = config.references and any(not _is_strip(config, label) for label in config.methods)
    if line["scores"] or not expected:
        return []
    return [{"method": name, "reason": "no method has a map of this image"} for name in references()]


def _is_strip(config: StudyConfig, label: str) -> bool:
    """Whether a method gives counterfactuals."""
    return traits_of(config.explainer(label)).strip


def write_tables(run: Run, config: StudyConfig, keys: Sequence[str]) -> None:
    """Write scores.csv (and scores.parquet where duckdb is installed), summary.csv, comparisons.csv and
    summary.json.

    keys  keys of the study's current scores; a run folder may contain scores of other settings too

    A metric that holds by construction is in scores.csv, but not in the tables. The reference maps are in every
    table except the paired comparisons of methods.
    """
    known = run.scores()
    lines = [known[key] for key in keys if key in known]
    all_rows = rows_of(lines, config)
    metrics = {label: config.metric(label) for label in config.metrics}
    shown = {label: metric for label, metric in metrics.items() if not by_construction(metric)}
    rows = [row for row in all_rows if row["metric"] in shown]
    better = {label: metric.better for label, metric in shown.items()}
    families = {label: _family(metric) for label, metric in shown.items()}
    shares = {label for label, metric in shown.items() if is_yes_or_no(metric)}
    ranked = ranks(rows, better)
    of_methods = [row for row in rows if row["method"] in config.methods]
    by_family = family_ranks(ranked, families, counted={f: WORD not in f for f in families.values()})
    tables = {
        "summary": summarise(rows, shares=shares),
        "ranks": ranked,
        "families": by_family,
        "disagreement": disagreement(by_family),
        "methods": compare(of_methods, "method"),
        "models": compare(of_methods, "model") if len(config.choices) > 1 else [],
        "subgroups": [
            {"subgroup": name, "of": row.pop(name), **row}
            for name in config.subgroups
            for row in summarise(rows, (name, "model", "method", "metric"), shares=shares)
        ],
        "performance": performance(run, lines),
    }
    words: dict[str, Any] = {
        "better": better,
        "metrics": {label: METRICS.name_of(metric) for label, metric in metrics.items()},
        "family": families,
        "words": {label: "" if finds_truth(metric) else WORD for label, metric in shown.items()},
        "by_construction": sorted(set(metrics) - set(shown)),
    }
    write_json(run.folder / "summary.json", {**words, "keys": list(keys), **tables})
    more = [name for name in config.subgroups if name != "label"]
    columns = ["model", "image", "patient", "label", *more, "target", "method", "metric"]
    _write_csv(run.folder / "scores.csv", all_rows, [*columns, "value", "reason", "passes", "note"])
    _write_csv(run.folder / "summary.csv", tables["summary"])
    _write_csv(run.folder / "comparisons.csv", tables["methods"] + tables["models"])
    _write_parquet(run.folder)


def _family(metric: Any) -> str:
    """Return the family of a metric; metrics that do not use the truth have their own families and ranks."""
    return family_of(metric) if finds_truth(metric) else f"{family_of(metric)} ({WORD})"


def performance(run: Run, scored: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the AUC of each classifier on the cohort's labels, per class where the labels name it."""
    lines = {(r["model"], r["source"]): r for r in scored if r["outputs"] and r["label"]}
    table, stored_rows = [], run.rows()
    for (model,), group in groups(lines.values(), ("model",)).items():
        scores, labels = np.array([r["outputs"] for r in group]), [r["label"] for r in group]
        names = sorted(set(labels))
        for column in range(1, scores.shape[1]) if scores.shape[1] == 2 else range(scores.shape[1]):
            positive = set(names) & {str(column), *_names_of(stored_rows, model, column)}
            auc = area_under_curve(
                scores[:, column], np.array([x in positive for x in labels]), [r["patient"] for r in group]
            )
            table.append({"model": model, "class": column, **auc})
    return table


def _names_of(rows: Sequence[Mapping[str, Any]], model: str, column: int) -> set[str]:
    """Return the name of a class from the run's rows, whose predictions read `NAME 93 %`."""
    for row in rows:
        if row.get("model_name", "") == model and column < len(row.get("answers") or []):
            return {str(row["answers"][column]).rsplit(" ", 2)[0]}
    return set()


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
    """Write rows as CSV, with empty fields for None and NaN."""
    write_atomic(path, csv_table(rows, columns).encode())


def _write_parquet(folder: Path) -> None:
    """Write scores.csv as Parquet too, where duckdb is installed."""
    try:
        import duckdb
    except ImportError:  # the CSV has the same content; `pip install contrafact[table]`
        return
    source, out = (str(folder / name).replace("'", "''") for name in ("scores.csv", "scores.parquet"))
    duckdb.sql(f"COPY (FROM read_csv('{source}', header = true)) TO '{out}' (FORMAT parquet)")
