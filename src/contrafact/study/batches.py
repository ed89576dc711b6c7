"""The tasks of a study, and batches of them: one method, model and target on images that follow one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contrafact.study import StudyConfig


@dataclass(frozen=True, slots=True)
class StudyTask:
    """One method on one image for one target (empty: the predicted class). `key` is unique in a run."""

    key: str
    image: str
    label: str
    target: str
    model: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Tasks that a worker solves together.

    images  those of the batch and of the batches beside it, which have the same images and other methods
    ahead   the images that follow, which the worker reads meanwhile
    """

    tasks: tuple[StudyTask, ...]
    images: tuple[str, ...]
    ahead: tuple[str, ...] = ()


def batches_of(tasks: Sequence[StudyTask], config: StudyConfig) -> list[Batch]:
    """Return the tasks in batches of the study's size, in the order of their images; of one image each where
    images have masks or real cases of their own."""
    own = config.region or config.keep or config.reference or config.cases
    size, images = 1 if own else config.batch, list(dict.fromkeys(task.image for task in tasks))
    blocks = [tuple(images[at : at + size]) for at in range(0, len(images), size)]
    number_of = {image: number for number, block in enumerate(blocks) for image in block}
    groups: dict[tuple[int, str, str, str], list[StudyTask]] = {}
    for task in tasks:
        groups.setdefault((number_of[task.image], task.model, task.target, task.label), []).append(task)
    following = [*blocks[1:], ()]
    return [Batch(tuple(group), blocks[at], following[at]) for (at, *_), group in groups.items()]
