"""Cohorts: images with patients and labels, from a folder of class folders or a CSV."""

from __future__ import annotations

import csv
import glob
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from contrafact.core import Image, InputError, UnsupportedError, check_file, is_there, nearest
from contrafact.core.reading import naming, reading
from contrafact.io.dicom_series import patient_of, series_in
from contrafact.io.images import SUFFIXES, read_image
from contrafact.io.remote import is_address, path_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One image of one patient; `extra` holds the other columns of the CSV."""

    path: Path
    patient: str
    label: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)

    def read(self) -> Image:
        """Read the image."""
        return read_image(self.path)


@dataclass(frozen=True, slots=True)
class Cohort:
    """Cases in a fixed order."""

    cases: tuple[Case, ...]

    def __len__(self) -> int:
        return len(self.cases)

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    @property
    def classes(self) -> tuple[str, ...]:
        """All labels, sorted."""
        return tuple(sorted({case.label for case in self.cases}))

    def split(self, shares: Sequence[float], *, seed: int = 0) -> tuple[Cohort, ...]:
        """Split into parts with these shares of the **patients**; no patient is in two parts."""
        if min(shares, default=0) <= 0 or abs(sum(shares) - 1) > 1e-6:
            raise InputError(f"shares must be positive and sum to 1; got {tuple(shares)}")
        patients = sorted({case.patient for case in self.cases})
        if len(patients) < len(shares):
            raise InputError(f"expected at least {len(shares)} patients; got {len(patients)}")
        order = np.random.default_rng(seed).permutation(len(patients))
        cuts = [0, *np.round(np.cumsum(shares) * len(patients)).astype(int)]
        parts = []
        for low, high in itertools.pairwise(cuts):
            chosen = {patients[i] for i in order[low:high]}
            parts.append(Cohort(tuple(c for c in self.cases if c.patient in chosen)))
        return tuple(parts)


def read_cohort(path: str | Path, *, patient: str | None = None, keep_missing: bool = False) -> Cohort:
    """Return a cohort from a folder or a CSV.

    path     a folder: every image below it; its folder's name is the label. DICOM files of one series in a
             folder are one image (a series in a folder of its own has the label of the folder above).
             A CSV or Parquet file with a column `path` (relative to the file, or the address of a remote
             file, which is fetched when it is read), and optionally `patient` and `label`; other columns
             are kept. Parquet needs `pip install 'contrafact[table]'`.
    patient  regular expression whose first group is the patient in a file name (`(\\d+)[LR]`);
             None: the PatientID of a DICOM file or series (as a digest), else every file is its own patient
    keep_missing   keep cases whose file is missing; they fail when they are read
    raises   InputError: a missing path or file, no image, no column `path`, a remote file without `patient`, a
             patient in two values of the column `split`
    """
    path = Path(path)
    if not is_there(path):
        raise InputError(f"expected a folder of images or a CSV; got '{path}', which does not exist")
    with naming(path.name):
        cohort = _from_folder(path, patient) if path.is_dir() else _from_table(path, keep_missing)
        if not cohort.cases:
            raise InputError(f"expected at least one image in '{path}'; got an empty cohort")
        _check_splits(cohort)
    return cohort


def _check_splits(cohort: Cohort) -> None:
    """Raise InputError if a patient is in two splits: a model would be evaluated on training patients."""
    seen: dict[str, str] = {}
    for case in cohort:
        split = case.extra.get("split", "")
        before = seen.setdefault(case.patient, split)
        if before != split:
            raise InputError(
                f"patient '{case.patient}' is in the splits '{before}' and '{split}'; expected each patient in "
                "one: move all images of the patient to the same split"
            )


def _from_folder(root: Path, patient: str | None) -> Cohort:
    cases = []
    for folder in sorted([root, *(path for path in root.rglob("*") if path.is_dir())]):
        for path in _images_of(folder):
            is_series = path == folder
            depth = len(path.relative_to(root).parts)
            above = path if is_series and depth == 1 else path.parent  # a class folder, or a folder in one
            label = above.name if above != root and path != root else ""
            cases.append(Case(path=path, patient=_patient(path, patient), label=label))
    return Cohort(tuple(sorted(cases, key=lambda case: case.path)))


def _images_of(folder: Path) -> list[Path]:
    """Return the images in a folder itself: its files, or the folder where its DICOM files are one series.

    raises  InputError for two series of several slices each
    """
    series = series_in(folder)
    several = [slices for slices in series.values() if len(slices) > 1]
    if several and len(series) > 1:
        raise InputError(f"expected one series in '{folder}'; got {len(series)} series; give one folder each")
    if several:
        return [folder]
    single = {path for slices in series.values() for path in slices}
    files = (path for path in folder.iterdir() if path.is_file())
    found = [path for path in files if path in single or path.name.lower().endswith(SUFFIXES)]
    for path in found:
        check_file(path, "an image file")
    return found


def _patient(path: Path, pattern: str | None) -> str:
    if pattern is None:
        return patient_of(path) or path.stem
    match = re.search(pattern, path.name)
    if not match or not match.groups():
        raise InputError(f"expected a patient by '{pattern}' in '{path.name}'; got none")
    return match.group(1)


def _from_table(path: Path, keep_missing: bool) -> Cohort:
    check_file(path, "a folder of images or a CSV")
    columns, rows = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    if rows and "path" not in columns:
        raise InputError(f"expected a column 'path' in '{path.name}'; got {columns}{nearest('path', columns)}")
    cases = []
    for number, row in enumerate(rows, start=2):
        if not row["path"]:
            raise InputError(f"line {number} of '{path.name}': expected a path; got none")
        extra = {k: v or "" for k, v in row.items() if k not in ("path", "patient", "label") and k}
        if is_address(row["path"]):
            file_path, patient_id = path_of(row["path"]), row.get("patient")
            if not patient_id:
                raise InputError(
                    f"line {number} of '{path.name}': expected a patient beside a remote file; got none: add "
                    "the column 'patient', so that no patient is in two parts"
                )
        else:
            file_path = path.parent / row["path"]
            there = is_there(file_path)
            if not there and not keep_missing:
                raise InputError(f"line {number} of '{path.name}': '{row['path']}' does not exist")
            patient_id = row.get("patient") or (there and patient_of(file_path)) or file_path.stem
        cases.append(Case(path=file_path, patient=patient_id, label=row.get("label") or "", extra=extra))
    return Cohort(tuple(cases))


def _csv(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the named columns of a CSV, and its rows."""
    try:
        with reading(path, "a readable CSV"), path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except InputError as error:
        if isinstance(error.__cause__, UnicodeDecodeError):
            raise InputError(f"'{path.name}' is not in UTF-8; save it as 'CSV UTF-8'") from error
        raise
    return [name for name in rows[0] if name] if rows else [], rows  # fields beyond the header have no name


def _parquet(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns of a Parquet file, and its rows as text."""
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise UnsupportedError("a Parquet file needs duckdb; pip install 'contrafact[table]'") from error
    with reading(path, "a readable Parquet file"):
        table = duckdb.connect().execute("select * from read_parquet(?)", [glob.escape(str(path))])
        columns = [str(column[0]) for column in table.description]
        texts = [[_cell(value) for value in row] for row in table.fetchall()]
    return columns, [dict(zip(columns, row, strict=True)) for row in texts]


def _cell(value: Any) -> str:
    """Return a value of a table as a CSV would hold it: nothing for NaN, whole numbers without a point."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
