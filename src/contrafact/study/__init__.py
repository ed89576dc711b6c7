"""Studies: many methods on many images and models, from one file."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from contrafact.study.config import ModelChoice, StudyConfig, read_study
from contrafact.study.torchesegeta import convert_torchesegeta

__all__ = [
    "ModelChoice",
    "StudyConfig",
    "convert_torchesegeta",
    "read_study",
]


class _Callable(ModuleType):
    """A package that can be called: `contrafact.study` is this package and the function `study`, since an
    imported package replaces the function of its name in its parent."""

    def __call__(
        self,
        path: Any,
        *,
        engine: str = "processes",
        retry: bool = False,
        trust: bool = False,
        trust_code: bool = False,
    ) -> Any:
        study = import_module("contrafact.study.runner").study
        return study(path, engine=engine, retry=retry, trust=trust, trust_code=trust_code)


sys.modules[__name__].__class__ = _Callable
