"""A run whose images have numbers instead of the names of their files, which may be those of patients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contrafact.io import Run

SIMILAR = "similarity:"  # a target that names the file of its reference image
NAMING = ("PatientID", "PatientName", "file", "files", "path")


@dataclass(frozen=True, slots=True)
class NamelessRun(Run):
    """The run in a folder, read so that its rows and failures name no file: `image1`, `image2`, ...

    images  False: rows keep the names of their images, and only targets name no file
    """

    images: bool = True
    _names: dict[Any, tuple[dict[tuple[str, str], str], dict[str, str]]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def rows_from(self, start: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield numbers and rows without names."""
        names, targets = self._named()
        for number, row in Run.rows_from(self, start):
            yield number, self._nameless(row, names[_image(row)], number, targets)

    def row(self, number: int) -> dict[str, Any]:
        row = Run.row(self, number)
        names, targets = self._named()
        return self._nameless(row, names[_image(row)], number, targets)

    def _nameless(
        self, row: Mapping[str, Any], name: str, at: int, targets: Mapping[str, str]
    ) -> dict[str, Any]:
        changed = _without_image(row, name, at) if self.images else dict(row)
        shown = targets.get(_target(row))
        if shown is not None:
            changed |= {"record": {**changed["record"], "target": shown}, "target_name": shown}
        return changed

    def _named(self) -> tuple[dict[tuple[str, str], str], dict[str, str]]:
        """Return the name of each image, and of each target that names a file; kept until the run grows."""
        state = self.generation(), self._log.newlines()
        if state not in self._names:
            self._names.clear()
            rows = [row for _, row in Run.rows_from(self, 0)]
            self._names[state] = _numbers(rows), _targets(rows)
        return self._names[state]

    def failures(self) -> list[dict[str, Any]]:
        """Return the failures without names; the reason of each is kept but for the file's name."""
        whole = Run(self.folder)
        images, targets = self._named()
        names, found = {source: name for (source, _), name in reversed(images.items())}, []
        for at, row in enumerate(whole.failures()):
            source = row["source"]
            name = names.setdefault(source, f"image{len(names) + 1}")
            hidden = {part: without(row[part], source, name) for part in ("error", "trace")}
            target = str(row["target"])
            if target.startswith(SIMILAR):
                shown = targets.setdefault(target, f"{SIMILAR}reference{len(targets) + 1}")
                file, other = target.removeprefix(SIMILAR), shown.removeprefix(SIMILAR)
                hidden = {part: without(text, file, other) for part, text in hidden.items()} | {"target": shown}
            found.append({**row, **hidden, "key": f"{name} failure {at}", "source": name})
        return found


def _image(row: Mapping[str, Any]) -> tuple[str, str]:
    return str(row.get("source") or ""), str(row.get("case") or row["key"])


def _target(row: Mapping[str, Any]) -> str:
    """Return the text of a row's target; empty for a damaged record."""
    record = row.get("record")
    return str(record.get("target")) if isinstance(record, dict) else ""


def _numbers(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """Return the name of each image, by its source and case, in the order of the run."""
    images = dict.fromkeys(map(_image, rows))
    sources = dict.fromkeys(source for source, _ in images)
    several = len(sources) < len(images)  # generated images have one source, but a case each
    order: dict[Any, int] = {one: number for number, one in enumerate(images if several else sources, 1)}
    return {image: f"image{order[image if several else image[0]]}" for image in images}


def _targets(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the name without a file of each target that names one, in the order of the run."""
    named = dict.fromkeys(target for target in map(_target, rows) if target.startswith(SIMILAR))
    return {target: f"{SIMILAR}reference{number}" for number, target in enumerate(named, 1)}


def _without_image(row: Mapping[str, Any], name: str, at: int) -> dict[str, Any]:
    record, about, later = row.get("record"), row.get("about"), row.get("followup")
    near = row.get("nearest")
    changed = {**row, "key": f"{name} result {at}", "case": name, "source": name}
    if isinstance(record, dict):
        changed["record"] = {**record, "source": name}
    if isinstance(about, dict):
        changed["about"] = {key: value for key, value in about.items() if key not in NAMING}
    if isinstance(later, list):
        changed["followup"] = [
            {**one, "name": f"later {n + 1}"} if isinstance(one, dict) else one for n, one in enumerate(later)
        ]
    if isinstance(near, dict) and isinstance(near.get("cases"), list):
        named = [
            {**one, "name": f"real case {n + 1}"}
            for n, one in enumerate(near["cases"])
            if isinstance(one, dict)
        ]
        changed["nearest"] = {**near, "cases": named}
    return changed


def without(text: str, source: str, name: str) -> str:
    """Return a text in which a file's path, name and stem are replaced."""
    path = Path(source)
    for part in (source, path.name, path.name.split(".")[0]):
        text = text.replace(part, name) if len(part) > 2 else text
    return text
