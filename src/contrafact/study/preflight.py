"""What the paths of a study find on this machine, said before the study runs."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contrafact.bundles import find_bundle, list_bundles
from contrafact.core import ContrafactError, InputError, configure, nearest
from contrafact.core import inside as lies_inside
from contrafact.io import Case, images_in, read_json
from contrafact.study import StudyConfig
from contrafact.study.draft import BARE, Problem
from contrafact.study.inputs import cases_of, mask_path, stem_of, there

SHOWN = 5  # names of what is missing
PLACES = ("cohort", "images", "masks", "background", "region", "reference", "out")


@dataclass(slots=True)
class Survey:
    """`outside`: paths that may not be used; `missing`: what is not there; `facts`: sentences by place;
    `known`: words that fit a field."""

    outside: list[Problem] = field(default_factory=list)
    missing: list[Problem] = field(default_factory=list)
    facts: dict[str, list[str]] = field(default_factory=dict)
    known: dict[str, list[str]] = field(default_factory=dict)


def survey(table: Mapping[str, Any], folder: Path, root: Path) -> Survey:
    """Look for what a study names; nothing is read that lies outside `root`.

    table   of a study whose values are of the right types; what is not there is passed over
    folder  of the study file
    cost    reads the cohort's file, and asks the disk for every case
    """
    found = Survey()
    for place, text in _paths(table):
        try:
            inside(root, folder, text)
        except InputError as error:
            found.outside.append(Problem(place, str(error)))
    if not found.outside:
        cases = _cases(table, folder, root, found)
        for place, path in _files_beside(table, folder, cases):
            _refuse(found, place, [path], root)
        for place, choice in _models(table):
            _refuse(found, f"{place}.path", _named(choice, folder), root)
    if not found.outside:
        _beside(table, folder, cases, found)
        for place, choice in _models(table):
            _try(found, place, _model, choice, folder, place, found)
    return found


def inside(root: Path, folder: Path, text: str) -> Path:
    """The path that a text names from a folder, where it lies in `root`; links are followed."""
    try:
        place = (folder / text).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a zero byte
        raise InputError(f"expected a path; got '{text}' ({error})") from error
    if not place.is_relative_to(root.resolve()):
        raise InputError(
            f"expected a path in '{root}'; got '{text}', which lies outside: start the form in a folder that "
            "holds all, or name one with --root"
        )
    return place


def _lies_in(root: Path, path: Path) -> bool:
    try:
        inside(root, path.parent, path.name)
    except InputError:
        return False
    return True


def _refuse(found: Survey, place: str, paths: Sequence[Path], root: Path) -> bool:
    """Whether one leads out: a link among what a pattern found, a row of a cohort."""
    away = next((path for path in paths if not _lies_in(root, path)), None)
    if away is not None and place not in {one.place for one in found.outside}:
        found.outside.append(Problem(place, f"'{away.name}' leads out of '{root}'"))
    return away is not None


def _files_beside(table: Mapping[str, Any], folder: Path, cases: Sequence[Case]) -> Iterator[tuple[str, Path]]:
    """Where other files of each case would lie, and the images of the background."""
    for case in cases:
        for key in ("region", "reference", "masks"):
            if key in table:
                yield f"study.{key}", folder / str(table[key]).replace("{stem}", stem_of(case.path))
        if "cohort" in table and case.extra.get("mask"):
            yield "study.cohort", (folder / table["cohort"]).parent / case.extra["mask"]
    background = folder / str(table.get("background", ""))
    if "background" in table and background.is_dir():
        yield from (("study.background", path) for path in images_in(background))


def _paths(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key in PLACES:
        texts = table.get(key, ())
        for text in [texts] if isinstance(texts, str) else texts:
            yield f"study.{key}", str(text).replace("{stem}", "stem")
    for place, choice in _models(table):
        bundle = choice.get("bundle")
        if bundle is None:
            yield f"{place}.path", str(choice.get("path", ""))
        elif bundle not in list_bundles():
            yield f"{place}.bundle", str(bundle)


def _models(table: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """By place, as a draft counts them."""
    several = ([table["model"]] if "model" in table else []) + list(table.get("models", {}).values())
    second = [("second_model.0", table["second_model"])] if "second_model" in table else []
    return [(f"models.{n}", choice) for n, choice in enumerate(several)] + second


def _try(found: Survey, place: str, look: Callable[..., Any], *given: Any, **more: Any) -> Any:
    try:
        return look(*given, **more)
    except (ContrafactError, OSError, ValueError, csv.Error) as error:
        found.missing.append(Problem(place, " ".join(str(error).split())))
        return None


def _bare(table: Mapping[str, Any], *keys: str) -> StudyConfig:
    """A study of these images and of nothing else."""
    images = {key: table[key] for key in ("images", "cohort", *keys) if key in table}
    return configure(StudyConfig, {**{k: v for k, v in BARE.items() if k != "images"}, **images})


def _cases(table: Mapping[str, Any], folder: Path, root: Path, found: Survey) -> list[Case]:
    """The cases, by the study's own way, one thing more at a time: so it is known what is wrong."""
    given = [key for key in ("images", "cohort") if key in table]
    if len(given) != 1:
        return []
    place = f"study.{given[0]}"

    def look(**more: Any) -> list[Case]:
        return cases_of(_bare({**table, **more}, *more), folder)

    whole: list[Case] | None = _try(found, place, look)
    if whole is None or _refuse(found, place, [case.path for case in whole], root):
        return []
    columns = list(dict.fromkeys(name for case in whole for name in case.extra))
    if "cohort" in given:
        found.known["study.split"] = sorted({case.extra.get("split", "") for case in whole} - {""})
        found.known["study.subgroups"] = ["label", *(c for c in columns if c not in ("mask", "split"))]
    cases: list[Case] = whole
    if "split" in table and "cohort" in given:
        cases = _try(found, "study.split", look, split=table["split"]) or []
    found.facts[place] = _said(cases)
    absent = [case.path.name for case in cases if not case.path.exists()]
    if absent:
        found.missing.append(Problem(place, f"not there: {_names(absent)}"))
    for name in table.get("subgroups", ()) if "cohort" in given else ():
        if _try(found, "study.subgroups", look, subgroups=[name]) is not None:
            counted = Counter(case.label if name == "label" else case.extra.get(name, "") for case in cases)
            found.facts.setdefault("study.subgroups", []).append(f"{name}: {_counted(counted)}")
    return cases


def _said(cases: Sequence[Case]) -> list[str]:
    there_are = sum(case.path.exists() for case in cases)
    patients = len({case.patient for case in cases})
    said = [f"images: {len(cases)}, patients: {patients}, found on the disk: {there_are}"]
    labels = Counter(case.label for case in cases if case.label)
    return said + ([f"labels: {_counted(labels)}"] if labels else [])


def _beside(table: Mapping[str, Any], folder: Path, cases: Sequence[Case], found: Survey) -> None:
    """What belongs to the cases: masks of their own, and other images."""
    if "background" in table:
        _try(found, "study.background", there, folder, table["background"])
    there_are = [case for case in cases if case.path.exists()]
    for key in ("region", "reference", "masks") if there_are else ():
        if key not in table:
            continue
        config = _bare(table, key)
        absent = [stem_of(case.path) for case in there_are if not _has(config, key, folder, case)]
        had = len(there_are) - len(absent)
        found.facts[f"study.{key}"] = [f"{had} of {len(there_are)} images have one"]
        if absent:
            found.missing.append(Problem(f"study.{key}", f"none for {_names(absent)}"))


def _has(config: StudyConfig, key: str, folder: Path, case: Case) -> bool:
    try:
        return bool(mask_path(config, key, folder, case))
    except InputError:
        return False


def _named(choice: Mapping[str, Any], folder: Path) -> list[Path]:
    """The files that a model's description names; those of a bundle must lie in the bundle anyway."""
    path = folder / str(choice.get("path", ""))
    if "bundle" in choice or path.suffix != ".json" or not path.is_file():
        return []
    try:
        about = _described(path)
    except InputError:  # said where its files are looked for
        return []
    return [path.parent / about[key] for key in ("model", "weights") if isinstance(about.get(key), str)]


def _model(choice: Mapping[str, Any], folder: Path, place: str, found: Survey) -> None:
    """Whether its files are there, and what its description says; no weights are read."""
    if "bundle" in choice:
        local = folder / str(choice["bundle"])
        place_of = find_bundle(local if local.is_dir() else str(choice["bundle"]))
        about = _described(place_of / "bundle.json")
        predictors = dict(about.get("predictors") or {})
        wanted = str(choice.get("path", about.get("main")))
        found.facts[place] = [f"predictors: {', '.join(predictors)}"]
        if wanted not in predictors:
            known, near = ", ".join(predictors), nearest(wanted, predictors)
            raise InputError(f"this bundle's predictors are {known}; got '{wanted}'{near}")
        path = lies_inside(place_of, predictors[wanted], what="a file of a bundle")
    else:
        path = there(folder, str(choice["path"]))
    if path.suffix == ".json":
        classes = _described(path).get("classes")
        if isinstance(classes, list):
            said = [f"classes: {', '.join(map(str, classes))}"]
            found.facts[place] = [*found.facts.get(place, []), *said]
            found.known["study.targets"] = [f"class:{name}" for name in classes]


def _described(path: Path) -> dict[str, Any]:
    about = read_json(path)
    if not isinstance(about, dict):
        raise InputError(f"expected a description in '{path.name}'; got JSON of another kind")
    return about


def _names(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    shown = (name.encode("utf-8", "replace").decode() for name in names[:SHOWN])  # a disk may hold any bytes
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _counted(counted: Counter[str]) -> str:
    return ", ".join(f"{name or 'none'} {count}" for name, count in sorted(counted.items()))
