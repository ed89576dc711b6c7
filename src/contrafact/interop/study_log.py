"""A study that is logged while it runs: to MLflow, Weights & Biases, or an object of your own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeAlias, Unpack

from contrafact.core import InputError, nearest
from contrafact.core.execution import parameters_of, versions
from contrafact.io import open_run
from contrafact.study import StudyConfig, StudyOptions, read_study
from contrafact.study.runner import TaskProgress, study
from contrafact.study.shards import read_shard

Setting: TypeAlias = str | int | float | bool
FILES = ("summary.csv", "comparisons.csv")  # without names of images or patients
TRACKERS = {"mlflow": ("mlflow_tracker", "MLflowTracker"), "wandb": ("wandb_tracker", "WandbTracker")}


class Tracker(Protocol):
    """Where a study is logged."""

    def start(self, name: str, settings: Mapping[str, Setting]) -> None:
        """Begin: the study's title, and what was set."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """After each task: numbers by name."""

    def finish(self, values: Mapping[str, float], files: Sequence[Path], *, failed: bool) -> None:
        """End: the means of the metrics, and the tables; `failed`: the study did not come to its end."""


def logged_study(
    path: str | Path, tracker: Tracker | str, **options: Unpack[StudyOptions]
) -> Iterator[TaskProgress]:
    """Run a study as `contrafact.study` does, and log it.

    path     of the study file
    tracker  an object with the methods of `Tracker`, or `mlflow` or `wandb` with everything at its default
    options  of `contrafact.study`
    gives    a `TaskProgress` per task. Logged are the methods, metrics, targets, seed and versions; the tasks
             that are done and failed; at the end the mean of every metric with its interval
             (`METHOD/METRIC/mean`, `low`, `high`), and the tables summary.csv and comparisons.csv. No image,
             and no name of a file or of a patient, is logged
    raises   InputError as `contrafact.study`, or for an unknown tracker; UnsupportedError where its library is
             not installed. What its server refuses ends the study, which goes on where it was
    """
    tracker = tracker_named(tracker) if isinstance(tracker, str) else tracker
    config, part = read_study(path), read_shard(options.get("shard"))
    out = Path(path).parent / config.out
    folder = part.folder(out) if part else out
    tracker.start(config.title, settings_of(config))
    failures, ended = 0, False
    try:
        for row in study(path, **options):
            failures += row.failure is not None
            tracker.log({"done": row.done, "total": row.total, "failed": failures}, row.done)
            yield row
        ended = True
    finally:
        there = [folder / name for name in FILES if ended and (folder / name).is_file()]
        tracker.finish(means_of(folder) if ended else {}, there, failed=not ended)


def tracker_named(name: str) -> Tracker:
    """Return the tracker of a library, with everything at its default; raise InputError for another name."""
    if name not in TRACKERS:
        raise InputError(f"expected one of {', '.join(TRACKERS)}; got '{name}'{nearest(name, TRACKERS)}")
    module, kind = TRACKERS[name]
    tracker: Tracker = getattr(import_module(f"contrafact.interop.{module}"), kind)()
    return tracker


def settings_of(config: StudyConfig) -> dict[str, Setting]:
    """Return what a study was set to, by dotted name; no paths."""
    found: dict[str, Setting] = {"seed": config.seed, "targets": ", ".join(config.targets)}
    found |= {f"versions.{name}": version for name, version in versions().items()}
    tables: Any = {"methods": (config.methods, config.explainer), "metrics": (config.metrics, config.metric)}
    for kind, (labels, made) in tables.items():
        for label in labels:
            for name, value in parameters_of(made(label)).items():
                plain = value if isinstance(value, (str, int, float, bool)) else json.dumps(value)
                found[f"{kind}.{label}.{name}"] = plain
    return found


def means_of(folder: Path) -> dict[str, float]:
    """Return the mean of every metric and the ends of its interval, by `METHOD/METRIC/mean` (with several
    models `MODEL/METHOD/METRIC/mean`), and the number of results and failures."""
    run = open_run(folder)
    found: dict[str, float] = {"results": len(run.done()), "failures": len(run.failures())}
    summary = folder / "summary.json"
    rows = json.loads(summary.read_text(encoding="utf-8"))["summary"] if summary.is_file() else []
    for row in rows:
        name = "/".join(filter(None, (row["model"], row["method"], row["metric"])))
        ends = {part: row[part] for part in ("mean", "low", "high")}
        found |= {f"{name}/{part}": float(value) for part, value in ends.items() if value is not None}
    return found
