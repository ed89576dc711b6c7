"""The images of `explain`, one after another: one that fails is named in a line, and the rest go on."""

from __future__ import annotations

import itertools
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contrafact.core import Image, InputError, UnsupportedError, check_file, is_folder
from contrafact.io import images_in, read_ahead, read_image
from contrafact.io.dicom_series import series_in
from contrafact.io.remote import fetched, is_address

FEW = 4  # folders that an error names
# Faults of one image. A run that cannot be written is a plain ContrafactError, and ends the work.
OF_THE_FILE = (InputError, UnsupportedError, RuntimeError, MemoryError, OSError)
OF_THE_WORK = (InputError, UnsupportedError, RuntimeError, MemoryError)


@dataclass(slots=True)
class Outcomes:
    """Keys of the results in the run of each image that was explained, and the errors of those that failed,
    each with its file, in order. A file that is given twice is there twice."""

    keys: list[tuple[Path, list[str]]] = field(default_factory=list)
    errors: list[tuple[Path, Exception]] = field(default_factory=list)


def image_paths(given: Sequence[Path]) -> list[Path]:
    """Return the images to explain: each file, also of an address, each folder that holds a DICOM series, and
    every image of any other folder. Raise InputError for a missing file and for a folder without an image."""
    found: list[Path] = []
    for path in given:
        if not is_folder(path) and is_address(path.as_posix()):
            fetched(path)
        elif not is_folder(path):
            check_file(path, "an image file")
        inside = images_in(path) if is_folder(path) else [path]
        if inside == [path] and is_folder(path) and not series_in(path):
            raise InputError(f"expected images (docs/formats.md) in '{path}'; got {_instead(path)}")
        found += inside
    return found


def _instead(folder: Path) -> str:
    """Return what a folder without an image holds, and what to give."""
    within = sorted(path for path in folder.iterdir() if path.is_dir() and images_in(path) != [path])
    if not within:
        return "none"
    names = ", ".join(path.name for path in within[:FEW]) + (", ..." if len(within) > FEW else "")
    return (
        f"folders of images ({names}): give these, such as {shlex.quote(str(folder))}/*, and --cohort "
        f"{shlex.quote(str(folder))} to store the names of the folders as labels"
    )


def explain_each(
    paths: Sequence[Path],
    explained: Callable[[int, Image], list[str]],
    *,
    images: Iterable[Image | Exception],
    move: Callable[..., None],
) -> Outcomes:
    """Explain every image, and return what became of each.

    explained  explains the image of that number, and returns the keys of its results
    images     as `read_each` gives them
    move       is called with the number of finished images
    """
    outcomes = Outcomes()
    for number, (path, image) in enumerate(zip(paths, images, strict=True)):
        error = image if isinstance(image, Exception) else None
        if not isinstance(image, Exception):
            try:
                outcomes.keys.append((path, explained(number, image)))
            except OF_THE_WORK as fault:
                error = fault
        if error is not None:
            outcomes.errors.append((path, error))
            if len(paths) > 1:  # of a single image, the command ends with it
                print(f"contrafact: {fault_line(path, error)}", file=sys.stderr, flush=True)
        move(number + 1)
    return outcomes


def fault_line(path: Path, error: Exception) -> str:
    """Return an error as one line that names the file."""
    line = " ".join(str(error).split()) or type(error).__name__
    return line if path.name in line else f"{path.name}: {line}"


def read_each(paths: Sequence[Path], bundle: Any = None) -> tuple[bool, Iterator[Image | Exception]]:
    """Return whether any image can be read, and each image, or why it cannot be read. The next one is read
    while the caller works on one.

    bundle  rescale each display window to the range of this bundle
    """

    def read(path: Path) -> Image | Exception:
        try:
            image = read_image(path)
            return image.rescaled(*bundle.window) if bundle else image
        except OF_THE_FILE as error:
            return error

    images = read_ahead(paths, read)
    begun: list[Image | Exception] = []
    for image in images:
        begun.append(image)
        if isinstance(image, Image):
            return True, itertools.chain(begun, images)
    return False, iter(begun)
