"""What a study costs, before it runs: its first image is run, and the rest is reckoned from it."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contrafact.core import Trust
from contrafact.core.reading import naming
from contrafact.io import Run
from contrafact.io.lock import sole_writer
from contrafact.study import read_study
from contrafact.study.copies import RunCopy
from contrafact.study.inputs import devices_of
from contrafact.study.runner import StudyTask, check_engine, prepared, run_tasks_of
from contrafact.study.scoring import ScoringTask


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodCost:
    """What one method of one model took on the first image.

    passes  forward passes of the model; `seconds`; `memory_mb`: greatest resident memory of the process so far
    error   why it failed; `passes` and `memory_mb` are 0 then, `seconds` those until it failed
    """

    model: str
    method: str
    target: str
    passes: float = 0.0
    seconds: float = 0.0
    memory_mb: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """The cost of a study.

    images    number of images, of which `left` are not finished
    workers   processes that work at the same time
    methods   one row for each model, method and target
    scoring   seconds of all metrics on the first image; where it was done before, those that the run stores
    begin     seconds until a worker has loaded its models
    """

    images: int
    left: int
    workers: int
    methods: tuple[MethodCost, ...]
    scoring: float
    begin: float

    @property
    def seconds_per_image(self) -> float:
        """Return the seconds of one worker for one image."""
        return sum(one.seconds for one in self.methods) + self.scoring

    @property
    def seconds(self) -> float:
        """Return the seconds until the study is done. Images are as large as the first, and workers share no
        cores, by assumption."""
        return self.begin + self.left * self.seconds_per_image / self.workers if self.left else 0.0

    @property
    def memory_mb(self) -> float:
        """Return the memory of all workers together."""
        return self.workers * max((one.memory_mb for one in self.methods), default=0.0)


def plan(
    path: str | Path, *, engine: str = "processes", trust: bool = False, trust_code: bool = False
) -> StudyPlan:
    """Return what a study costs. Its first image is run by one worker, and its results are kept: the study
    goes on from there.

    cost    every method and metric on one image
    raises  InputError, as `study`
    """
    path = Path(path)
    config, trusted = read_study(path), Trust(trust, trust_code)
    check_engine(engine)
    with naming(path.name):
        cases, tasks, labelled = prepared(config, path.parent, trusted)
    RunCopy(config.copy_to).bring(path.parent / config.out)
    about = {"title": config.title, "study": dataclasses.asdict(config)}
    run = Run.create(path.parent / config.out, about=about)
    first = [task for task in tasks if task.image == tasks[0].image]
    alone = dataclasses.replace(config, devices=tuple(devices_of(config)[:1]), workers_per_device=1)
    setting = (alone, str(path.parent), trusted, labelled)
    how = {"engine": engine, "address": None}
    with sole_writer(run.folder):
        gaps, since = list[tuple[StudyTask | ScoringTask, float]](), time.monotonic()
        for row in run_tasks_of(run, cases, first, setting, how=how, retry=False, tables=False):
            gaps.append((row.task, time.monotonic() - since))
            since = time.monotonic()
        methods = _costs(run, first)
        known = run.done() | run.failed()
        left = {task.image for task in tasks if task.key not in known}
    own = {task.key: one.seconds for task, one in zip(first, methods, strict=True)}
    begin = next((max(0.0, gap - own[task.key]) for task, gap in gaps[:1] if task.key in own), 0.0)
    return StudyPlan(
        images=len(cases),
        left=len(left),
        workers=len(devices_of(config)),
        methods=methods,
        scoring=_scoring(run, first, gaps),
        begin=begin,
    )


def _scoring(run: Run, tasks: list[StudyTask], gaps: list[tuple[StudyTask | ScoringTask, float]]) -> float:
    """Return the seconds of the metrics: of their tasks now, or as an earlier call stored them."""
    now = [gap for task, gap in gaps if task.label == "metrics"]
    if now:
        return sum(now)
    stored = {(row.get("source"), row.get("target"), row.get("model")): row for row in run.scores().values()}
    asked = dict.fromkeys((task.image, task.target or "-", task.model) for task in tasks)
    return sum(
        float(score.get("seconds") or 0.0) for one in asked if one in stored for score in stored[one]["scores"]
    )


def _costs(run: Run, tasks: list[StudyTask]) -> tuple[MethodCost, ...]:
    """Return what each task took, or why it failed."""
    rows = {row["key"]: row["record"] for row in run.rows()}
    failures = {row["key"]: row for row in run.failures()}
    found = []
    for task in tasks:
        named: Any = {"model": task.model, "method": task.label, "target": task.target}
        if task.key in rows:
            record = rows[task.key]
            found.append(
                MethodCost(
                    **named,
                    passes=float(record["forward_passes"]),
                    seconds=float(record["seconds"]),
                    memory_mb=float(record.get("peak_memory_mb", 0.0)),
                )
            )
        else:
            failed = failures.get(task.key, {"error": "it has no result"})
            found.append(MethodCost(**named, seconds=failed.get("seconds") or 0.0, error=failed["error"]))
    return tuple(found)
