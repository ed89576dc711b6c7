"""What a study file names, on disk: cases with their masks, models, and marks that tell when one changed."""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from contrafact.api import explanation as face
from contrafact.core import (
    UNTRUSTED,
    ContrafactError,
    Image,
    InputError,
    Trust,
    fingerprint,
    is_label_map,
    nearest,
)
from contrafact.io import Case, images_in, read_cohort, read_image
from contrafact.models import TiledPredictor, TorchPredictor
from contrafact.models.target_syntax import is_form
from contrafact.study import ModelChoice, StudyConfig


def cases_of(config: StudyConfig, folder: Path) -> list[Case]:
    """The images of a study, each with its patient: of a cohort as its file says, otherwise its own name."""
    if config.cohort is None:
        return [Case(path=path, patient=stem_of(path)) for path in images_of(config, folder)]
    cases = list(read_cohort(there(folder, config.cohort), keep_missing=True))
    if config.split is not None:
        splits = sorted({case.extra.get("split", "") for case in cases})
        cases = [case for case in cases if case.extra.get("split", "") == config.split]
        if not cases:
            raise InputError(
                f"the cohort's splits are {', '.join(splits)}; got '{config.split}'"
                f"{nearest(config.split, splits)}"
            )
    columns = {"label", *(name for case in cases for name in case.extra)}
    for name in config.subgroups:
        if name not in columns:
            raise InputError(
                f"the cohort's columns are {', '.join(sorted(columns))}; got the subgroup '{name}'"
                f"{nearest(name, columns)}"
            )
    return cases


def images_of(config: StudyConfig, folder: Path) -> list[Path]:
    """Files, folders and patterns, in order, each once."""
    found: dict[Path, None] = {}
    for text in config.images:
        place = folder / text
        if place.is_dir():
            new = images_in(place)
        elif place.exists():
            new = [place]
        else:
            new = sorted(Path(name) for name in glob.glob(str(place)))
        if not new:
            raise InputError(f"no image matches '{text}'; expected files, a folder, or a pattern")
        found |= dict.fromkeys(new)
    return list(found)


def model_of(choice: ModelChoice, folder: Path, device: str, trust: Trust = UNTRUSTED) -> tuple[Any, Any]:
    """The predictor and the bundle, if any."""
    allowed: Any = {"trust": trust.scripts, "trust_code": trust.factories}
    bundle = None
    if choice.bundle is not None:
        local = folder / choice.bundle
        bundle = face.load_bundle(local if local.is_dir() else choice.bundle, device=device, **allowed)
        known = bundle.predictors
        if choice.path is not None and choice.path not in known:
            raise InputError(
                f"this bundle's predictors are {', '.join(known)}; got '{choice.path}'"
                f"{nearest(choice.path, known)}"
            )
        predictor: Any = known[choice.path] if choice.path else bundle.predictor
    else:
        path = there(folder, str(choice.path))
        predictor = face.load_predictor(path, device=device, output=choice.output, **allowed)
    if choice.patch:
        if not isinstance(predictor, TorchPredictor):
            raise InputError("patch needs a torch model; this one is a black box")
        predictor = TiledPredictor(predictor, choice.patch, overlap=choice.overlap)
    return predictor, bundle


def there(folder: Path, text: str) -> Path:
    place = folder / text
    if not place.exists():
        raise InputError(f"expected '{text}' beside the study file; it is not there")
    return place


def stem_of(image: Path) -> str:
    """The name without the ending; a folder's whole name."""
    name = image.name
    if image.is_dir():
        return name
    return name[: -len(".nii.gz")] if name.endswith(".nii.gz") else image.stem


def own(folder: Path, text: str, image: Path) -> Path:
    """A file that belongs to an image: {stem} is its name without the ending."""
    return there(folder, text.replace("{stem}", stem_of(image)))


def maybe(folder: Path, text: str | None, image: Path, *, label_map: bool = False) -> Image | None:
    return read_mask(own(folder, text, image), label_map=label_map) if text else None


def read_mask(path: Path, *, label_map: bool) -> Image:
    return dataclasses.replace(read_image(path), label_map=label_map)


def label_maps(config: StudyConfig, folder: Path, cases: Sequence[Case]) -> frozenset[str]:
    """Which masks of a study (masks, region, reference) are label maps: those of which any case's holds labels
    that no mask has. It is decided once over all cases: the label map of one may hold 0 and 1 alone."""
    keys = ("masks", "region", "reference") if config.metrics else ("region", "reference")
    return frozenset(key for key in keys if any(_holds_labels(config, key, folder, case) for case in cases))


def _holds_labels(config: StudyConfig, key: str, folder: Path, case: Case) -> bool:
    """Of one case; a mask that is not there, or cannot be read, is the failure of its own cells."""
    try:
        path = mask_path(config, key, folder, case) if case.path.exists() else None
        return path is not None and is_label_map(read_image(path).values)
    except InputError:
        return False


def mask_of(config: StudyConfig, folder: Path, case: Case) -> Path | None:
    """Where the cause lies, by the cohort's column `mask` (relative to it) or the study's `masks`; None where
    none is named."""
    if case.extra.get("mask") and config.cohort is not None:
        return there((folder / config.cohort).parent, case.extra["mask"])
    return own(folder, config.masks, case.path) if config.masks else None


def mask_path(config: StudyConfig, key: str, folder: Path, case: Case) -> Path | None:
    """Where the mask of a case lies that a study names as `key`: masks, region or reference."""
    text = getattr(config, key)
    if key == "masks":
        return mask_of(config, folder, case)
    return own(folder, text, case.path) if text else None


def read_all(folder: Path, text: str) -> list[Image]:
    place = there(folder, text)
    return [read_image(file) for file in (images_in(place) if place.is_dir() else [place])]


def loaded(
    config: StudyConfig, folder: Path, device: str, trust: Trust
) -> tuple[dict[str, tuple[Any, Any]], list[Image]]:
    """What a worker needs before its first cell: the models, predictor and bundle each, by name, and the
    background. The workers of a CPU share its threads."""
    if device == "cpu":
        torch.set_num_threads(max(1, torch.get_num_threads() // len(devices_of(config))))
    models = {name: model_of(choice, folder, device, trust) for name, choice in config.choices.items()}
    return models, read_all(folder, config.background) if config.background else []


def devices_of(config: StudyConfig) -> list[str]:
    """One for each worker: those that the study names, else all GPUs, else the CPU."""
    found = config.devices or tuple(f"cuda:{i}" for i in range(torch.cuda.device_count())) or ("cpu",)
    return [device for device in found for _ in range(config.workers_per_device)]


def digest_of(path: Path) -> str:
    """Digest of a file, or of all files of a folder with their names; "missing" if absent."""
    if not path.exists():
        return "missing"
    if path.is_file():
        return fingerprint(path.read_bytes())
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    return fingerprint([(str(f.relative_to(path)), fingerprint(f.read_bytes())) for f in files])


@dataclass(frozen=True, slots=True)
class Studied:
    """What cells must know of a model: digests of it and of its bundle (empty without one), and every target
    as it reads once it is resolved."""

    digest: str
    bundle: str
    targets: Mapping[str, str]


def studied(
    choice: ModelChoice, config: StudyConfig, folder: Path, cases: Sequence[Case], trust: Trust
) -> Studied:
    """A model, which is loaded for it on the CPU. A target by the bare name of a class costs a pass of the
    first image."""
    predictor, bundle = model_of(choice, folder, "cpu", trust)
    targets = {text: resolved(predictor, text, cases) for text in config.targets}
    return Studied(predictor.digest, "" if bundle is None else bundle.digest, targets)


def resolved(predictor: Any, text: str, cases: Sequence[Case]) -> str:
    """A target's own text: `class:1` for the name of a class as well. One that does not fit stays as it is: its
    cells say why."""
    try:
        if is_form(text):
            return str(predictor.target(text))
        image = next(filter(None, map(_readable, cases)), None)
        return text if image is None else str(face.parse(predictor, text, image))
    except (ContrafactError, RuntimeError):
        return text


def _readable(case: Case) -> Image | None:
    try:
        return read_image(case.path)
    except InputError:
        return None


def digests_of_model(choice: ModelChoice, folder: Path, trust: Trust = UNTRUSTED) -> tuple[str, str]:
    """Digests of a predictor and of its bundle (empty without one), which are loaded for it on the CPU."""
    predictor, bundle = model_of(choice, folder, "cpu", trust)
    return predictor.digest, "" if bundle is None else bundle.digest
