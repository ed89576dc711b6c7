"""Running a study: methods on images, then metrics on their results, with time limits and resumption."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contrafact.core import (
    UNTRUSTED,
    ContrafactWarning,
    InputError,
    Request,
    Trust,
    fingerprint,
    is_there,
    nearest,
)
from contrafact.core.execution import parameters_of
from contrafact.core.fingerprint import digest_of_path
from contrafact.core.method_cards import cards_of
from contrafact.core.reading import naming
from contrafact.core.request import source_of_method
from contrafact.io import Case, Run
from contrafact.io.lock import sole_writer
from contrafact.io.remote import fetch_all, local
from contrafact.io.run_cohort import store_cohort
from contrafact.jobs.pool import ENGINES, run_tasks
from contrafact.jobs.tasks import Failure
from contrafact.study import StudyConfig, read_study
from contrafact.study.batches import Batch, batches_of
from contrafact.study.batches import StudyTask as StudyTask
from contrafact.study.copies import RunCopy
from contrafact.study.inputs import (
    ModelIdentity,
    cases_of,
    devices_of,
    digests_of_model,
    existing_path,
    file_of_image,
    identity_of_model,
    label_maps,
    read_once,
    real_cases_of,
    remote_files,
    without_mask,
)
from contrafact.study.scoring import ScoringTask, begin_scoring, record_of, scoring_tasks_of, write_tables
from contrafact.study.shards import Shard, read_shard, shards_of, take_in, take_scores
from contrafact.study.solving import Setting, begin


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """Progress after one task: the task, the number of finished tasks, the total, and its failure, if any."""

    task: StudyTask | ScoringTask
    done: int
    total: int
    failure: Failure | None

    @property
    def cell(self) -> StudyTask | ScoringTask:
        """The old name of `task`."""
        warnings.warn("TaskProgress.cell is called TaskProgress.task now", DeprecationWarning, stacklevel=2)
        return self.task


def study(
    path: str | Path,
    *,
    engine: str = "processes",
    address: str | None = None,
    shard: str | tuple[int, int] | None = None,
    merge: bool = False,
    retry: bool = False,
    trust: bool = False,
    trust_code: bool = False,
) -> Iterator[TaskProgress]:
    """Run a study task by task, and yield progress; results that its run folder has already are skipped,
    but for those whose arrays are damaged.

    engine  processes (a time limit can stop a method), local: in this process, without limits, or ray: actors
            on this machine or a cluster (`pip install 'contrafact[ray]'`), as many as the study has workers
    address of a Ray cluster, such as "auto"; None: a local one
    shard   run one part of the images alone, such as "3/16", in a run folder of its own beside `out`
    merge   first take in what all parts have; what none has is run here
    retry   run failed tasks again
    trust, trust_code  for its models, as in `load_predictor`; a study file cannot set them
    gives   a `TaskProgress` per task, after its result or its failure is written to the run folder: first every
            method on every image, then the metrics, image by image; at the end the tables
    raises  InputError for a study that cannot start, or whose run folder another process writes; a task that
            fails is a row with its error
    """
    path = Path(path)
    config = read_study(path)
    check_engine(engine)
    part = read_shard(shard)
    if address is not None and engine != "ray":
        raise InputError(f"address is of the engine ray; got the engine {engine}")
    if part is not None and merge:
        raise InputError(f"expected a shard or merge; got shard {part} and merge")
    trusted, out = Trust(trust, trust_code), path.parent / config.out
    copy = RunCopy(config.copy_to, part)
    with naming(path.name):
        cases, tasks, labelled = prepared(config, path.parent, trusted, part)
        copy.bring(out, merge=merge)
        parts = shards_of(out) if merge else []
    about = {"title": config.title, "study": dataclasses.asdict(config)}
    run = Run.create(part.folder(out) if part else out, about=about)
    with sole_writer(run.folder):
        copy.send(run.folder)  # a store that refuses it is told before the work
        for _ in take_in(run, parts, {task.key for task in tasks}):
            pass
        setting = (config, str(path.parent), trusted, labelled)
        how = {"engine": engine, "address": address}
        for progress in run_tasks_of(
            run, cases, tasks, setting, how=how, retry=retry, tables=part is None, parts=parts
        ):
            copy.send_now_and_then(run.folder)
            yield progress
        copy.try_to_send(run.folder)


def check_engine(engine: str) -> None:
    """Raise InputError for an engine that is not known."""
    if engine not in ENGINES:
        raise InputError(
            f"engine must be one of {', '.join(ENGINES)}; got '{engine}'{nearest(engine, ENGINES)}"
        )


def prepared(
    config: StudyConfig, folder: Path, trust: Trust, part: Shard | None = None
) -> tuple[list[Case], list[StudyTask], frozenset[str]]:
    """Return the cases of a study, or of one part, its tasks, and the names of the masks that are label maps.
    Raise InputError for images, masks and models that cannot be used."""
    cases = cases_of(config, folder)
    cases = part.of(cases) if part else cases
    fetch_all(remote_files(config, cases))
    _warn_of_missing_masks(without_mask(config, folder, cases), len(cases))
    labelled = label_maps(config, folder, cases)
    return cases, tasks_of(config, folder, cases, trust, labelled=labelled), labelled


def run_tasks_of(
    run: Run,
    cases: list[Case],
    tasks: list[StudyTask],
    setting: Setting,
    *,
    how: dict[str, Any],
    retry: bool,
    tables: bool,
    parts: Sequence[Run] = (),
) -> Iterator[TaskProgress]:
    """Run the tasks that the run lacks, then the metrics that neither it nor the study's parts have, and write
    the tables."""
    config, folder, trusted, labelled = setting
    if config.cohort is not None:
        store_cohort(run, {str(case.path): case for case in cases})
    for label in config.methods:
        run.add_methods(cards_of(config.explainer(label)))
    total = len(tasks) + (len({(c.image, c.target, c.model) for c in tasks}) if config.metrics else 0)
    damaged = _damaged(run, tasks)
    known = (run.done() - damaged) | (set() if retry else run.failed())
    open_tasks = [task for task in tasks if task.key not in known]
    done = len(tasks) - len(open_tasks)
    options: Any = {"devices": devices_of(config), "limit_seconds": config.limit_seconds, **how}
    for task, result, taken in _solved(batches_of(open_tasks, config), setting, options):
        done, failure = done + 1, result if isinstance(result, Failure) else None
        if failure is not None:
            about = {
                "method": task.label,
                "target": task.target,
                "source": task.image,
                "model_name": task.model,
            }
            run.add_failure(task.key, seconds=round(taken, 2), **about, **dataclasses.asdict(failure))
        else:
            image, found, extra = result
            run.add(task.key, image, found, replace=task.key in damaged, **extra)
        yield TaskProgress(task, done, total, failure)
    if config.metrics:
        scorings = scoring_tasks_of(run, config, Path(folder), cases, tasks, trusted, labelled=labelled)
        take_scores(run, parts, {scoring.key for scoring in scorings})
        yield from _score(run, scorings, damaged, setting, options, done, total)
        if tables:
            write_tables(run, config, [s.key for s in scorings])


def _solved(batches: list[Batch], setting: Setting, options: Any) -> Iterator[tuple[StudyTask, Any, float]]:
    """Yield each task with its result or `Failure`, and its seconds. The tasks of a batch whose worker died or
    exceeded the time limit run again, one at a time."""
    again = list[Batch]()
    for outcome in run_tasks(batches, begin, setting, **options):
        batch = batches[outcome.number]
        if isinstance(outcome.result, Failure) and len(batch.tasks) > 1:
            again += [Batch((task,), (task.image,)) for task in batch.tasks]
            continue
        results = [outcome.result] if isinstance(outcome.result, Failure) else outcome.result
        for task, result in zip(batch.tasks, results, strict=True):
            yield task, result, outcome.seconds / len(batch.tasks)
    if again:
        yield from _solved(again, setting, options)


def _damaged(run: Run, tasks: list[StudyTask]) -> set[str]:
    """Return the tasks whose results cannot be read, after their images, from which that may come, are stored
    again."""
    damaged = run.unreadable({task.key for task in tasks})
    if not damaged:
        return damaged
    for image in dict.fromkeys(task.image for task in tasks if task.key in damaged):
        with contextlib.suppress(InputError, OSError):  # its tasks run again, and tell
            run.restore(read_once(Path(image)))
    return run.unreadable(damaged)


def _score(
    run: Run, scorings: list[ScoringTask], damaged: set[str], setting: Any, options: Any, done: int, total: int
) -> Iterator[TaskProgress]:
    """Evaluate all results of each image with every metric, and yield progress."""
    known = run.scores()
    # A scoring task whose worker failed, or that lacked a result which was damaged, runs again.
    pending = [
        s
        for s in scorings
        if s.key not in known
        or known[s.key].get("failure")
        or damaged & {row["key"] for _, row in s.maps}
        or {row["method"] for row in known[s.key]["failed"]} & {label for label, _ in s.maps}
    ]
    done += len(scorings) - len(pending)
    for outcome in run_tasks(pending, begin_scoring, (*setting, str(run.folder)), **options):
        scoring, done = pending[outcome.number], done + 1
        failure = outcome.result if isinstance(outcome.result, Failure) else None
        run.add_scores(scoring.key, **record_of(scoring, outcome.result))
        yield TaskProgress(scoring, done, total, failure)


def tasks_of(
    config: StudyConfig,
    folder: Path,
    cases: list[Case],
    trust: Trust = UNTRUSTED,
    *,
    labelled: frozenset[str] = frozenset(),
) -> list[StudyTask]:
    """Return a task for every model, image, target and method; its key depends on everything that can change
    the result. `labelled` names the masks that are label maps (`label_maps`)."""
    maps = sorted(labelled & {"region", "reference"})
    models = {
        name: identity_of_model(choice, config, folder, cases, trust) for name, choice in config.choices.items()
    }
    _warn_of_equal_targets(config, models)
    real = _digest_of_cases(config, folder, trust)
    others = tuple(digest_of_path(existing_path(folder, text)) for text in (config.background,) if text)
    tasks = []
    for case in cases:
        there_is = is_there(local(case.path))
        masks = [text if there_is else None for text in (config.region, config.keep, config.reference)]
        region, keep, reference = [
            digest_of_path(file_of_image(folder, text, case.path)) if text else "" for text in masks
        ]
        content = digest_of_path(local(case.path))
        for (name, model), text, label in itertools.product(
            models.items(), config.targets or ("",), config.methods
        ):
            target = model.targets.get(text, "")
            explainer = config.explainer(label)
            beside = {"cases": real} if label in config.with_cases else {}
            request = Request(
                image=content,
                model=model.digest,
                method=parameters_of(explainer),
                target=target,
                bundle=model.bundle,
                reference=reference,
                region=region,
                background=others,
                seed=config.seed,
                also={**({"label_maps": maps} if maps else {}), **({"keep": keep} if keep else {}), **beside},
                source=source_of_method(explainer),
            )
            key = "/".join(filter(None, (name, case.path.name, label, target or "-", request.key)))
            tasks.append(StudyTask(key, str(case.path), label, target, name))
    return list({task.key: task for task in tasks}.values())


def _digest_of_cases(config: StudyConfig, folder: Path, trust: Trust) -> list[str]:
    """Return the digests of the study's real cases and of the second model, which confirms them."""
    if config.cases is None:
        return []
    second = digests_of_model(config.second_model, folder, trust)[:1] if config.second_model else ()
    return [fingerprint([one.digest() for one in real_cases_of(folder, config.cases)]), *second]


def _warn_of_missing_masks(missing: list[str], count: int) -> None:
    """Warn where masks are missing: metrics that need one have no value of these images."""
    if missing:
        names = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        line = f"the masks of {len(missing)} of {count} images are missing ({names})"
        warnings.warn(f"{line}; metrics that need one have no value there", ContrafactWarning, stacklevel=3)


def _warn_of_equal_targets(config: StudyConfig, models: Mapping[str, ModelIdentity]) -> None:
    """Warn where several targets of the study are the same one."""
    for name, model in models.items():
        texts: dict[str, list[str]] = {}
        for text in config.targets:
            texts.setdefault(model.targets[text], []).append(text)
        for target, several in texts.items():
            if len(several) > 1:
                whose = f" for model {name}" if name else ""
                line = f"the targets {', '.join(several)} are the same{whose}, {target}, and run once"
                warnings.warn(f"{line}; remove all but one", ContrafactWarning, stacklevel=3)
