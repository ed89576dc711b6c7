"""Checks of a study's paths before it runs: files, masks, models, and their facts."""

from __future__ import annotations

import contextlib
import csv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contrafact.bundles import find_bundle, list_bundles
from contrafact.core import ContrafactError, InputError, configure, is_folder, is_there, nearest
from contrafact.core import inside as lies_inside
from contrafact.io import Case, images_in, read_json
from contrafact.io.remote import is_address
from contrafact.models.source import source_of
from contrafact.study import StudyConfig
from contrafact.study.draft import BARE, Problem
from contrafact.study.inputs import cases_of, existing_path, mask_path, real_cases_of, stem_of

SHOWN = 5  # number of missing names in a message
OF_CASES = ("masks", "region", "keep", "reference")
PATH_KEYS = ("cohort", "images", "background", "cases", *OF_CASES, "out", "copy_to")


@dataclass(slots=True)
class Survey:
    """The result of the checks.

    outside  paths outside the allowed folder
    missing  files that do not exist, or cannot be read
    facts    sentences by place
    known    possible values by place
    """

    outside: list[Problem] = field(default_factory=list)
    missing: list[Problem] = field(default_factory=list)
    facts: dict[str, list[str]] = field(default_factory=dict)
    known: dict[str, list[str]] = field(default_factory=dict)


def survey(table: Mapping[str, Any], folder: Path, root: Path) -> Survey:
    """Check the files that a study names, and return the result; no file outside `root` is read.

    table   table of a study with values of the right types; missing keys are ignored
    folder  folder of the study file
    cost    reads the cohort's file, and looks for the file of every case
    """
    result = Survey()
    for place, text in _paths(table):
        try:
            inside(root, folder, text)
        except InputError as error:
            result.outside.append(Problem(place, str(error)))
    if not result.outside:
        cases = _cases(table, folder, root, result)
        for place, path in _files_of_cases(table, folder, cases):
            _leads_out(result, place, [path], root)
        for place, choice in _models(table):
            _leads_out(result, f"{place}.path", _files_of_model(choice, folder), root)
    if not result.outside:
        _check_files_of_cases(table, folder, cases, result)
        for place, choice in _models(table):
            _attempt(result, place, _check_model, choice, folder, place, result)
    return result


def inside(root: Path, folder: Path, text: str) -> Path:
    """Return the path of a text relative to a folder, with links resolved. Raise InputError outside `root`, and
    for the address of a remote file."""
    if is_address(text):
        raise InputError(
            f"expected a path in '{root}'; got the address '{text}': run such a study as a command"
        )
    try:
        path = (folder / text).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # circular links, a zero byte
        raise InputError(f"expected a path; got '{text}' ({error})") from error
    if not path.is_relative_to(root.resolve()):
        raise InputError(
            f"expected a path in '{root}'; got '{text}', which lies outside: start the form in a folder that "
            "contains all files, or set one with --root"
        )
    return path


def _lies_in(root: Path, path: Path) -> bool:
    """Whether a path lies in `root`, with links resolved; no remote file does."""
    if is_address(path.as_posix()):
        return False
    try:
        inside(root, path.parent, path.name)
    except InputError:
        return False
    return True


def _leads_out(result: Survey, place: str, paths: Sequence[Path], root: Path) -> bool:
    """Whether any of the paths leads out of `root` (a link, or a row of a cohort); the first is recorded."""
    outside = next((path for path in paths if not _lies_in(root, path)), None)
    if outside is not None and place not in {problem.place for problem in result.outside}:
        result.outside.append(Problem(place, f"'{outside.name}' leads out of '{root}'"))
    return outside is not None


def _files_of_cases(
    table: Mapping[str, Any], folder: Path, cases: Sequence[Case]
) -> Iterator[tuple[str, Path]]:
    """Yield the paths of the masks of each case, and of the background images, by place."""
    for case in cases:
        for key in OF_CASES:
            if key in table:
                yield f"study.{key}", folder / str(table[key]).replace("{stem}", stem_of(case.path))
        if "cohort" in table and case.extra.get("mask"):
            mask = case.extra["mask"]
            root = (folder / table["cohort"]).parent
            yield "study.cohort", Path(mask) if is_address(mask) else root / mask
    background = folder / str(table.get("background", ""))
    real = folder / str(table.get("cases", ""))
    if "cases" in table and is_there(real):
        with contextlib.suppress(InputError):  # reported with the files
            named = [one.source for one in real_cases_of(folder, table["cases"])]
            yield from (("study.cases", path) for path in named if isinstance(path, Path))
    if "background" in table and background.is_dir():
        yield from (("study.background", path) for path in images_in(background))


def _paths(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield every path of a study, by place."""
    for key in PATH_KEYS:
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
    """Return the models with their places in a draft."""
    several = ([table["model"]] if "model" in table else []) + list(table.get("models", {}).values())
    second = [("second_model.0", table["second_model"])] if "second_model" in table else []
    return [(f"models.{n}", choice) for n, choice in enumerate(several)] + second


def _attempt(result: Survey, place: str, check: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return the result of a check, or None where it fails; the failure is recorded."""
    try:
        return check(*args, **kwargs)
    except (ContrafactError, OSError, ValueError, csv.Error) as error:
        result.missing.append(Problem(place, " ".join(str(error).split())))
        return None


def _minimal_study(table: Mapping[str, Any], *keys: str) -> StudyConfig:
    """Return a study of the table's images, with the given keys and no others."""
    images = {key: table[key] for key in ("images", "cohort", *keys) if key in table}
    return configure(StudyConfig, {**{k: v for k, v in BARE.items() if k != "images"}, **images})


def _cases(table: Mapping[str, Any], folder: Path, root: Path, result: Survey) -> list[Case]:
    """Return the study's cases, with facts; images, split and subgroups are checked one after another, so that
    each error has its place."""
    sources = [key for key in ("images", "cohort") if key in table]
    if len(sources) != 1:
        return []
    place = f"study.{sources[0]}"

    def read_cases(**more: Any) -> list[Case]:
        return cases_of(_minimal_study({**table, **more}, *more), folder)

    whole: list[Case] | None = _attempt(result, place, read_cases)
    if whole is None or _leads_out(result, place, [case.path for case in whole], root):
        return []
    cases = _cases_of_cohort(table, whole, read_cases, result) if "cohort" in sources else whole
    result.facts[place] = _summary(cases)
    absent = [case.path.name for case in cases if not is_there(case.path)]
    if absent:
        result.missing.append(Problem(place, f"missing: {_names(absent)}"))
    return cases


def _cases_of_cohort(
    table: Mapping[str, Any], whole: list[Case], read_cases: Callable[..., list[Case]], result: Survey
) -> list[Case]:
    """Return the cases of the study's split, and record splits, columns and the sizes of subgroups."""
    columns = list(dict.fromkeys(name for case in whole for name in case.extra))
    result.known["study.split"] = sorted({case.extra.get("split", "") for case in whole} - {""})
    result.known["study.subgroups"] = ["label", *(c for c in columns if c not in ("mask", "split"))]
    cases = whole
    if "split" in table:
        cases = _attempt(result, "study.split", read_cases, split=table["split"]) or []
    for name in table.get("subgroups", ()):
        if _attempt(result, "study.subgroups", read_cases, subgroups=[name]) is not None:
            counted = Counter(case.label if name == "label" else case.extra.get(name, "") for case in cases)
            result.facts.setdefault("study.subgroups", []).append(f"{name}: {_counted(counted)}")
    return cases


def _summary(cases: Sequence[Case]) -> list[str]:
    """Return the numbers of images, patients and labels, as sentences."""
    existing = sum(is_there(case.path) for case in cases)
    patients = len({case.patient for case in cases})
    lines = [f"images: {len(cases)}, patients: {patients}, found on the disk: {existing}"]
    labels = Counter(case.label for case in cases if case.label)
    return lines + ([f"labels: {_counted(labels)}"] if labels else [])


def _check_files_of_cases(
    table: Mapping[str, Any], folder: Path, cases: Sequence[Case], result: Survey
) -> None:
    """Check the masks of the cases, and the background."""
    if "background" in table:
        _attempt(result, "study.background", existing_path, folder, table["background"])
    if "cases" in table:
        found = _attempt(result, "study.cases", real_cases_of, folder, table["cases"])
        if found:
            result.facts["study.cases"] = [f"real cases: {len(found)}"]
    existing = [case for case in cases if is_there(case.path)]
    for key in ("region", "keep", "reference", "masks") if existing else ():
        if key not in table:
            continue
        config = _minimal_study(table, key)
        absent = [stem_of(case.path) for case in existing if not _has(config, key, folder, case)]
        present = len(existing) - len(absent)
        result.facts[f"study.{key}"] = [f"{present} of {len(existing)} images have one"]
        if absent:
            result.missing.append(Problem(f"study.{key}", f"none for {_names(absent)}"))


def _has(config: StudyConfig, key: str, folder: Path, case: Case) -> bool:
    """Whether the mask of a case exists."""
    try:
        return bool(mask_path(config, key, folder, case))
    except InputError:
        return False


def _files_of_model(choice: Mapping[str, Any], folder: Path) -> list[Path]:
    """Return the files in a model's description; a bundle's files are checked by its reader."""
    path = folder / str(choice.get("path", ""))
    if "bundle" in choice or path.suffix != ".json" or not path.is_file():
        return []
    try:
        about = _read_description(path)
    except InputError:  # reported by `_check_model`
        return []
    named = [about[key] for key in ("model", "weights") if isinstance(about.get(key), str)]
    sources = [source_of(text) for text in named]
    return [path.parent / source.path for source in sources if source.path is not None]


def _check_model(choice: Mapping[str, Any], folder: Path, place: str, result: Survey) -> None:
    """Check a model's files and description, and record its predictors and classes; no weights are read."""
    if "bundle" in choice:
        local = folder / str(choice["bundle"])
        place_of = find_bundle(local if is_folder(local) else str(choice["bundle"]))
        about = _read_description(place_of / "bundle.json")
        predictors = about.get("predictors")
        if not isinstance(predictors, dict):
            raise InputError(f"expected 'predictors' (a table) in '{place_of.name}/bundle.json'")
        wanted = str(choice.get("path", about.get("main")))
        result.facts[place] = [f"predictors: {', '.join(predictors)}"]
        if wanted not in predictors:
            known, near = ", ".join(predictors), nearest(wanted, predictors)
            raise InputError(f"this bundle's predictors are {known}; got '{wanted}'{near}")
        path = lies_inside(place_of, predictors[wanted], what="a file of a bundle")
    else:
        path = existing_path(folder, str(choice["path"]))
    if path.suffix == ".json":
        classes = _read_description(path).get("classes")
        if isinstance(classes, list):
            fact = f"classes: {', '.join(map(str, classes))}"
            result.facts[place] = [*result.facts.get(place, []), fact]
            result.known["study.targets"] = [f"class:{name}" for name in classes]


def _read_description(path: Path) -> dict[str, Any]:
    """Return a JSON object. Raise InputError for JSON of another type."""
    about = read_json(path)
    if not isinstance(about, dict):
        raise InputError(f"expected a JSON object in '{path.name}'; got {type(about).__name__}")
    return about


def _names(names: Sequence[str]) -> str:
    """Return the first names and the number of the others, as text."""
    more = len(names) - SHOWN
    shown = (
        name.encode("utf-8", "replace").decode() for name in names[:SHOWN]
    )  # file names may contain any bytes
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _counted(counted: Counter[str]) -> str:
    """Return names with their counts, as text."""
    return ", ".join(f"{name or 'none'} {count}" for name, count in sorted(counted.items()))
