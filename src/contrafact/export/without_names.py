"""A run whose images have numbers instead of the names of their files, which may be those of patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contrafact.io import Run

NAMING = ("PatientID", "PatientName", "file", "files", "path")


@dataclass(frozen=True, slots=True)
class NamelessRun(Run):
    """The run in a folder, read so that its rows and failures name no file: `image1`, `image2`, ..."""

    def rows(self) -> list[dict[str, Any]]:
        """Return the lines of finished results without names."""
        stored = Run(self.folder).rows()
        numbers = _numbers(stored)
        return [_nameless(row, numbers[_image(row)], at) for at, row in enumerate(stored)]

    def failures(self) -> list[dict[str, Any]]:
        """Return the failures without names; the reason of each is kept but for the file's name."""
        whole = Run(self.folder)
        names = {source: name for (source, _), name in reversed(_numbers(whole.rows()).items())}
        found = []
        for at, row in enumerate(whole.failures()):
            source = row["source"]
            name = names.setdefault(source, f"image{len(names) + 1}")
            hidden = {part: without(row[part], source, name) for part in ("error", "trace")}
            found.append({**row, **hidden, "key": f"{name} failure {at}", "source": name})
        return found


def _image(row: Mapping[str, Any]) -> tuple[str, str]:
    return str(row.get("source") or ""), str(row.get("case") or row["key"])


def _numbers(rows: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
    """Return the name of each image, by its source and case, in the order of the run."""
    images = dict.fromkeys(map(_image, rows))
    sources = dict.fromkeys(source for source, _ in images)
    several = len(sources) < len(images)  # generated images have one source, but a case each
    order = list(images if several else sources)
    return {image: f"image{order.index(image if several else image[0]) + 1}" for image in images}


def _nameless(row: Mapping[str, Any], name: str, at: int) -> dict[str, Any]:
    record, about, later = row.get("record"), row.get("about"), row.get("followup")
    changed = {**row, "key": f"{name} result {at}", "case": name, "source": name}
    if isinstance(record, dict):
        changed["record"] = {**record, "source": name}
    if isinstance(about, dict):
        changed["about"] = {key: value for key, value in about.items() if key not in NAMING}
    if isinstance(later, list):
        changed["followup"] = [
            {**one, "name": f"later {n + 1}"} if isinstance(one, dict) else one for n, one in enumerate(later)
        ]
    return changed


def without(text: str, source: str, name: str) -> str:
    """Return a text in which a file's path, name and stem are replaced."""
    path = Path(source)
    for part in (source, path.name, path.name.split(".")[0]):
        text = text.replace(part, name) if len(part) > 2 else text
    return text
