"""Which settings every method, metric and training takes and refuses, and what stands for what by default."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch

from contrafact.attribution.torchesegeta_names import PRESETS
from contrafact.core import EXPLAINERS, GENERATORS, METRICS, ContrafactError
from contrafact.core.execution import parameters_of
from contrafact.counterfactual import DirectionConfig, Refinement
from contrafact.counterfactual.bundle_parts import check_values
from contrafact.generators import EncoderConfig, TranslatorConfig, TranslatorTrainerConfig
from contrafact.generators.translator_settings import check_pairs
from contrafact.models import Preprocessing
from contrafact.models.determinism import steadiness
from contrafact.perturbation import memory
from contrafact.study.config import ModelChoice, StudyConfig

TRIED = (-1.0, 0.0, 0.5, 1.0, 1.5, 1e6)


def takes(make: Callable[[], Any]) -> str:
    """ "+" where something is made, "-" where it is refused in a line, "!" for any other error."""
    try:
        make()
    except ContrafactError:
        return "-"
    except (TypeError, ValueError):
        return "!"
    return "+"


def tried(cls: type, **needed: Any) -> dict[str, str]:
    """For each number among the fields: which of `TRIED` it takes."""
    found = {}
    for one in dataclasses.fields(cls):
        if isinstance(one.default, (int, float)) and not isinstance(one.default, bool):
            kind = type(one.default)
            numbers = [kind(v) for v in TRIED if kind(v) == v]
            found[one.name] = "".join(
                takes(lambda n=n, one=one: cls(**needed, **{one.name: n})) for n in numbers
            )
    return found


PACKAGES = ("", "core", "models", "counterfactual", "metrics", "perturbation", "generators")


def signatures() -> dict[str, Any]:
    """What every public function and class takes by default, as far as it is a plain value."""
    found: dict[str, Any] = {}
    for package in PACKAGES:
        module = import_module(f"contrafact.{package}".rstrip("."))
        for name in sorted(
            {*getattr(module, "__all__", ())} - {"study"}
        ):  # a function, until its package is imported
            member = getattr(module, name)
            with contextlib.suppress(TypeError, ValueError):  # without a signature
                taken = inspect.signature(member).parameters.values() if callable(member) else ()
                plain = {p.name: p.default for p in taken if isinstance(p.default, (int, float, str, tuple))}
                found |= {f"{package}.{name}": plain} if plain else {}
    return found


def memory_parts() -> list[Any]:
    """The portions that work is done in: as many as are asked for, but not more than the memory takes."""
    seen: list[Any] = []
    for count, batch, voxels in ((7, 3, 10), (3, 9, memory.VOXELS // 2), (2, 4, 3 * memory.VOXELS)):
        sizes: list[int] = []
        memory.portions(count, batch, voxels, lambda part, sizes=sizes: sizes.append(part.stop - part.start))  # type: ignore[misc]
        seen.append(sizes)
    return seen


def steady() -> list[float]:
    """How far the answers of a model differ that looks at the whole batch."""

    class Company:
        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1).mean(dim=1, keepdim=True) - images.mean() / 3

        def frozen(self) -> Any:
            return torch.no_grad()

    found = steadiness(Company(), torch.arange(12.0).reshape(1, 1, 3, 4) + 1)  # type: ignore[arg-type]
    return [found.again, found.company, found.allowed]


def studies() -> str:
    """Studies with too little and too much: images or a cohort, models, methods."""
    plain: dict[str, Any] = {
        "out": "o",
        "methods": {"gradcam": {}},
        "images": ("a.png",),
        "model": ModelChoice(path="m"),
    }
    more: list[dict[str, Any]] = [
        {}, {"images": ()}, {"cohort": "c.csv"}, {"images": (), "cohort": "c.csv"}, {"methods": {}},
        {"model": None},
        {"models": {"a": ModelChoice(path="m")}}, {"model": None, "models": {"a": ModelChoice(path="m")}},
        {"methods": {"nobody": {}}}, {"metrics": {"deletion": {}}}, {"metrics": {"nobody": {}}},
        {"workers_per_device": 0},
    ]  # fmt: skip
    return "".join(takes(lambda one=one: StudyConfig(**{**plain, **one})) for one in more)  # type: ignore[misc]


def checks() -> dict[str, str]:
    """Values that nearly fit, and such as do not."""
    grey = torch.linspace(0, 255, 16).reshape(1, 1, 4, 4)
    empty, pair = torch.zeros(0, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    spec: list[dict[str, Any]] = [
        {"size": "ab"}, {"size": 4}, {"size": ()}, {"size": (4,)}, {"mean": (0.5,)}, {"window": (1, 1)},
        {"window": (0, 2)},
        {"mean": (0.1,), "std": (0.0,)}, {"channels": 0}, {"channels": 1}, {"least": 0}, {"channels": True},
    ]  # fmt: skip
    return {
        "window": "".join(takes(lambda n=n: check_values(grey + n, (0, 255), "b")) for n in (-6, -5, 0, 5, 6)),  # type: ignore[misc]
        "dark": "".join(takes(lambda n=n: check_values(grey * n, (0, 255), "b")) for n in (0.0, 0.009, 0.02)),  # type: ignore[misc]
        "pairs": "".join(
            takes(lambda p=p: check_pairs(p, pair)) for p in ((pair, pair), (empty, empty), (pair, pair[:1]))
        ),  # type: ignore[misc]
        "preprocessing": "".join(takes(lambda one=one: Preprocessing(**one)) for one in spec),  # type: ignore[misc]
    }


def values() -> dict[str, Any]:
    return {
        "defaults": {name: parameters_of(EXPLAINERS.make(name)) for name in EXPLAINERS.names()},
        "defaults of metrics": {name: parameters_of(METRICS.make(name)) for name in METRICS.names()},
        "signatures": signatures(),
        "methods": {name: tried(EXPLAINERS.get(name)) for name in EXPLAINERS.names()},
        "metrics": {name: tried(METRICS.get(name)) for name in METRICS.names()},
        "trainings": {
            cls.__name__: tried(cls)
            for cls in (TranslatorConfig, TranslatorTrainerConfig, EncoderConfig, DirectionConfig, Refinement)
        },
        "families": {name: GENERATORS.get(name).__name__ for name in GENERATORS.names()},
        "presets": PRESETS,
        "portions": memory_parts(),
        "steadiness": np.array(steady()),
        "studies": studies(),
        "checks": checks(),
    }
