"""The configuration of a study: methods, images, models and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contrafact.core import (
    EXPLAINERS,
    METRICS,
    InputError,
    Registry,
    check_types,
    configure,
    read_toml,
    traits_of,
)
from contrafact.core.reading import naming
from contrafact.io.remote import address_of

LARGEST_BATCH = 16  # images that `core.explain` gives to a method at once


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """The model under study.

    path     a model file or folder as in `load_predictor`, relative to the study file (a name with weights
             stands in a description, as its `model`); optional with a bundle
    bundle   a bundle by name or folder; path then names one of its predictors
    output   kind of the model's output, as in `load_predictor`; none: from its description, else logits
    patch    for a segmenter of patches: their size in voxels; none: the whole image at once
    overlap  share of a patch that overlaps with its neighbour
    """

    path: str | None = None
    bundle: str | None = None
    output: str | None = None
    patch: tuple[int, ...] = ()
    overlap: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyConfig:
    """The configuration of a study; paths are relative to the study file.

    images   files, folders, or patterns (`cases/*.nii.gz`)
    cohort   instead of images: a CSV with `path`, and optionally `patient`, `label`, `mask`, `split` and
             other columns
    split    use only the cases of this split
    subgroups  columns of the cohort: results for each of their values
    out      run folder
    copy_to  address of a folder in an object store, such as s3://bucket/run: the run folder is copied there
             every few minutes and at the end, and a part that begins on another machine goes on from there
    model    the model under study
    models   instead of it: models by name, which are compared on the same images
    methods  hyper-parameters by method; under another label with `method = "NAME"`
    metrics  hyper-parameters by metric; under another label with `metric = "NAME"`
    second_model  an independently trained model, which confirms counterfactuals
    targets  the targets of every image; none: the predicted class
    masks    true location of the cause, with {stem}, for metrics of localisation; no method uses it
    references  evaluate maps that depend on no model too: random, an edge detector, a central blob, and the
             truth where there are masks
    background  a file or a folder of images of the same kind
    cases    a folder of real images, or a cohort's CSV: the nearest on the other side of the decision are
             stored with each counterfactual, or, without one, with the first method
    region   mask to which maps are limited, and outside of which counterfactuals change nothing, with {stem}
             for the image's own name
    keep     mask of what stays as it is, with {stem} for the image's own name
    reference   mask with which targets such as missed:1 compare, with {stem} for the image's own name
    largest_image      how many values an image file may declare (docs/formats.md); none: the default
    limit_seconds      time limit for one method on one image; a method that exceeds it fails. none: no limit
    devices            cpu, cuda:0, …; none: every GPU, or the CPU
    workers_per_device number of processes on each device
    batch              how many images of one size a method may explain at once, fewer where they are large;
                       results then differ by rounding from those of one image at a time
    seed               seed of random numbers
    title              title of the report
    """

    out: str
    methods: Mapping[str, Mapping[str, Any]]
    copy_to: str | None = None
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
    cases: str | None = None
    region: str | None = None
    keep: str | None = None
    reference: str | None = None
    largest_image: int | None = None
    limit_seconds: float | None = None
    devices: tuple[str, ...] = ()
    workers_per_device: int = 1
    batch: int = 1
    seed: int = 0
    title: str = "Study"

    def __post_init__(self) -> None:
        if bool(self.images) == bool(self.cohort) or not self.methods:
            raise InputError(
                "expected images or a cohort (not both), and methods; got "
                f"{len(self.images)} images, {'a' if self.cohort else 'no'} cohort, {len(self.methods)} methods"
            )
        if Path(self.out).name in ("", ".."):
            raise InputError(f"out must be a folder of its own, such as runs/study; got '{self.out}'")
        if self.copy_to is not None:
            object.__setattr__(self, "copy_to", _store_folder(self.copy_to))
        if not self.cohort and (self.split or self.subgroups):
            raise InputError("split and subgroups need a cohort; got none; set cohort = 'FILE.csv'")
        if self.limit_seconds is not None and self.limit_seconds <= 0:
            raise InputError(f"limit_seconds must be above 0; got {self.limit_seconds:g}")
        if self.largest_image is not None and self.largest_image < 1:
            raise InputError(f"largest_image must be at least 1; got {self.largest_image}")
        if self.workers_per_device < 1:
            raise InputError(f"workers_per_device must be at least 1; got {self.workers_per_device}")
        if not 1 <= self.batch <= LARGEST_BATCH:
            raise InputError(f"batch must be from 1 to {LARGEST_BATCH} images; got {self.batch}")
        if (self.model is None) == (not self.models):
            raise InputError("expected [model], or [models.NAME] for each of several; got both or neither")
        for name, choice in self.choices.items():
            if choice.path is None and choice.bundle is None:
                raise InputError(f"[{f'models.{name}' if name else 'model'}] needs path or bundle; got neither")
        for label in self.methods:
            self.explainer(label)
        for label in self.metrics:
            self.metric(label)

    @property
    def choices(self) -> Mapping[str, ModelChoice]:
        """Return the models by name; the name of a single one is empty."""
        return self.models if self.model is None else {"": self.model}

    def explainer(self, label: str) -> Any:
        """Return the method of that label."""
        return _instance(EXPLAINERS, label, self.methods[label], "method")

    @property
    def with_cases(self) -> frozenset[str]:
        """Return the labels of the methods with which real cases are stored: counterfactuals, or, without one,
        the first method; none without `cases`."""
        if self.cases is None:
            return frozenset()
        kinds = {label: traits_of(self.explainer(label)) for label in self.methods}
        strips = frozenset(label for label, kind in kinds.items() if kind.strip and not kind.picture)
        return strips or frozenset([next(iter(self.methods))])

    def metric(self, label: str) -> Any:
        """Return the metric of that label."""
        return _instance(METRICS, label, self.metrics[label], "metric")


def read_study(path: str | Path) -> StudyConfig:
    """Return a study from a TOML file. Raise InputError, with the nearest name, for unknown keys, methods,
    metrics and hyper-parameters."""
    with naming(Path(path).name):
        return configure(StudyConfig, read_toml(path), where="study")


def _instance(registry: Registry, label: str, table: Mapping[str, Any], kind: str) -> Any:
    """Return the method or metric of a label with the hyper-parameters of its table."""
    settings = {k: _tuples(v) for k, v in table.items()}
    name = str(settings.pop(kind, label))
    check_types(registry.get(name), settings, where=f"{kind}s.{label}")
    return registry.make(name, **settings)


def _tuples(value: Any) -> Any:
    """Return a value with its lists as tuples, at every level."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _store_folder(text: str) -> str:
    """Return the address of a folder in a bucket, without a slash at its end. Raise InputError for another."""
    address = address_of(text.rstrip("/"))
    if address is None or address.count("/") < 3 or address.startswith(("http:", "https:")):
        raise InputError(f"copy_to must be a folder in a bucket, such as s3://bucket/run; got '{text}'")
    return address
