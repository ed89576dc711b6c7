"""Index of a run's cases: targets, warnings and failures of each."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import InputError, nearest
from contrafact.io import Run
from contrafact.io.stored_rows import row_flaw
from contrafact.render.map_display import MapScale, ScaleKey, scale_for, scale_key
from contrafact.render.pixels import signed_scale
from contrafact.render.text import GOOD_ENDS, check_title, few

SHOW = ("all", "failures", "doubts", "clean")
SORT = ("problems", "order", "name", "answer")
SAMPLED = 64  # maps from which a cohort scale is estimated
VALUES = 1 << 16  # values of each of them
NO_FAILURE = {"target": "", "seconds": None}  # of a row that cannot be read


@dataclass(slots=True)
class CaseResults:
    """Results of one image with one model: row numbers in the run, failures, and fields of the table.

    image, digest  digests of the image and of the model
    """

    id: str
    name: str
    image: str = ""
    digest: str = ""
    source: str = ""
    model: str = ""
    answers: tuple[str, ...] = ()
    synthetic: bool = False
    targets: dict[str, None] = field(default_factory=dict)
    maps: list[int] = field(default_factory=list)
    strips: list[int] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    order: int = 0

    def line(self) -> dict[str, Any]:
        """Return the fields that the table shows."""
        rows = [*self.maps, *self.strips]
        plain = ("id", "name", "source", "synthetic", "ends", "doubts")
        return {name: getattr(self, name) for name in plain} | {
            "answers": few(self.answers),
            "targets": list(self.targets),
            "maps": len(self.maps),
            "strips": len(self.strips),
            "failures": [f"{f['method']}: {f['error']}" for f in self.failures],
            "thumbnail": min(rows) if rows else None,
        }

    def copy(self) -> CaseResults:
        """Return a case that can be extended while others read this one."""
        lists = ("maps", "strips", "ends", "doubts", "failures")
        new: dict[str, Any] = {name: list(getattr(self, name)) for name in lists}
        return dataclasses.replace(self, targets=dict(self.targets), **new)

    def words(self) -> str:
        """Return the text that a filter searches."""
        failed = (f"{f['method']} {f['error']}" for f in self.failures)
        said = (self.name, self.source, *self.answers, *self.targets, *self.doubts, *self.ends, *failed)
        return "\n".join(said).casefold()


class RunIndex:
    """Cases of a run. When the run has grown, its new rows are read. Thread-safe."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._lock = threading.Lock()
        self._stamp: tuple[Any, ...] = ()
        self._generation = -1
        self._grouped = Grouped()
        self._cases: dict[str, CaseResults] = {}
        self._scales: dict[ScaleKey, tuple[float, int, int]] = {}

    def cases(self) -> dict[str, CaseResults]:
        """Return the cases by id, in the order of the run."""
        with self._lock:
            stamp = tuple(_stamp(self.run.folder / n) for n in ("results.jsonl", "failures.jsonl"))
            if stamp != self._stamp:
                self._read()
                self._stamp, self._scales = stamp, {}
            return self._cases

    def _read(self) -> None:
        """Read the rows that are new, or all of another run."""
        generation = self.run.generation()
        if generation != self._generation:
            self._grouped, self._generation = Grouped(), generation
        grouped = self._grouped
        known = dict.fromkeys(grouped.cases)  # others may be reading these
        seen = dict[str, list[int]]()
        for number, row in self.run.rows_from(grouped.count):
            grouped.add(number, row, self.run.flaw(row, seen), known)
        self._cases = grouped.with_failures(self.run.failures())

    def row(self, number: int) -> dict[str, Any]:
        self.cases()
        count = self._grouped.count
        if not 0 <= number < count:
            raise InputError(f"expected a result from 0 to {count - 1}; got {number}")
        return self.run.row(number)

    def chosen(self, *, words: str = "", show: str = "all", sort: str = "problems") -> list[CaseResults]:
        """Return cases filtered and sorted; "problems" puts failures first, then the most warnings."""
        for name, value, known in (("show", show, SHOW), ("sort", sort, SORT)):
            if value not in known:
                expected = f"{name} must be one of {', '.join(known)}"
                raise InputError(f"{expected}; got '{value}'{nearest(value, known)}")
        wanted = words.casefold().split()
        found = [c for c in self.cases().values() if _shown(c, show) and all(w in c.words() for w in wanted)]
        return sorted(found, key=_KEYS[sort])

    def map_scale(self, row: Mapping[str, Any], values: NDArray[Any]) -> MapScale:
        """Return the scale of a map on all pages: the cohort scale of its model, kind of target and method.

        A map that is faint, or that the run does not hold, has a per-image scale.
        """
        shared, seen, there = self.scale(scale_key(row))
        return scale_for(values, shared if there else max(signed_scale([values]), 1e-12), seen, there)

    def scale(self, key: ScaleKey) -> tuple[float, int, int]:
        """Return (cohort scale, maps it is estimated from, maps it applies to) for the maps of a key."""
        self.cases()
        with self._lock:
            if key in self._scales:
                return self._scales[key]
            stamp, numbers = self._stamp, list(self._grouped.maps.get(key, ()))
        at = np.linspace(0, len(numbers) - 1, min(SAMPLED, len(numbers))).round().astype(int)
        picked = [self.run.row(numbers[i]) for i in at]
        maps = []
        for row in picked:
            with contextlib.suppress(InputError):  # a damaged file is reported where its own map is shown
                values = self.run.arrays(row)["values"].ravel()
                maps.append(values[:: -(-values.size // VALUES)])
        found = (max(signed_scale(maps), 1e-12) if maps else 1.0, len(maps), len(numbers))
        with self._lock:
            return self._scales.setdefault(key, found) if stamp == self._stamp else found


class Grouped:
    """Rows of a run by case, added one after another; `maps` has the numbers of the heatmaps of each scale."""

    def __init__(self) -> None:
        self.count = 0
        self.cases: dict[str, CaseResults] = {}
        self.maps: dict[ScaleKey, list[int]] = {}
        self._by_source: dict[tuple[str, str], str] = {}
        self._ids: dict[tuple[str, ...], str] = {}

    def add(self, number: int, row: Mapping[str, Any], flaw: str, shown: dict[str, None]) -> None:
        """Add a row to its case. A case that is in `shown` is copied first, and removed from it."""
        name, record = _text(row.get("case") or row.get("key")), _record(row)
        image, digest = _text(record.get("image")), _text(record.get("model"))
        model, source = _text(row.get("model_name")), _text(row.get("source"))
        key = name, image, digest
        made = self._ids.get(key) or self._ids.setdefault(key, _id(key))
        if made in shown:
            self.cases[made] = self.cases[made].copy()
            del shown[made]
        case = self.cases.get(made)
        if case is None:
            case = self.cases[made] = CaseResults(made, name, image, digest, order=len(self.cases))
        case.source, case.model = _file_name(source), model or case.model
        self._by_source.setdefault((source, model), made)
        self.count = number + 1
        if row.get("kind") == "heatmap" and not (flaw and row_flaw(row)):
            self.maps.setdefault(scale_key(row), []).append(number)
        if flaw:
            case.failures.append({"method": _text(record.get("method")), "error": flaw, **NO_FAILURE})
        else:
            _add(case, number, row)

    def with_failures(self, failures: Iterable[Mapping[str, Any]]) -> dict[str, CaseResults]:
        """Return the cases with the run's failures, each at the case of its image and model."""
        cases, own = dict(self.cases), set[str]()
        for row in failures:
            source, model = row["source"], row["model_name"]
            name = _file_name(source) or row["key"]
            made = self._by_source.get((source, model)) or _id((source, model, "failed"))
            if made not in own:
                own.add(made)
                known = cases.get(made)
                cases[made] = known.copy() if known else CaseResults(made, name, order=len(cases))
            case = cases[made]
            case.source, case.model = _file_name(source), model
            case.failures.append({name: row[name] for name in ("method", "error", "target", "seconds")})
        return cases


@functools.lru_cache(maxsize=1024)  # rows of an image follow one another
def _file_name(source: str) -> str:
    return Path(source).name


def _id(key: tuple[str, ...]) -> str:
    return hashlib.sha256("\0".join(key).encode("utf-8", "replace")).hexdigest()[:16]


def _add(case: CaseResults, number: int, row: Mapping[str, Any]) -> None:
    record, doubts = row["record"], list[str]()
    for check in row.get("trust") or ():
        if check["passed"] is False:
            doubts.append(f"{record['method']}: {check_title(_text(check['name']))}")
    if row["kind"] == "strip" and not row.get("trust"):
        doubts += [f"{record['method']}: reconstruction error"] if row["above_tolerance"] else []
        doubts += [f"{record['method']}: goal"] if row["outcome"] not in GOOD_ENDS else []
    case.answers = tuple(map(_text, row.get("answers") or ())) or case.answers
    case.synthetic = bool((row.get("about") or {}).get("synthetic"))
    case.targets[_text(row.get("target_name") or record["target"])] = None
    if row["kind"] == "strip":
        case.ends.append(_text(row["outcome"]))
    case.doubts += doubts
    (case.maps if row["kind"] == "heatmap" else case.strips).append(number)


def _record(row: Mapping[str, Any]) -> Mapping[str, Any]:
    record = row.get("record")
    return record if isinstance(record, dict) else {}


def _text(value: Any) -> str:
    return value if type(value) is str else "" if value is None else str(value)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        about = path.stat()
    except FileNotFoundError:
        return None
    return about.st_mtime_ns, about.st_size


def _shown(case: CaseResults, show: str) -> bool:
    if show == "failures":
        return bool(case.failures)
    if show == "doubts":
        return bool(case.doubts)
    return show == "all" or not (case.failures or case.doubts)


def name_order(text: str) -> list[tuple[int, int, str]]:
    """Return a sort key that puts case 10 after case 2."""
    parts: Iterator[str] = iter(re.split(r"(\d{1,18})", text.casefold()))
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p]


_KEYS: dict[str, Any] = {
    "problems": lambda c: (-len(c.failures), -len(c.doubts), c.order),
    "order": lambda c: c.order,
    "name": lambda c: (name_order(c.name), c.order),
    "answer": lambda c: (c.answers, c.order),
}
