"""The run folder, the only stored form of results.

manifest.json     schema number, request, versions
results.jsonl     one line per finished result, appended after its arrays are on disk
failures.jsonl    one line per method that failed on an image, with its traceback
scores.jsonl      one line per image, target and model of a study: every metric of every method
summary.json      tables of a study
methods.json      source and cost of each method, by name
arrays/*.npz      heatmap values; frames and reconstruction of counterfactuals
images/*.npz      every image once, under the digest of its values and affine; lines name its file

In a run of schema 1 the arrays of each result hold its images. It is read as it is; the first result that is
added makes it one of schema 2, whose earlier lines stay as they are.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from contrafact.core import ContrafactError, ContrafactWarning, Counterfactual, Heatmap, Image, InputError
from contrafact.core.real_cases import NearestCases
from contrafact.core.stored import present_names
from contrafact.io.image_store import ArrayFolder, ImageStore
from contrafact.io.packed_arrays import packed
from contrafact.io.row_log import RowLog, append, content_of, parsed, replaced
from contrafact.io.stored_form import affine_of, plain_json, stored_form, without_images
from contrafact.io.stored_rows import check_arrays, image_files, row_flaw, scores_readable, whole_failure
from contrafact.io.weights import read_json, write_atomic, write_json

SCHEMA = 2
READABLE = (1, SCHEMA)
BEGUN = {"manifest.json.part"}  # what a run holds that was killed before its manifest was written


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder, new or existing. Finished results survive a crash; `done` lists their keys.

    The keys are kept in memory: after the first call, only lines that were appended since are read.
    """

    folder: Path
    _log: RowLog = field(init=False, compare=False, repr=False)
    _arrays: ArrayFolder = field(init=False, compare=False, repr=False)
    _images: ImageStore = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_log", RowLog(self.folder / "results.jsonl"))
        object.__setattr__(self, "_arrays", ArrayFolder(self.folder / "arrays"))
        object.__setattr__(self, "_images", ImageStore(self.folder / "images"))

    @staticmethod
    def create(folder: str | Path, *, about: Mapping[str, Any]) -> Run:
        """Create the folder, or open an existing run of a schema that is read: its manifest stays that of the
        first command, and gets the cards of bundles that it lacks.

        raises  InputError for a folder with other files, or of another schema
        """
        run = Run(Path(folder))
        if (run.folder / "manifest.json").exists():
            run._with_cards(about.get("bundles") or ())
            return run
        if run.folder.exists() and {path.name for path in run.folder.iterdir()} - BEGUN:
            raise InputError(f"expected a new or a run folder; '{folder}' holds other files")
        _safely(lambda: write_json(run.folder / "manifest.json", {"schema": SCHEMA, **about}))
        return run

    def manifest(self) -> dict[str, Any]:
        """Return the manifest; raise InputError if it is of no schema that is read."""
        manifest = read_json(self.folder / "manifest.json")
        if not isinstance(manifest, dict) or manifest.get("schema") not in READABLE:
            schema = manifest.get("schema") if isinstance(manifest, dict) else "no object"
            known = " or ".join(map(str, READABLE))
            raise InputError(f"expected a run of schema {known}; got {schema} in '{self.folder}'")
        return manifest

    def _with_cards(self, cards: Sequence[Any]) -> None:
        """Add the cards of bundles that the manifest lacks: reports show their warnings and figures."""
        manifest = self.manifest()
        there = [card for card in manifest.get("bundles") or () if isinstance(card, dict)]
        known = {card.get("bundle") for card in there}
        more = [card for card in cards if card.get("bundle") not in known]
        if more:
            whole = {**manifest, "bundles": [*there, *more]}
            _safely(lambda: write_json(self.folder / "manifest.json", whole, shared=True))

    def _made_present(self) -> None:
        """Make a run of an earlier schema one of this; nothing else of it changes."""
        if (self.folder / "manifest.json").exists() and self.manifest()["schema"] != SCHEMA:
            write_json(self.folder / "manifest.json", {**self.manifest(), "schema": SCHEMA}, shared=True)

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
        """Store one result under a key that is unique in the run; images and arrays first, then the line.

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
        own, images = without_images(arrays)
        content = packed(own)

        def put() -> None:
            self._made_present()
            files = {"array": name, "images": {of: self._images.put(one) for of, one in images.items()}}
            write_atomic(self.folder / "arrays" / name, content)
            line = {"key": key, **files, "stored": self._sizes_and_times(files, {}), **row}
            if there:  # in its line: a reader study counts lines
                write_atomic(path, replaced(path.read_bytes(), key, line))
            else:
                append(path, line)

        _safely(put)

    def take(self, other: Run, row: Mapping[str, Any]) -> None:
        """Store a result of another run, given by its row there; its arrays and images are linked, or copied
        where the file system has no links.

        raises  InputError for a key that is stored already, or arrays that are missing; ContrafactError if the
                disk cannot be written
        """
        key = str(row["key"])
        if self._log.holds(key):
            raise InputError(f"run '{self.folder.name}' holds '{key}' already")
        new = {**row, "array": self._name_for(key)}

        def put() -> None:
            self._made_present()
            for image in dict(image_files(row)).values():
                self._images.take_image(other._images, image)
            self._arrays.take(other._arrays, row["array"], new["array"])
            append(self.folder / "results.jsonl", {**new, "stored": self._sizes_and_times(new, {})})

        _safely(put)

    def restore(self, image: Image) -> None:
        """Store an image again whose file is missing or damaged; the results that name it can be read then."""
        stored = without_images({"image": image.values, "affine": image.grid.affine})[1]
        _safely(lambda: self._images.put(stored["image"]))

    def _name_for(self, key: str) -> str:
        """Return the name of a new file of arrays. It contains the key: two processes that write at once do not
        overwrite each other."""
        return f"{self._log.newlines():05d}-{hashlib.sha256(key.encode()).hexdigest()[:8]}.npz"

    def unreadable(self, keys: Collection[str]) -> set[str]:
        """Return those of the keys whose result cannot be read. Arrays are read to find out, unless their file
        has the size and time with which it was written."""
        found, seen = set[str](), dict[str, list[int]]()
        for row in map(_present, self._log.rows_of(keys) if keys else ()):
            if row_flaw(row) or not self._as_written(row, seen):
                try:
                    self.arrays(row)
                except InputError:
                    found.add(row["key"])
        return found

    def _as_written(self, row: Mapping[str, Any], seen: dict[str, list[int]]) -> bool:
        """Whether the files of a row have the sizes and times with which they were written; none is opened, and
        no image that is in `seen` is looked at again."""
        stored = row.get("stored")
        if stored is None or any("/" in name or os.sep in name for name in (row["array"], *_names(row))):
            return False
        try:
            return bool(stored == self._sizes_and_times(row, seen))
        except (OSError, ValueError):
            return False

    def _sizes_and_times(self, row: Mapping[str, Any], seen: dict[str, list[int]]) -> list[int]:
        """Return size and time of the file of arrays of a row, then those of each of its images."""
        found = self._arrays.size_and_time(row["array"])
        for name in _names(row):
            found += seen.get(name) or seen.setdefault(name, self._images.size_and_time(name))
        return found

    def add_methods(self, cards: Mapping[str, Mapping[str, str]]) -> None:
        """Store source and cost of methods, by name."""
        known = self.methods()
        if any(known.get(name) != card for name, card in cards.items()):
            _safely(lambda: write_json(self.folder / "methods.json", {**known, **plain_json(cards)}))

    def methods(self) -> dict[str, dict[str, str]]:
        """Return the cards stored by `add_methods`; empty in older runs."""
        path = self.folder / "methods.json"
        cards = read_json(path) if path.exists() else {}
        return {str(k): v for k, v in cards.items() if isinstance(v, dict)} if isinstance(cards, dict) else {}

    def add_failure(self, key: str, **about: Any) -> None:
        """Store why there is no result under this key."""
        _safely(lambda: append(self.folder / "failures.jsonl", {"key": key, **plain_json(about)}))

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
        _safely(lambda: append(self.folder / "scores.jsonl", {"key": key, **plain_json(about)}))

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
        arrays = self.array_file(row["array"], image_files(row))
        check_arrays(row, arrays)
        return arrays

    def array_file(self, array: str, images: Sequence[tuple[str, str]] = ()) -> dict[str, NDArray[Any]]:
        """Return the arrays in one file of the run, with its images, as names and files (`image_files`).

        raises  InputError that names the file which is damaged
        """
        arrays = self._arrays.read(array)
        for name, file in images:
            image = self._images.image(file)
            arrays |= {affine_of(name) if part == "affine" else name: one for part, one in image.items()}
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

    def flaw(self, row: Mapping[str, Any], seen: dict[str, list[int]] | None = None) -> str:
        """Return why a row cannot be read, as far as is seen without reading its arrays; else an empty text.

        seen    sizes and times of the images of rows before, which many rows share
        """
        found = row_flaw(row)
        if found:
            return f"this line of results.jsonl is unreadable: {found}"
        if self._as_written(row, {} if seen is None else seen):
            return ""
        found = self._arrays.flaw(row["array"])
        return found or next(filter(None, map(self._images.flaw, _names(row))), "")


def open_run(folder: str | Path) -> Run:
    """Open an existing run; raise InputError for any other folder."""
    run = Run(Path(folder))
    if not (run.folder / "manifest.json").exists():
        raise InputError(f"expected a run folder with manifest.json; got '{folder}'")
    run.manifest()
    return run


def _present(row: dict[str, Any]) -> dict[str, Any]:
    return present_names(row) if row.get("kind") == "strip" else row


def _names(row: Mapping[str, Any]) -> Iterable[str]:
    """Return the names of the files of a row's images."""
    images = row.get("images")
    return images.values() if images else ()


def _safely(write: Any) -> None:
    try:
        write()
    except OSError as error:
        raise ContrafactError(
            f"could not write the run ({error.strerror}); finished results are kept: "
            "free some space or choose another folder with --out, then run again"
        ) from error
