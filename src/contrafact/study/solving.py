"""What a worker of a study does: the models once, then batches of tasks, each image read ahead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from contrafact.api import explanation
from contrafact.api.case import Plan, images_at_once, solve_together
from contrafact.api.nearest import CaseLibrary
from contrafact.core import Counterfactual, Heatmap, Image, Trust
from contrafact.jobs.tasks import Failure, solved
from contrafact.study import StudyConfig
from contrafact.study.batches import Batch, StudyTask
from contrafact.study.inputs import Ahead, loaded, model_of, optional_mask, real_cases_of, region_of

# What a worker needs: the study, its folder, trust in its models, and which masks are label maps.
Setting = tuple[StudyConfig, str, Trust, frozenset[str]]
Result = tuple[Image, Heatmap | Counterfactual, dict[str, Any]]


def begin(setting: Setting, device: str) -> Any:
    """Load the models once in a worker process; return the function that gives the result of each task of a
    batch, or its `Failure`."""
    config, path, trust, labelled = setting
    folder = Path(path)
    models, background = loaded(config, folder, device, trust)
    reader = Ahead()
    real = _real_cases(config, folder, device, trust, models)

    def together(tasks: Sequence[StudyTask], images: Sequence[Image]) -> list[Result]:
        """Solve tasks of one method, model and target; several only where no image has masks of its own."""
        first = tasks[0]
        predictor, bundle = models[first.model]
        file = Path(first.image)
        plan = Plan(
            predictor=predictor,
            methods=(),
            target=first.target or None,
            bundle=bundle,
            background=background,
            region=region_of(config, folder, file, labelled),
            reference=optional_mask(folder, config.reference, file, label_map="reference" in labelled),
            seed=config.seed,
        )
        near: dict[str, Any] = {}
        if first.label in config.with_cases:
            target = explanation.parse(predictor, plan.target, images[0])
            near = {"nearest": real[first.model].nearest(images[0], target)}
        names = [Path(task.image).name for task in tasks]
        found = solve_together(names, images, config.explainer(first.label), plan)
        more = {**near, "label": first.label, "model_name": first.model}
        return [(image, result, extra | more) for image, (result, extra) in zip(images, found, strict=True)]

    def run_batch(batch: Batch) -> list[Result | Failure]:
        read = reader.read(batch.images, batch.ahead)

        def at_once(tasks: list[StudyTask]) -> list[Result]:
            return together(tasks, [read[task.image].result() for task in tasks])

        def alone(task: StudyTask) -> Result:
            return at_once([task])[0]

        found: dict[str, Result | Failure] = {}
        for part in _parts(batch.tasks, read):
            several = solved(at_once, part)
            if not isinstance(several, Failure):
                found |= {task.key: result for task, result in zip(part, several, strict=True)}
        return [found.get(task.key) or solved(alone, task) for task in batch.tasks]

    return run_batch


def _parts(tasks: Sequence[StudyTask], read: Mapping[str, Future[Image]]) -> Iterator[list[StudyTask]]:
    """Yield the tasks whose images can be read and have one size, several at a time, as many as a pass of the
    model may have voxels; tasks that are left over are solved alone."""
    sizes: dict[tuple[int, ...], list[StudyTask]] = {}
    for task in tasks:
        if read[task.image].exception() is None:
            sizes.setdefault(read[task.image].result().values.shape, []).append(task)
    for group in sizes.values():
        count = images_at_once(read[group[0].image].result().values.size)
        for at in range(0, len(group), count):
            part = group[at : at + count]
            if len(part) > 1:
                yield part


def _real_cases(
    config: StudyConfig, folder: Path, device: str, trust: Trust, models: Mapping[str, tuple[Any, Any]]
) -> dict[str, CaseLibrary]:
    """Return the study's real cases for each model, each beside the second model of the study or its bundle."""
    if config.cases is None:
        return {}
    second = model_of(config.second_model, folder, device, trust)[0] if config.second_model else None
    found = real_cases_of(folder, config.cases)
    return {
        name: CaseLibrary(
            predictor, found, by=second or (None if bundle is None else bundle.second_model(predictor))
        )
        for name, (predictor, bundle) in models.items()
    }
