"""A study file: which methods on which images of which model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contrafact.core import EXPLAINERS, InputError, configure, read_toml


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """The model under study.

    path     a model file as in `load_predictor`, relative to the study file; or none with a bundle
    bundle   a bundle by name or folder; path then names one of its predictors
    patch    a segmenter that takes patches: their size in voxels; none: the whole image at once
    overlap  share of a patch that it has in common with its neighbour
    """

    path: str | None = None
    bundle: str | None = None
    patch: tuple[int, ...] = ()
    overlap: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyConfig:
    """A whole study; paths are relative to the study file.

    images   files, folders of them, or patterns (`cases/*.nii.gz`)
    out      run folder
    methods  hyper-parameters by method; under another label with `method = "NAME"`
    targets  each is asked of every image; none: what the model prefers
    background  a file or a folder of images of the same kind
    region, reference   masks, with {stem} for the image's own name
    limit_seconds      of one method on one image; what takes longer is stopped and noted. none: no limit
    devices            cpu, cuda:0, …; none: every GPU, or the CPU
    workers_per_device processes on each
    """

    images: tuple[str, ...]
    out: str
    model: ModelChoice
    methods: Mapping[str, Mapping[str, Any]]
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
        if not self.images or not self.methods:
            raise InputError(
                f"a study needs images and methods; got {len(self.images)} and {len(self.methods)}"
            )
        if self.limit_seconds is not None and self.limit_seconds <= 0:
            raise InputError(f"limit_seconds must be above 0; got {self.limit_seconds:g}")
        if self.workers_per_device < 1:
            raise InputError(f"workers_per_device must be at least 1; got {self.workers_per_device}")
        if self.model.path is None and self.model.bundle is None:
            raise InputError("[model] needs path or bundle; got neither")
        for label in self.methods:
            self.explainer(label)

    def explainer(self, label: str) -> Any:
        """The method of that label."""
        given = {k: _tuples(v) for k, v in self.methods[label].items()}
        return EXPLAINERS.make(str(given.pop("method", label)), **given)


def read_study(path: str | Path) -> StudyConfig:
    """A study from TOML; unknown keys, methods and hyper-parameters are answered with the nearest."""
    return configure(StudyConfig, read_toml(path), where="study")


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
