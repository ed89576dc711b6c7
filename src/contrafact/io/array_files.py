"""Read NPY and NPZ; shape and type are checked before any values are read."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Image, InputError
from contrafact.core.limits import MEMBERS, READING_ARRAYS, check_packing, check_size
from contrafact.core.reading import reading
from contrafact.io.pictures import picture_image

CHANNELS = 4  # at most; a longer axis is spatial


def read_array(path: Path, spacing_mm: Sequence[float] | None) -> Image:
    """Read an array (H, W), (C, H, W), (H, W, C), (D, H, W), (C, D, H, W) or (D, H, W, C) with C up to 4."""
    about: dict[str, Any] = {"format": path.suffix.lower().lstrip(".")}
    with reading(path, "a readable array"), READING_ARRAYS:
        if path.suffix.lower() == ".npz":
            array, about["array"] = _from_archive(path)
        else:
            with path.open("rb") as file:
                array = _checked(path, file)
    return picture_image(_channels_first(array, path, about), path, spacing_mm, about)


def _from_archive(path: Path) -> tuple[NDArray[Any], str]:
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
        check_packing(entries)
        if len(entries) > MEMBERS:
            raise InputError(f"'{path.name}' holds {len(entries):,} arrays; expected at most {MEMBERS:,}")
        shapes = {entry.filename[:-4]: _shape(archive, entry) for entry in entries}
        names = [name for name, shape in shapes.items() if len(shape) >= 2]  # other members are no images
        if len(names) != 1 and "image" not in names:
            raise InputError(f"expected one array (or one named 'image') in '{path.name}'; got {list(shapes)}")
        name = "image" if "image" in names else names[0]
        with archive.open(name + ".npy") as file:
            _check_header(path, file)
        with archive.open(name + ".npy") as file:
            return np.lib.format.read_array(file, allow_pickle=False), name


def _shape(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[int, ...]:
    with archive.open(entry) as file:
        return _header(file)[0]


def _checked(path: Path, file: IO[bytes]) -> NDArray[Any]:
    _check_header(path, file)
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _check_header(path: Path, file: IO[bytes]) -> None:
    shape, dtype = _header(file)
    if len(shape) not in (2, 3, 4) or dtype.kind not in "buif":
        raise InputError(
            "array must be (H, W), (C, H, W) with up to 4 channels, (D, H, W) or (C, D, H, W) real numbers; "
            f"'{path.name}' holds {dtype!s:.60} {shape}"
        )
    check_size(path, shape)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def _channels_first(array: NDArray[Any], path: Path, about: dict[str, Any]) -> NDArray[Any]:
    """Return the array as (C, *S). Short last axes are channels where the first axis is long."""
    if array.ndim == 2:
        return array[None]
    first, last = array.shape[0] <= CHANNELS, array.shape[-1] <= CHANNELS
    if last and not first:
        about["axes"] = "channels last"
        return np.moveaxis(array, -1, 0)
    if array.ndim == 3 and not first:
        return array[None]
    if not first:
        raise InputError(
            f"an array with four axes is (C, D, H, W) with up to {CHANNELS} channels; '{path.name}' holds "
            f"{array.shape}: give each image of a batch a file"
        )
    return array
