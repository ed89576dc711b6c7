"""The files of arrays of a run: those of its results, and its images, each once under its digest."""

from __future__ import annotations

import os
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import InputError, check_file, fingerprint
from contrafact.core.limits import stored_arrays
from contrafact.io.packed_arrays import packed
from contrafact.io.weights import linked_or_copied, write_atomic

Arrays = dict[str, NDArray[Any]]
KNOWN = 256  # files that a store remembers as whole
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
class ArrayFolder:
    """A folder of a run with files of arrays. Its errors name the file, as `arrays/NAME`."""

    folder: Path

    def path(self, name: str) -> Path:
        """Return the path of a file by its name; raise InputError for a name that leads elsewhere."""
        if "/" in name or os.sep in name or not name.endswith(".npz"):  # a run of unknown origin
            raise InputError(f"expected the name of an .npz file in '{self.folder.name}'; got '{name}'")
        return self.folder / name

    def read(self, name: str) -> Arrays:
        """Return the arrays in a file; raise InputError that names it where it is damaged."""
        path, shown = self.path(name), f"'{self.folder.name}/{name}' of the run"
        try:
            check_file(path, "arrays")
            with stored_arrays(path) as file:
                arrays = dict(file.items())
            if not all(isinstance(array, np.ndarray) for array in arrays.values()):
                raise InputError("it holds members that are no arrays")
            return arrays
        except InputError as error:
            raise InputError(f"{shown} is unreadable: {error}") from error
        except DAMAGED as error:
            raise InputError(f"{shown} is unreadable ({type(error).__name__})") from error

    def size_and_time(self, name: str) -> list[int]:
        """Return the size and the time of a file, which is not opened."""
        about = os.stat(f"{self.folder}/{name}")
        return [about.st_size, about.st_mtime_ns]

    def flaw(self, name: str) -> str:
        """Return why a file cannot be read, as far as is seen without reading it whole; else an empty text."""
        try:
            path = self.path(name)
            whole = path.is_file() and zipfile.is_zipfile(path)  # not a pipe, which would block
        except InputError as error:
            return str(error)
        return "" if whole else f"'{self.folder.name}/{name}' of the run is missing or damaged"

    def take(self, other: ArrayFolder, name: str, new: str) -> None:
        """Put a file of another run here under a new name, as a link where the file system has links."""
        source = other.path(name)
        check_file(source, "arrays")
        self.folder.mkdir(exist_ok=True)
        linked_or_copied(source, self.folder / new)


@dataclass(frozen=True, slots=True)
class ImageStore(ArrayFolder):
    """Images of a run, each in a file with the arrays `values` and, where it is known, `affine`."""

    _known: dict[str, list[int]] = field(default_factory=dict, compare=False, repr=False)

    def put(self, image: Arrays) -> str:
        """Store an image that is not there yet, or not whole, and return the name of its file."""
        name = _name_of(image)
        if not self._is_known(name):
            if not self._holds(name, image):
                write_atomic(self.folder / name, packed(image), shared=True)
            self._remember(name)
        return name

    def take_image(self, other: ImageStore, name: str) -> None:
        """Store an image of another run under its own name, unless it is there."""
        if self._is_known(name):
            return
        try:
            own = name == _name_of(self.image(name))
        except InputError:  # missing, or damaged
            own = False
        if not own:
            self.take(other, name, name)
        self._remember(name)

    def image(self, name: str) -> Arrays:
        """Return the arrays of an image; raise InputError that names its file where it is damaged."""
        arrays = self.read(name)
        flaw = _image_flaw(arrays)
        if flaw:
            raise InputError(f"'{self.folder.name}/{name}' of the run is unreadable: {flaw}")
        return arrays

    def _holds(self, name: str, image: Arrays) -> bool:
        if not self.path(name).exists():
            return False
        try:
            there = self.image(name)
        except InputError:
            return False
        return there.keys() == image.keys() and all(np.array_equal(there[k], v) for k, v in image.items())

    def _is_known(self, name: str) -> bool:
        """Whether this object has seen that a file is whole, and the file is the same."""
        try:
            return name in self._known and self._known[name] == self.size_and_time(name)
        except OSError:
            return False

    def _remember(self, name: str) -> None:
        if len(self._known) >= KNOWN:
            self._known.clear()
        self._known[name] = self.size_and_time(name)


def _name_of(image: Arrays) -> str:
    return f"{fingerprint(image)}.npz"


def _image_flaw(arrays: Mapping[str, NDArray[Any]]) -> str:
    if "values" not in arrays:
        return "the array 'values' is missing"
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub" or not array.size:
            return f"the array '{name}' holds no numbers"
    if arrays["values"].ndim not in (3, 4):
        return "it is no image"
    affine = arrays.get("affine")
    return "" if affine is None or affine.shape == (4, 4) else "the array 'affine' is no 4 × 4 matrix"
