"""From a study file to a run folder: methods on images, then metrics on what they said; stopped and resumed."""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contrafact.api.case import Plan, solve
from contrafact.core import (
    UNTRUSTED,
    ContrafactWarning,
    Counterfactual,
    Heatmap,
    Image,
    InputError,
    Request,
    Trust,
    nearest,
)
from contrafact.core.execution import parameters_of
from contrafact.core.method_cards import cards_of
from contrafact.core.request import source_of_method
from contrafact.io import Case, Run, read_image
from contrafact.jobs.pool import ENGINES, Failure, run_cells
from contrafact.study import StudyConfig, read_study
from contrafact.study.inputs import (
    Studied,
    cases_of,
    devices_of,
    digest_of,
    label_maps,
    loaded,
    maybe,
    own,
    studied,
    there,
)
from contrafact.study.scoring import ScoringTask, begin_scoring, record_of, scorings_of, write_tables


@dataclass(frozen=True, slots=True)
class StudyTask:
    """One method on one image for one target (empty: what the model prefers). `key` is unique in a run."""

    key: str
    image: str
    label: str
    target: str
    model: str = ""


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """What became of a cell: of how many it is which, and what went wrong where something did."""

    cell: StudyTask | ScoringTask
    done: int
    total: int
    failure: Failure | None


def study(
    path: str | Path,
    *,
    engine: str = "processes",
    retry: bool = False,
    trust: bool = False,
    trust_code: bool = False,
) -> Iterator[TaskProgress]:
    """Do what a study file asks, cell by cell; what its run folder holds already is passed over.

    engine  processes (a time limit can stop a method), or local: in this process, no limit
    retry   try again what failed
    trust, trust_code  of its models, as in `load_predictor`; a study file cannot give them
    gives   a `TaskProgress` per cell, after its result or its failure is safe in the run folder: first every
            method on every image, then the metrics, image by image; at the end the tables are written
    raises  InputError for a study that cannot begin
    """
    path = Path(path)
    config = read_study(path)
    if engine not in ENGINES:
        raise InputError(
            f"engine must be one of {', '.join(ENGINES)}; got '{engine}'{nearest(engine, ENGINES)}"
        )
    cases = cases_of(config, path.parent)
    trusted = Trust(trust, trust_code)
    labelled = label_maps(config, path.parent, cases)
    cells = cells_of(config, path.parent, cases, trusted, labelled=labelled)
    run = Run.create(
        path.parent / config.out, about={"title": config.title, "study": dataclasses.asdict(config)}
    )
    for label in config.methods:
        run.add_methods(cards_of(config.explainer(label)))
    total = len(cells) + (len({(c.image, c.target, c.model) for c in cells}) if config.metrics else 0)
    known = run.done() | (set() if retry else run.failed())
    open_cells = [cell for cell in cells if cell.key not in known]
    done = len(cells) - len(open_cells)
    how: Any = {"devices": devices_of(config), "limit_seconds": config.limit_seconds, "engine": engine}
    setting = (config, str(path.parent), trusted, labelled)
    for outcome in run_cells(open_cells, begin, setting, **how):
        cell, done = open_cells[outcome.number], done + 1
        failed = outcome.result if isinstance(outcome.result, Failure) else None
        if failed is not None:
            about = {
                "method": cell.label,
                "target": cell.target,
                "source": cell.image,
                "model_name": cell.model,
            }
            run.add_failure(cell.key, seconds=round(outcome.seconds, 2), **about, **dataclasses.asdict(failed))
        else:
            image, result, extra = outcome.result
            run.add(cell.key, image, result, **extra)
        yield TaskProgress(cell, done, total, failed)
    if config.metrics:
        scorings = scorings_of(run, config, path.parent, cases, cells, trusted, labelled=labelled)
        yield from _scored(run, scorings, setting, how, done, total)
        write_tables(run, config, [s.key for s in scorings])


def _scored(
    run: Run, scorings: list[ScoringTask], setting: Any, how: Any, done: int, total: int
) -> Iterator[TaskProgress]:
    """The second half: every metric on all maps of an image together."""
    known = run.scores()
    # One whose worker failed is tried again: its maps are there.
    pending = [s for s in scorings if s.key not in known or known[s.key].get("failure")]
    done += len(scorings) - len(pending)
    for outcome in run_cells(pending, begin_scoring, (*setting, str(run.folder)), **how):
        scoring, done = pending[outcome.number], done + 1
        failed = outcome.result if isinstance(outcome.result, Failure) else None
        run.add_scores(scoring.key, **record_of(scoring, outcome.result))
        yield TaskProgress(scoring, done, total, failed)


def cells_of(
    config: StudyConfig,
    folder: Path,
    cases: list[Case],
    trust: Trust = UNTRUSTED,
    *,
    labelled: frozenset[str] = frozenset(),
) -> list[StudyTask]:
    """Every model, image, target and method; the key tells when anything about them changes. `labelled` names
    the masks that are label maps (`label_maps`)."""
    maps = sorted(labelled & {"region", "reference"})
    models = {name: studied(choice, config, folder, cases, trust) for name, choice in config.choices.items()}
    _say_of_targets_that_are_one(config, models)
    others = tuple(digest_of(there(folder, text)) for text in (config.background,) if text)
    cells = []
    for case in cases:
        there_is = case.path.exists()
        masks = [text if there_is else None for text in (config.region, config.reference)]
        region, reference = [digest_of(own(folder, text, case.path)) if text else "" for text in masks]
        content = digest_of(case.path)
        for (name, model), text, label in itertools.product(
            models.items(), config.targets or ("",), config.methods
        ):
            target = model.targets.get(text, "")
            explainer = config.explainer(label)
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
                also={"label_maps": maps} if maps else {},
                source=source_of_method(explainer),
            )
            key = "/".join(filter(None, (name, case.path.name, label, target or "-", request.key)))
            cells.append(StudyTask(key, str(case.path), label, target, name))
    return list({cell.key: cell for cell in cells}.values())


def _say_of_targets_that_are_one(config: StudyConfig, models: Mapping[str, Studied]) -> None:
    for name, model in models.items():
        texts: dict[str, list[str]] = {}
        for text in config.targets:
            texts.setdefault(model.targets[text], []).append(text)
        for target, several in texts.items():
            if len(several) > 1:
                whose = f" for model {name}" if name else ""
                line = f"the targets {', '.join(several)} are one{whose}, {target}: it is asked once"
                warnings.warn(f"{line}; leave all but one out", ContrafactWarning, stacklevel=3)


def begin(setting: tuple[StudyConfig, str, Trust, frozenset[str]], device: str) -> Any:
    """The models, each once for a process; gives what solves a cell."""
    config, folder, trust, labelled = setting
    place = Path(folder)
    models, background = loaded(config, place, device, trust)

    def one(cell: StudyTask) -> tuple[Image, Heatmap | Counterfactual, dict[str, Any]]:
        image = read_image(cell.image)
        predictor, bundle = models[cell.model]
        plan = Plan(
            predictor=predictor,
            methods=(),
            target=cell.target or None,
            bundle=bundle,
            background=background,
            region=maybe(place, config.region, Path(cell.image), label_map="region" in labelled),
            reference=maybe(place, config.reference, Path(cell.image), label_map="reference" in labelled),
            seed=config.seed,
        )
        result, extra = solve(Path(cell.image).name, image, config.explainer(cell.label), plan)
        return image, result, {**extra, "label": cell.label, "model_name": cell.model}

    return one
