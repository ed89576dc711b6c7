"""A study file: which methods on which images of which model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contrafact.core import EXPLAINERS, METRICS, InputError, Registry, check_types, configure, read_toml


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """The model under study.

    path     a model file as in `load_predictor`, relative to the study file; or none with a bundle
    bundle   a bundle by name or folder; path then names one of its predictors
    output   what the model gives, as in `load_predictor`; none: as its description says, else logits
    patch    a segmenter that takes patches: their size in voxels; none: the whole image at once
    overlap  share of a patch that it has in common with its neighbour
    """

    path: str | None = None
    bundle: str | None = None
    output: str | None = None
    patch: tuple[int, ...] = ()
    overlap: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyConfig:
    """A whole study; paths are relative to the study file.

    images   files, folders of them, or patterns (`cases/*.nii.gz`)
    cohort   instead of images: a CSV with `path`, and where known `patient`, `label`, `mask`, `split` and
             other columns
    split    only the cases of this split
    subgroups  columns of the cohort: figures for each of their values
    out      run folder
    model    the model under study; or `models`, by name, to compare them on the same images
    methods  hyper-parameters by method; under another label with `method = "NAME"`
    metrics  hyper-parameters by metric; under another label with `metric = "NAME"`
    second_model  trained without the others: whether it confirms a counterfactual
    targets  each is asked of every image; none: what the model prefers
    masks    where the cause lies, with {stem}, for metrics of localisation: no method sees it
    references  judge maps that look at no model beside the methods: random, an edge detector, a blob in the
             middle, and the truth where there are masks
    background  a file or a folder of images of the same kind
    region, reference   masks, with {stem} for the image's own name
    limit_seconds      of one method on one image; what takes longer is stopped and noted. none: no limit
    devices            cpu, cuda:0, …; none: every GPU, or the CPU
    workers_per_device processes on each
    seed               of what is drawn at random
    title              stands on the report
    """

    out: str
    methods: Mapping[str, Mapping[str, Any]]
    images: tuple[str, ...] = ()
    cohort: str | None = None
    split: str | None = None
    subgroups: tuple[str, ...] = ()
    model: ModelChoice | None = None
    models: Mapping[str, ModelChoice] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    masks: str | None = None
    references: bool = True
    second_model: ModelChoice | None = None
    targets: tuple[str, ...] = ()
    background: str | None = None
    region: str | None = None
    reference: str | None = None
    limit_seconds: float | None = None
    devices: tuple[str, ...] = ()
    workers_per_device: int = 1
    seed: int = 0
    title: str = "Study"

    def __post_init__(self) -> None:
        if bool(self.images) == bool(self.cohort) or not self.methods:
            raise InputError(
                "a study needs images or a cohort (not both), and methods; got "
                f"{len(self.images)} images, {'a' if self.cohort else 'no'} cohort, {len(self.methods)} methods"
            )
        if not self.cohort and (self.split or self.subgroups):
            raise InputError("split and subgroups name columns of a cohort; give cohort = 'FILE.csv'")
        if self.limit_seconds is not None and self.limit_seconds <= 0:
            raise InputError(f"limit_seconds must be above 0; got {self.limit_seconds:g}")
        if self.workers_per_device < 1:
            raise InputError(f"workers_per_device must be at least 1; got {self.workers_per_device}")
        if (self.model is None) == (not self.models):
            raise InputError("a study needs [model], or [models.NAME] for each of several; got both or neither")
        for name, choice in self.choices.items():
            if choice.path is None and choice.bundle is None:
                raise InputError(f"[{f'models.{name}' if name else 'model'}] needs path or bundle; got neither")
        for label in self.methods:
            self.explainer(label)
        for label in self.metrics:
            self.metric(label)

    @property
    def choices(self) -> Mapping[str, ModelChoice]:
        """The models by name; a single one has none."""
        return self.models if self.model is None else {"": self.model}

    def explainer(self, label: str) -> Any:
        """The method of that label."""
        return _made(EXPLAINERS, label, self.methods[label], "method")

    def metric(self, label: str) -> Any:
        """The metric of that label."""
        return _made(METRICS, label, self.metrics[label], "metric")


def read_study(path: str | Path) -> StudyConfig:
    """A study from TOML; unknown keys, methods and hyper-parameters are answered with the nearest."""
    return configure(StudyConfig, read_toml(path), where="study")


def _made(registry: Registry, label: str, given: Mapping[str, Any], kind: str) -> Any:
    given = {k: _tuples(v) for k, v in given.items()}
    name = str(given.pop(kind, label))
    check_types(registry.get(name), given, where=f"{kind}s.{label}")
    return registry.make(name, **given)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
