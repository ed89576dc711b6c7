"""The run folder, the only stored form of results.

manifest.json     schema number, request, versions
results.jsonl     one line per finished result, appended after its arrays are on disk
failures.jsonl    one line per method that failed on an image, with its traceback
scores.jsonl      one line per image, target and model of a study: every metric of every method
summary.json      tables of a study
methods.json      source and cost of each method, by name
arrays/*.npz      heatmap values; frames, reconstruction and image of counterfactuals
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import (
    ContrafactError,
    ContrafactWarning,
    Counterfactual,
    Grid,
    Heatmap,
    Image,
    InputError,
    check_file,
)
from contrafact.core.limits import stored_arrays
from contrafact.core.real_cases import NearestCases
from contrafact.core.stored import present_names
from contrafact.io.packed_arrays import packed
from contrafact.io.row_log import RowLog, append, content_of, parsed, replaced
from contrafact.io.stored_rows import check_arrays, row_flaw, scores_readable, whole_failure
from contrafact.io.weights import linked_or_copied, read_json, write_atomic, write_json

SCHEMA = 1
BEGUN = {"manifest.json.part"}  # what a run holds that was killed before its manifest was written
# What reading a damaged .npz raises.
DAMAGED: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    LookupError,
    EOFError,
    TypeError,
    AttributeError,
    RuntimeError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,  # of a header that NumPy takes for one of Python 2
)


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder, new or existing. Finished results survive a crash; `done` lists their keys.

    The keys are kept in memory: after the first call, only lines that were appended since are read.
    """

    folder: Path
    _log: RowLog = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_log", RowLog(self.folder / "results.jsonl"))

    @staticmethod
    def create(folder: str | Path, *, about: Mapping[str, Any]) -> Run:
        """Create the folder, or open an existing run of the same schema.

        raises  InputError for a folder with other files, or of another schema
        """
        run = Run(Path(folder))
        if (run.folder / "manifest.json").exists():
            run.manifest()
            return run
        if run.folder.exists() and {path.name for path in run.folder.iterdir()} - BEGUN:
            raise InputError(f"expected a new or a run folder; '{folder}' holds other files")
        _safely(lambda: write_json(run.folder / "manifest.json", {"schema": SCHEMA, **about}))
        return run

    def manifest(self) -> dict[str, Any]:
        """Return the manifest; raise InputError if it is not of this schema."""
        manifest = read_json(self.folder / "manifest.json")
        if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
            schema = manifest.get("schema") if isinstance(manifest, dict) else "no object"
            raise InputError(f"expected a run of schema {SCHEMA}; got {schema} in '{self.folder}'")
        return manifest

    def add(
        self,
        key: str,
        image: Image,
        result: Heatmap | Counterfactual,
        *,
        followup: Sequence[tuple[Image, str]] = (),
        nearest: NearestCases | None = None,
        replace: bool = False,
        **extra: Any,
    ) -> None:
        """Store one result under a key that is unique in the run; arrays first, then the line.

        followup  later images of the patient, each with the prediction as text
        nearest   real cases on the other side of the decision
        replace   put the result in the place of the one that has the key
        raises    InputError for a key that is stored already, ContrafactError if the disk cannot be written
        """
        path, there = self.folder / "results.jsonl", self._log.holds(key)
        if there and not replace:
            raise InputError(f"run '{self.folder.name}' holds '{key}' already")
        name = self._name_for(key)
        row, arrays = stored_form(image, result, followup, nearest, **extra)
        content = packed(arrays)

        def put() -> None:
            write_atomic(self.folder / "arrays" / name, content)
            stored = _size_and_time(f"{self.folder}/arrays/{name}")
            line = {"key": key, "array": name, "stored": stored, **row}
            if there:  # in its line: a reader study counts lines
                write_atomic(path, replaced(path.read_bytes(), key, line))
            else:
                append(path, line)

        _safely(put)

    def take(self, other: Run, row: Mapping[str, Any]) -> None:
        """Store a result of another run, given by its row there; its file of arrays is linked, or copied where
        the file system has no links.

        raises  InputError for a key that is stored already, or arrays that are missing; ContrafactError if the
                disk cannot be written
        """
        key = str(row["key"])
        if self._log.holds(key):
            raise InputError(f"run '{self.folder.name}' holds '{key}' already")
        source, name = other._array_path(row["array"]), self._name_for(key)
        check_file(source, "arrays")

        def put() -> None:
            (self.folder / "arrays").mkdir(exist_ok=True)
            linked_or_copied(source, self.folder / "arrays" / name)
            stored = _size_and_time(f"{self.folder}/arrays/{name}")
            append(self.folder / "results.jsonl", {**row, "array": name, "stored": stored})

        _safely(put)

    def _name_for(self, key: str) -> str:
        """Return the name of a new file of arrays. It contains the key: two processes that write at once do not
        overwrite each other."""
        return f"{self._log.newlines():05d}-{hashlib.sha256(key.encode()).hexdigest()[:8]}.npz"

    def unreadable(self, keys: Collection[str]) -> set[str]:
        """Return those of the keys whose result cannot be read. Arrays are read to find out, unless their file
        has the size and time with which it was written."""
        found = set[str]()
        for row in map(_present, self._log.rows_of(keys) if keys else ()):
            if row_flaw(row) or not self._as_written(row):
                try:
                    self.arrays(row)
                except InputError:
                    found.add(row["key"])
        return found

    def _as_written(self, row: Mapping[str, Any]) -> bool:
        """Whether the file of a row has the size and time with which it was written; it is not opened."""
        name, stored = row["array"], row.get("stored")
        if stored is None or "/" in name or os.sep in name:
            return False
        try:
            return bool(stored == _size_and_time(f"{self.folder}/arrays/{name}"))
        except (OSError, ValueError):
            return False

    def add_methods(self, cards: Mapping[str, Mapping[str, str]]) -> None:
        """Store source and cost of methods, by name."""
        known = self.methods()
        if any(known.get(name) != card for name, card in cards.items()):
            _safely(lambda: write_json(self.folder / "methods.json", {**known, **_json(cards)}))

    def methods(self) -> dict[str, dict[str, str]]:
        """Return the cards stored by `add_methods`; empty in older runs."""
        path = self.folder / "methods.json"
        cards = read_json(path) if path.exists() else {}
        return {str(k): v for k, v in cards.items() if isinstance(v, dict)} if isinstance(cards, dict) else {}

    def add_failure(self, key: str, **about: Any) -> None:
        """Store why there is no result under this key."""
        _safely(lambda: append(self.folder / "failures.jsonl", {"key": key, **_json(about)}))

    def failures(self) -> list[dict[str, Any]]:
        """Return the failures without a later result that can be read, each with every field; the last one of
        each key."""
        found = {row["key"]: row for row in self._lines("failures.jsonl")}
        if not found:
            return []
        both = self.done() & set(found)  # of a result that was damaged and failed when it was repeated
        later = both - self.unreadable(both)
        return [whole_failure(row) for key, row in found.items() if key not in later]

    def add_scores(self, key: str, **about: Any) -> None:
        """Store the values of metrics; they replace earlier ones of the same key."""
        _safely(lambda: append(self.folder / "scores.jsonl", {"key": key, **_json(about)}))

    def scores(self) -> dict[str, dict[str, Any]]:
        """Return the values of metrics, by key, without lines that are damaged."""
        return {row["key"]: row for row in self._lines("scores.jsonl") if scores_readable(row)}

    def failed(self) -> set[str]:
        """Return the keys of `failures`."""
        return {row["key"] for row in self.failures()}

    def rows(self) -> list[dict[str, Any]]:
        """Return the lines of finished results in order, by the present names of their fields; skip a line that
        a crash truncated."""
        return [row for _, row in self.rows_from(0)]

    def rows_from(self, start: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield numbers and `rows` from number `start` on."""
        return ((number, _present(row)) for number, row in self._log.rows(start))

    def row(self, number: int) -> dict[str, Any]:
        """Return one of `rows` by its number, read from its line alone; raise InputError for any other."""
        row = self._log.row(number)
        if row is None:
            raise InputError(f"line {number} of '{self.folder / 'results.jsonl'}' changed while it was read")
        return _present(row)

    def generation(self) -> int:
        """Return a number that changes when the rows are others than before, and not only more."""
        return self._log.generation()

    def _lines(self, name: str) -> list[dict[str, Any]]:
        return list(filter(None, map(parsed, content_of(self.folder / name).split(b"\n"))))

    def done(self) -> set[str]:
        """Return the keys of finished results."""
        return self._log.keys()

    def arrays(self, row: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Return the arrays of a line of `rows`, by name.

        raises  InputError that names the file, where the row or its file is damaged
        """
        flaw = row_flaw(row)
        if flaw:
            raise InputError(f"the line '{row.get('key')}' of results.jsonl is unreadable: {flaw}")
        arrays = self.array_file(row["array"])
        check_arrays(row, arrays)
        return arrays

    def results(self) -> Iterator[tuple[dict[str, Any], dict[str, NDArray[Any]]]]:
        """Yield every row that can be read, with its arrays; warn of each that cannot, by the name of its file.

        raises  InputError for an empty run, and where no row can be read
        """
        rows, found = self.rows(), 0
        for row in rows:
            try:
                arrays = self.arrays(row)
            except InputError as error:
                warnings.warn(f"left out: {error}", ContrafactWarning, stacklevel=2)
                continue
            found += 1
            yield row, arrays
        if not found:
            why = f"none of its {len(rows)} results can be read" if rows else "the run is empty"
            raise InputError(f"expected results in '{self.folder}'; {why}")

    def flaw(self, row: Mapping[str, Any]) -> str:
        """Return why a row cannot be read, as far as is seen without reading its arrays; else an empty text."""
        found = row_flaw(row)
        if found:
            return f"this line of results.jsonl is unreadable: {found}"
        if self._as_written(row):
            return ""
        try:
            path = self._array_path(row["array"])
            whole = path.is_file() and zipfile.is_zipfile(path)  # not a pipe, which would block
        except InputError as error:
            return str(error)
        return "" if whole else f"'arrays/{row['array']}' of the run is missing or damaged"

    def array_file(self, name: str) -> dict[str, NDArray[Any]]:
        """Return the arrays in one file of the run; raise InputError that names it where it is damaged."""
        path = self._array_path(name)
        try:
            check_file(path, "arrays")
            with stored_arrays(path) as file:
                arrays = dict(file.items())
            if not all(isinstance(array, np.ndarray) for array in arrays.values()):
                raise InputError("it holds members that are no arrays")
            return arrays
        except InputError as error:
            raise InputError(f"'arrays/{name}' of the run is unreadable: {error}") from error
        except DAMAGED as error:
            raise InputError(f"'arrays/{name}' of the run is unreadable ({type(error).__name__})") from error

    def _array_path(self, name: str) -> Path:
        if Path(name).name != name or not name.endswith(".npz"):  # a run of unknown origin
            raise InputError(f"expected the name of an .npz file in 'arrays'; got '{name}'")
        return self.folder / "arrays" / name


def stored_form(
    image: Image,
    result: Heatmap | Counterfactual,
    followup: Sequence[tuple[Image, str]] = (),
    nearest: NearestCases | None = None,
    **extra: Any,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the line of a result without its key, and its arrays, as `Run.add` writes them."""
    arrays: dict[str, NDArray[Any]] = {"image": image.values, "affine": image.grid.affine}
    row: dict[str, Any] = {"window": list(image.window), "source": image.source}
    spacing = {} if image.grid.spacing_known else {"spacing": "unknown"}
    row |= {"about": _json({**image.about, **spacing}), **extra}
    if nearest is not None:
        row["nearest"] = nearest.stored(str(extra.get("target_name") or ""))
        for number, one in enumerate(nearest.cases):
            arrays |= {
                f"nearest_{number:03d}": one.image.values,
                f"nearest_{number:03d}_affine": one.image.grid.affine,
            }
    if isinstance(result, Heatmap):
        arrays["values"] = result.values
        return row | {"kind": "heatmap", "record": dataclasses.asdict(result.record)}, arrays
    arrays |= {"frames": result.frames, "reconstruction": result.reconstruction}
    arrays["strip_affine"] = result.grid.affine
    plain = ("origin", "reconstruction_error", "above_tolerance", "outcome", "goal")
    row |= {"kind": "strip", **{k: getattr(result, k) for k in plain}}
    row |= {k: getattr(result, k).tolist() for k in ("requested", "scores", "latent_distance")}
    row |= {"second": None if result.second is None else result.second.tolist(), "confirmed": result.confirmed}
    arrays |= {f"followup_{i:03d}": later.values for i, (later, _) in enumerate(followup)}
    row["followup"] = [{"name": Path(later.source).name, "answer": answer} for later, answer in followup]
    return row | {"record": dataclasses.asdict(result.record) if result.record else None}, arrays


def stored_grid(row: Mapping[str, Any], shape: Sequence[int], affine: NDArray[np.float64]) -> Grid:
    """Return the grid of an array of a row; its spacing is unknown if that of the image was."""
    grid = Grid(shape, affine=affine)
    return grid.of_unknown_spacing() if (row.get("about") or {}).get("spacing") == "unknown" else grid


def open_run(folder: str | Path) -> Run:
    """Open an existing run; raise InputError for any other folder."""
    run = Run(Path(folder))
    if not (run.folder / "manifest.json").exists():
        raise InputError(f"expected a run folder with manifest.json; got '{folder}'")
    run.manifest()
    return run


def _present(row: dict[str, Any]) -> dict[str, Any]:
    return present_names(row) if row.get("kind") == "strip" else row


def _size_and_time(path: str) -> list[int]:
    about = os.stat(path)
    return [about.st_size, about.st_mtime_ns]


def _safely(write: Any) -> None:
    try:
        write()
    except OSError as error:
        raise ContrafactError(
            f"could not write the run ({error.strerror}); finished results are kept: "
            "free some space or choose another folder with --out, then run again"
        ) from error


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(v) for v in value]
    if isinstance(value, (np.integer, np.floating)):
        return value.item()
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
