"""What a run knows of its images: label, patient and further columns, from a cohort."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from contrafact.core import InputError
from contrafact.io.cohort import Case
from contrafact.io.row_log import content_of, parsed
from contrafact.io.run import Run
from contrafact.io.stored_rows import scores_readable
from contrafact.io.weights import read_json, write_atomic

FILE = "cohort.json"
ENDINGS = (".nii.gz",)  # of two parts; the stem of other names is what `PurePath` takes for it
SHOWN = 5  # names listed in one line


@dataclass(frozen=True, slots=True)
class CohortTable:
    """The cases of a cohort by path, and by file name and stem where all cases of that name say the same."""

    paths: Mapping[str, Case]
    names: Mapping[str, Case]

    @staticmethod
    def of_cases(cases: Iterable[Case]) -> CohortTable:
        paths = {str(case.path): case for case in cases}
        said: dict[str, list[Case]] = {}
        for case in paths.values():
            for name in {case.path.name, stem(case.path.name)}:
                said.setdefault(name, []).append(case)
        names = {name: one[0] for name, one in said.items() if all(_says(one[0]) == _says(c) for c in one)}
        return CohortTable(paths, names)

    def __bool__(self) -> bool:
        return bool(self.paths)

    def find(self, source: str) -> Case | None:
        """Return the case of an image by its path, else by its file name or stem; None where there is none."""
        name = PurePath(source).name
        return self.paths.get(source) or self.names.get(name) or self.names.get(stem(name))


def stem(name: str) -> str:
    """Return a file name without its ending."""
    ending = next((text for text in ENDINGS if name.lower().endswith(text)), None)
    return name[: -len(ending)] if ending else PurePath(name).stem


def _says(case: Case) -> tuple[str, dict[str, str]]:
    return case.label, dict(case.extra)


def unmatched_line(table: CohortTable, name: str, images: Iterable[str]) -> str:
    """Return one line on the images that a cohort does not name; empty where it names all.

    name  of the cohort's file
    """
    images = list(images)
    missing = [PurePath(image).name for image in images if table.find(image) is None]
    if not missing:
        return ""
    listed = ", ".join(missing[:SHOWN]) + (f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else "")
    known = next(iter(table.paths.values())).path.name
    return (
        f"'{name}' has no row for {len(missing)} of {len(images)} images ({listed}); they have no label. "
        f"Its column path takes a path, a file name or a name without its ending; the first is '{known}'"
    )


def store_cohort(run: Run, cases: Mapping[str, Case]) -> None:
    """Store what a cohort says of images, by their source, beside what the run knows of others."""
    lines = {line["source"]: line for line in _lines(run)}
    for source, case in cases.items():
        about = {"patient": case.patient, "label": case.label, "columns": dict(case.extra)}
        lines[source] = {"source": source, **about}
    text = json.dumps({"images": list(lines.values())}, ensure_ascii=False)
    write_atomic(run.folder / FILE, text.encode("utf-8", "replace"))


def stored_cohort(run: Run) -> CohortTable:
    """Return what a run knows of its images: what `store_cohort` wrote, or else what a study's metrics name.
    It is empty for a run without labels, and lines that are damaged are left out."""
    lines = _lines(run) or [line for line in run.scores().values() if _whole(line)]
    return CohortTable.of_cases(
        Case(
            path=Path(line["source"]),
            patient=line.get("patient") or line["source"],
            label=line["label"],
            extra={str(k): v for k, v in (line.get("columns") or {}).items() if isinstance(v, str)},
        )
        for line in lines
        if line["source"]
    )


def stored_shares(run: Run) -> dict[tuple[str, str, str, str], float]:
    """Return the share of a counterfactual's change that lies in the mask, by source, model, method and target,
    where a study measured `change-share`."""
    found = {}
    lines = (line for line in content_of(run.folder / "scores.jsonl").split(b"\n") if b'"change-share"' in line)
    for line in filter(None, map(parsed, lines)):
        if scores_readable(line):
            about = (str(line.get(name) or "") for name in ("source", "model", "target"))
            source, model, target = about
            for score in line["scores"]:
                if score["metric"] == "change-share" and score["value"] is not None:
                    found[source, model, score["method"], target] = float(score["value"])
    return found


def _lines(run: Run) -> list[dict[str, Any]]:
    path, stored = run.folder / FILE, None
    if path.exists():
        with contextlib.suppress(InputError):  # damaged: the run has no labels, and its results stay readable
            stored = read_json(path)
    lines = stored.get("images") if isinstance(stored, dict) else None
    return [line for line in lines if _whole(line)] if isinstance(lines, list) else []


def _whole(line: Any) -> bool:
    if not isinstance(line, dict):
        return False
    texts = all(isinstance(line.get(name), str) for name in ("source", "label"))
    plain = isinstance(line.get("patient") or "", str) and isinstance(line.get("columns") or {}, dict)
    return texts and plain
