"""The inputs of a study on disk: cases, masks and models, and the digests that detect changes."""

from __future__ import annotations

import dataclasses
import functools
import glob
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from contrafact.api import explanation
from contrafact.api.nearest import Candidate, candidates_of
from contrafact.api.regions import without
from contrafact.core import (
    UNTRUSTED,
    ContrafactError,
    Image,
    InputError,
    Trust,
    is_folder,
    is_label_map,
    is_there,
    nearest,
)
from contrafact.io import Case, images_in, read_cohort, read_image, set_largest_image
from contrafact.io.remote import fetched, is_address, listed, local, path_of
from contrafact.io.run_cohort import stem
from contrafact.models import TiledPredictor, TorchPredictor
from contrafact.models.loading import warn_of_notes
from contrafact.models.target_syntax import is_form
from contrafact.study import ModelChoice, StudyConfig


def cases_of(config: StudyConfig, folder: Path) -> list[Case]:
    """Return the cases of a study, each with its patient: from the cohort's file, or else the image's name.

    raises  InputError for a missing file, an empty split, or an unknown column
    """
    _set_limits(config)
    if config.cohort is None:
        return [Case(path=path, patient=stem_of(path)) for path in images_of(config, folder)]
    cases = list(read_cohort(existing_path(folder, config.cohort), keep_missing=True))
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


def _set_limits(config: StudyConfig) -> None:
    if config.largest_image is not None:
        set_largest_image(config.largest_image)


def images_of(config: StudyConfig, folder: Path) -> list[Path]:
    """Return the image files that the study's files, folders, patterns and addresses match, in order and
    without duplicates. Raise InputError for one without a match."""
    paths: dict[Path, None] = {}
    for text in config.images:
        path = folder / text
        if is_address(text):
            matches = listed(text)
        elif is_folder(path):
            matches = images_in(path)
        elif is_there(path):
            matches = [path]
        else:
            matches = sorted(Path(name) for name in glob.glob(str(path)))
        if not matches:
            raise InputError(f"no image matches '{text}'; expected files, a folder, or a pattern")
        paths |= dict.fromkeys(matches)
    return list(paths)


def model_of(choice: ModelChoice, folder: Path, device: str, trust: Trust = UNTRUSTED) -> tuple[Any, Any]:
    """Return the predictor and the bundle (or None) of a model. Raise InputError for unknown names or files."""
    allowed: Any = {"trust": trust.scripts, "trust_code": trust.factories}
    bundle = None
    if choice.bundle is not None:
        local = folder / choice.bundle
        bundle = explanation.load_bundle(local if is_folder(local) else choice.bundle, device=device, **allowed)
        known = bundle.predictors
        if choice.path is not None and choice.path not in known:
            raise InputError(
                f"this bundle's predictors are {', '.join(known)}; got '{choice.path}'"
                f"{nearest(choice.path, known)}"
            )
        predictor: Any = known[choice.path] if choice.path else bundle.predictor
    else:
        path = existing_path(folder, str(choice.path))
        predictor = explanation.load_predictor(path, device=device, output=choice.output, **allowed)
    if choice.patch and isinstance(predictor, TiledPredictor):
        predictor = predictor.with_patch(choice.patch, overlap=choice.overlap)
    elif choice.patch:
        if not isinstance(predictor, TorchPredictor):
            raise InputError("expected a torch model for patch; got a black box")
        predictor = TiledPredictor(predictor, choice.patch, overlap=choice.overlap)
    return predictor, bundle


def existing_path(folder: Path, text: str) -> Path:
    """Return a path relative to a folder. Raise InputError where it does not exist, and for an address."""
    if is_address(text):
        raise InputError(
            f"expected a file of this machine; got '{text}': only images and masks may lie behind one"
        )
    path = folder / text
    if not is_there(path):
        raise InputError(f"expected '{text}' relative to the study file; it does not exist")
    return path


def stem_of(image: Path) -> str:
    """Return the name of a file without its suffix, or the whole name of a folder."""
    return image.name if image.is_dir() else stem(image.name)


def file_of_image(folder: Path, text: str, image: Path) -> Path:
    """Return the file that belongs to an image; {stem} stands for the image's name without its suffix. A remote
    one is fetched."""
    return _file_of_case(folder, text.replace("{stem}", stem_of(image)))


def _file_of_case(folder: Path, text: str) -> Path:
    return fetched(path_of(text)) if is_address(text) else existing_path(folder, text)


def remote_files(config: StudyConfig, cases: Sequence[Case]) -> Iterator[Path]:
    """Yield the path of each case and of its masks that lie behind addresses."""
    texts = [text for text in (config.masks, config.region, config.keep, config.reference) if text]
    for case in cases:
        yield case.path
        named = [text.replace("{stem}", stem_of(case.path)) for text in texts]
        yield from (path_of(text) for text in (*named, case.extra.get("mask", "")) if is_address(text))


def optional_mask(folder: Path, text: str | None, image: Path, *, label_map: bool = False) -> Image | None:
    """Return the mask that belongs to an image, or None where the study names none."""
    return read_mask(file_of_image(folder, text, image), label_map=label_map) if text else None


def region_of(config: StudyConfig, folder: Path, image: Path, labelled: frozenset[str]) -> Image | None:
    """Return where an image's explanations look, or None: its region without what is kept."""
    region = optional_mask(folder, config.region, image, label_map="region" in labelled)
    return without(region, optional_mask(folder, config.keep, image))


def read_mask(path: Path, *, label_map: bool) -> Image:
    """Return the mask in a file, marked as a label map or not."""
    return dataclasses.replace(read_once(path), label_map=label_map)


def read_once(path: Path) -> Image:
    """Return the image in a file or a series' folder as `read_image`; the last few of this process are kept
    until their files change."""
    place = fetched(path)
    files = sorted(place.iterdir()) if place.is_dir() else [place] if place.exists() else []
    return _read_version(
        path, tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)
    )


@functools.lru_cache(maxsize=5)  # an image, its masks, and the image that follows
def _read_version(path: Path, version: tuple[tuple[str, int, int], ...]) -> Image:  # noqa: ARG001  a cache key
    return read_image(path)


def label_maps(config: StudyConfig, folder: Path, cases: Sequence[Case]) -> frozenset[str]:
    """Return which masks of a study (masks, region, reference) are label maps.

    A label map has other values than a mask in at least one case. The decision is made once for all cases,
    since the label map of one case may contain only 0 and 1.
    """
    keys = ("masks", "region", "reference") if config.metrics else ("region", "reference")
    return frozenset(key for key in keys if any(_holds_labels(config, key, folder, case) for case in cases))


def _holds_labels(config: StudyConfig, key: str, folder: Path, case: Case) -> bool:
    """Whether the mask of one case contains labels; False where it cannot be read, which fails its tasks."""
    try:
        path = mask_path(config, key, folder, case) if is_there(local(case.path)) else None
        return path is not None and is_label_map(read_once(path).values)
    except InputError:
        return False


def mask_of(config: StudyConfig, folder: Path, case: Case) -> Path | None:
    """Return the mask of the cause, from the cohort's column `mask` (relative to the cohort) or the study's
    `masks`; None where there is none."""
    if case.extra.get("mask") and config.cohort is not None:
        return _file_of_case((folder / config.cohort).parent, case.extra["mask"])
    return file_of_image(folder, config.masks, case.path) if config.masks else None


def mask_if_there(config: StudyConfig, folder: Path, case: Case) -> Path | None:
    """Return `mask_of`, or None where its file is missing."""
    try:
        return mask_of(config, folder, case)
    except InputError:
        return None


def without_mask(config: StudyConfig, folder: Path, cases: Sequence[Case]) -> list[str]:
    """Return the names of the images whose mask of the cause is named, but missing."""
    missing = []
    for case in cases if config.metrics else ():
        try:
            mask_of(config, folder, case)
        except InputError:
            missing.append(case.path.name)
    return missing


def mask_path(config: StudyConfig, key: str, folder: Path, case: Case) -> Path | None:
    """Return the path of a case's mask of that key (masks, region or reference), or None."""
    text = getattr(config, key)
    if key == "masks":
        return mask_of(config, folder, case)
    return file_of_image(folder, text, case.path) if text else None


def real_cases_of(folder: Path, text: str) -> list[Candidate]:
    """Return the real cases that a study's images are compared with."""
    return candidates_of(existing_path(folder, text))


def read_all(folder: Path, text: str) -> list[Image]:
    """Return the image of a file, or the images of a folder."""
    path = existing_path(folder, text)
    return [read_image(file) for file in (images_in(path) if path.is_dir() else [path])]


def loaded(
    config: StudyConfig, folder: Path, device: str, trust: Trust
) -> tuple[dict[str, tuple[Any, Any]], list[Image]]:
    """Return what a worker needs for its tasks: (predictor, bundle) by model name, and the background images.
    Workers on a CPU share its threads."""
    _set_limits(config)
    if device == "cpu":
        torch.set_num_threads(max(1, torch.get_num_threads() // len(devices_of(config))))
    models = {name: model_of(choice, folder, device, trust) for name, choice in config.choices.items()}
    return models, read_all(folder, config.background) if config.background else []


def devices_of(config: StudyConfig) -> list[str]:
    """Return the device of each worker: those of the study, else all GPUs, else the CPU."""
    devices = config.devices or tuple(f"cuda:{i}" for i in range(torch.cuda.device_count())) or ("cpu",)
    return [device for device in devices for _ in range(config.workers_per_device)]


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """The identity of a model in task keys: digests of it and of its bundle (empty without one), and the
    normalised text of every target."""

    digest: str
    bundle: str
    targets: Mapping[str, str]


def identity_of_model(
    choice: ModelChoice, config: StudyConfig, folder: Path, cases: Sequence[Case], trust: Trust
) -> ModelIdentity:
    """Return the identity of a model, which is loaded on the CPU. A target that is only the name of a class
    costs a pass of the first image. Warns of what its format notes."""
    predictor, bundle = model_of(choice, folder, "cpu", trust)
    warn_of_notes(predictor)
    targets = {text: resolved(predictor, text, cases) for text in config.targets}
    return ModelIdentity(predictor.digest, "" if bundle is None else bundle.digest, targets)


def resolved(predictor: Any, text: str, cases: Sequence[Case]) -> str:
    """Return the normalised text of a target, such as `class:1` for the name of a class. An invalid target is
    returned unchanged; its tasks fail with the reason."""
    try:
        if is_form(text):
            return str(predictor.target(text))
        image = next(filter(None, map(_readable, cases)), None)
        return text if image is None else str(explanation.parse(predictor, text, image))
    except (ContrafactError, RuntimeError):
        return text


def _readable(case: Case) -> Image | None:
    """Return the image of a case, or None where it cannot be read."""
    try:
        return read_once(case.path)
    except InputError:
        return None


def digests_of_model(choice: ModelChoice, folder: Path, trust: Trust = UNTRUSTED) -> tuple[str, str]:
    """Return the digests of a predictor and of its bundle (empty without one), loaded on the CPU."""
    predictor, bundle = model_of(choice, folder, "cpu", trust)
    return predictor.digest, "" if bundle is None else bundle.digest


class Ahead:
    """Reads images, and in a thread those that follow, while these are worked on."""

    def __init__(self) -> None:
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._coming: dict[str, Future[Image]] = {}

    def read(self, images: Sequence[str], following: Sequence[str]) -> dict[str, Future[Image]]:
        """Return the images as they are read, by path (`result` raises why one cannot be), and begin to read
        those that follow."""
        self._coming = {
            path: self._coming.get(path) or self._reader.submit(read_once, Path(path))
            for path in (*images, *following)
        }
        return {path: self._coming[path] for path in images}
