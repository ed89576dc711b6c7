"""From a study file to a run folder: many methods on many images, in processes, stopped and resumed."""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from contrafact import face
from contrafact.cases import Plan, solve
from contrafact.core import Heatmap, Image, InputError, Strip, nearest
from contrafact.core.explaining import parameters_of
from contrafact.io import DICOM, SUFFIXES, Run, read_image
from contrafact.model import TiledPredictor, TorchPredictor
from contrafact.study import ENGINES, Failure, StudyConfig, read_study, run_cells


@dataclass(frozen=True, slots=True)
class Cell:
    """One method on one image for one target (empty: what the model prefers). `key` is unique in a run."""

    key: str
    image: str
    label: str
    target: str


@dataclass(frozen=True, slots=True)
class Row:
    """What became of a cell: of how many it is which, and what went wrong where something did."""

    cell: Cell
    done: int
    total: int
    failure: Failure | None


def study(path: str | Path, *, engine: str = "processes", retry: bool = False) -> Iterator[Row]:
    """Do what a study file asks, cell by cell; what its run folder holds already is passed over.

    engine  processes (a time limit can stop a method), or local: in this process, no limit
    retry   try again what failed
    gives   a `Row` per cell, after its result or its failure is safe in the run folder
    raises  InputError for a study that cannot begin
    """
    path = Path(path)
    config = read_study(path)
    if engine not in ENGINES:
        raise InputError(
            f"engine must be one of {', '.join(ENGINES)}; got '{engine}'{nearest(engine, ENGINES)}"
        )
    cells = cells_of(config, path.parent)
    run = Run.create(
        path.parent / config.out, about={"title": config.title, "study": dataclasses.asdict(config)}
    )
    known = run.done() | (set() if retry else run.failed())
    open_cells = [cell for cell in cells if cell.key not in known]
    done = len(cells) - len(open_cells)
    outcomes = run_cells(
        open_cells,
        begin,
        (config, str(path.parent)),
        devices=_devices(config),
        limit_seconds=config.limit_seconds,
        engine=engine,
    )
    for outcome in outcomes:
        cell, done = open_cells[outcome.number], done + 1
        if isinstance(outcome.result, Failure):
            failure = dataclasses.asdict(outcome.result)
            about = {"method": cell.label, "target": cell.target, "source": cell.image}
            run.add_failure(cell.key, seconds=round(outcome.seconds, 2), **about, **failure)
            yield Row(cell, done, len(cells), outcome.result)
        else:
            image, result, extra = outcome.result
            run.add(cell.key, image, result, **extra)
            yield Row(cell, done, len(cells), None)


def cells_of(config: StudyConfig, folder: Path) -> list[Cell]:
    """Every image, target and method; the key tells when anything about them changes."""
    model = _digest_of_model(config, folder)
    others = [_digest_of(_there(folder, text)) for text in (config.background,) if text]
    cells = []
    for image in images_of(config, folder):
        masks = (config.region, config.reference)
        own = [_digest_of(_own(folder, text, image)) if text else None for text in masks]
        content = _digest_of(image)
        for target in config.targets or ("",):
            for label in config.methods:
                asked = parameters_of(config.explainer(label))
                parts = [model, content, others, own, asked, target, config.seed]
                mark = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
                cells.append(Cell(f"{image.name}/{label}/{target}/{mark}", str(image), label, target))
    return list({cell.key: cell for cell in cells}.values())


def images_of(config: StudyConfig, folder: Path) -> list[Path]:
    """Files, folders and patterns, in order, each once."""
    found: dict[Path, None] = {}
    for text in config.images:
        place = folder / text
        if place.is_dir():
            new = _inside(place)
        elif place.exists():
            new = [place]
        else:
            new = sorted(Path(name) for name in glob.glob(str(place)))
        if not new:
            raise InputError(f"no image matches '{text}'; expected files, a folder, or a pattern")
        found |= dict.fromkeys(new)
    return list(found)


def begin(setting: tuple[StudyConfig, str], device: str) -> Any:
    """The model, once for a process; gives what solves a cell."""
    config, folder = setting
    if device == "cpu":
        torch.set_num_threads(max(1, torch.get_num_threads() // len(_devices(config))))
    place = Path(folder)
    predictor, bundle = model_of(config, place, device)
    background = _read_all(place, config.background) if config.background else []

    def one(cell: Cell) -> tuple[Image, Heatmap | Strip, dict[str, Any]]:
        image = read_image(cell.image)
        plan = Plan(
            predictor=predictor,
            methods=(),
            target=cell.target or None,
            bundle=bundle,
            background=background,
            region=_maybe(place, config.region, Path(cell.image)),
            reference=_maybe(place, config.reference, Path(cell.image)),
            seed=config.seed,
        )
        result, extra = solve(Path(cell.image).name, image, config.explainer(cell.label), plan)
        return image, result, {**extra, "label": cell.label}

    return one


def model_of(config: StudyConfig, folder: Path, device: str) -> tuple[Any, Any]:
    """The predictor and the bundle, if any."""
    choice, bundle = config.model, None
    if choice.bundle is not None:
        local = folder / choice.bundle
        bundle = face.load_bundle(local if local.is_dir() else choice.bundle, device=device)
        known = bundle.predictors
        if choice.path is not None and choice.path not in known:
            raise InputError(
                f"this bundle's predictors are {', '.join(known)}; got '{choice.path}'"
                f"{nearest(choice.path, known)}"
            )
        predictor: Any = known[choice.path] if choice.path else bundle.predictor
    else:
        predictor = face.load_predictor(folder / str(choice.path), device=device)
    if choice.patch:
        if not isinstance(predictor, TorchPredictor):
            raise InputError("patch needs a torch model; this one is a black box")
        predictor = TiledPredictor(predictor, choice.patch, overlap=choice.overlap)
    return predictor, bundle


def _devices(config: StudyConfig) -> list[str]:
    found = config.devices or tuple(f"cuda:{i}" for i in range(torch.cuda.device_count())) or ("cpu",)
    return [device for device in found for _ in range(config.workers_per_device)]


def _there(folder: Path, text: str) -> Path:
    place = folder / text
    if not place.exists():
        raise InputError(f"expected '{text}' beside the study file; it is not there")
    return place


def _own(folder: Path, text: str, image: Path) -> Path:
    """A file that belongs to an image: {stem} is its name without the ending."""
    name = image.name
    stem = name[: -len(".nii.gz")] if name.endswith(".nii.gz") else image.stem
    stem = name if image.is_dir() else stem
    return _there(folder, text.replace("{stem}", stem))


def _maybe(folder: Path, text: str | None, image: Path) -> Image | None:
    return read_image(_own(folder, text, image)) if text else None


def _read_all(folder: Path, text: str) -> list[Image]:
    place = _there(folder, text)
    return [read_image(file) for file in (_inside(place) if place.is_dir() else [place])]


def _inside(folder: Path) -> list[Path]:
    """The images of a folder; a folder of DICOM files only is one series."""
    files = sorted(p for p in folder.iterdir() if p.name.lower().endswith(SUFFIXES))
    return files if any(not p.name.lower().endswith(DICOM) for p in files) else [folder]


def _digest_of(path: Path) -> str:
    """Of a file's bytes, or of all files of a folder."""
    whole = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            whole.update(file.read_bytes())
    return whole.hexdigest()[:16]


def _digest_of_model(config: StudyConfig, folder: Path) -> list[Any]:
    choice = config.model
    parts: list[Any] = [dataclasses.asdict(choice)]
    if choice.path is not None and choice.bundle is None:
        path = _there(folder, choice.path)
        parts.append(_digest_of(path))
        if path.suffix == ".json":
            about: Mapping[str, Any] = json.loads(path.read_text())
            files: Sequence[str] = [str(about[key]) for key in ("model", "weights") if key in about]
            parts += [_digest_of(path.parent / name) for name in files if (path.parent / name).exists()]
    elif choice.bundle is not None and (folder / choice.bundle).is_dir():
        parts.append(_digest_of(folder / choice.bundle))
    return parts
