"""Studies: many methods on many images and models, from one file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypedDict, Unpack

from contrafact.study.config import ModelChoice, StudyConfig, read_study
from contrafact.study.torchesegeta import convert_torchesegeta

__all__ = [
    "ModelChoice",
    "StudyConfig",
    "convert_torchesegeta",
    "read_study",
]

if TYPE_CHECKING:
    from contrafact.study.runner import TaskProgress


class StudyOptions(TypedDict, total=False):
    """The keyword arguments of `study`."""

    engine: str
    address: str | None
    shard: str | tuple[int, int] | None
    merge: bool
    retry: bool
    trust: bool
    trust_code: bool


class _Callable(ModuleType):
    """A package that can be called: `contrafact.study` is this package and the function `study`, since an
    imported package replaces the function of its name in its parent."""

    def __call__(self, path: str | Path, **how: Unpack[StudyOptions]) -> Iterator[TaskProgress]:
        study = import_module("contrafact.study.runner").study
        progress: Iterator[TaskProgress] = study(path, **how)
        return progress


sys.modules[__name__].__class__ = _Callable
