"""Read image files: values in the units of the file, with spacing and orientation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from contrafact.core import Image, InputError, check_file, is_folder
from contrafact.core.reading import naming
from contrafact.io.array_files import read_array
from contrafact.io.dicom import is_dicom
from contrafact.io.dicom_file import read_dicom
from contrafact.io.dicom_series import read_series, series_in
from contrafact.io.itk import READERS, read_itk
from contrafact.io.nifti import read_nifti
from contrafact.io.pictures import read_picture
from contrafact.io.remote import fetched
from contrafact.io.tiff import read_tiff

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
ARRAYS = (".npy", ".npz")
NIFTI = (".nii", ".nii.gz")
DICOM = (".dcm", ".dicom", ".ima")
ITK = tuple(READERS)
SUFFIXES = (*PICTURES, *ARRAYS, *NIFTI, *DICOM, *ITK)
Read = TypeVar("Read")


def images_in(folder: Path) -> list[Path]:
    """Return the sorted paths of the images in a folder, or the folder itself if its DICOM files are a series.

    Other images beside a series are no images of their own (`read_series` names them in `about`). DICOM files
    that are each a series of its own are images.
    """
    series = series_in(folder)
    if any(len(slices) > 1 for slices in series.values()):
        return [folder]
    single = {path for slices in series.values() for path in slices}
    found = sorted(p for p in folder.iterdir() if p in single or p.name.lower().endswith(SUFFIXES))
    return found or [folder]


def read_image(path: str | Path, *, spacing_mm: Sequence[float] | None = None) -> Image:
    """Read one image or volume, as docs/formats.md says; what was changed is noted in `about`.

    path        PNG, JPEG, TIFF, BMP, NPY, NPZ, NIfTI, DICOM file, MetaImage and NRRD (with SimpleITK), or a
                folder that holds one DICOM series; or an address (s3://bucket/knee.png), whose file is fetched
                once (docs/formats.md)
    spacing_mm  for files without spacing (pictures and arrays); None: the spacing is unknown
    gives       values (C, H, W) or (C, D, H, W); colour is C = 3; transparency is dropped
    raises      InputError for a missing, empty, unreadable or truncated file, a pipe or device, a file that
                declares more values than `set_largest_image` allows, or one of another format than its name
                suggests; UnsupportedError for a file that needs a library that is not installed
    """
    given, path = Path(path), fetched(Path(path))
    if path != given:
        return replace(read_image(path, spacing_mm=spacing_mm), source=given.as_posix())
    if is_folder(path):
        with naming(path.name):
            return read_series(path)
    check_file(path, "an image file")
    if path.stat().st_size == 0:
        raise InputError(f"expected an image; got '{path.name}', which is empty")
    with naming(path.name):
        return _read(path, spacing_mm)


def _read(path: Path, spacing_mm: Sequence[float] | None) -> Image:
    name = path.name.lower()
    if name.endswith((".tif", ".tiff")):
        return read_tiff(path, spacing_mm)
    if name.endswith(PICTURES):
        return read_picture(path, spacing_mm)
    if name.endswith(ARRAYS):
        return read_array(path, spacing_mm)
    if name.endswith(NIFTI):
        return read_nifti(path)
    if name.endswith(ITK):
        return read_itk(path)
    if is_dicom(path):
        return read_dicom(path)
    raise InputError(f"an image file ends in {', '.join(SUFFIXES)}; got '{path.name}'")


def read_ahead(paths: Sequence[Path], read: Callable[[Path], Read]) -> Iterator[Read]:
    """Yield what `read` (such as `read_image`) returns for the files, in order. While the caller works on one,
    the next is read by a thread, and no further one."""
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as reader:
        coming: Future[Read] | None = None
        for number, path in enumerate(paths, 1):
            image = read(path) if coming is None else coming.result()
            coming = reader.submit(read, paths[number]) if number < len(paths) else None
            yield image
