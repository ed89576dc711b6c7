"""Read image files: values in the units of the file, with spacing and orientation."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Grid, Image, InputError
from contrafact.io.dicom import is_dicom, read_dicom, read_series

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
ARRAYS = (".npy", ".npz")
NIFTI = (".nii", ".nii.gz")
DICOM = (".dcm", ".dicom", ".ima")
SUFFIXES = (*PICTURES, *ARRAYS, *NIFTI, *DICOM)


def images_in(folder: Path) -> list[Path]:
    """Return the sorted paths of the images in a folder; a folder of DICOM files only is one series."""
    files = sorted(p for p in folder.iterdir() if p.name.lower().endswith(SUFFIXES))
    return files if any(not p.name.lower().endswith(DICOM) for p in files) else [folder]


def read_image(path: str | Path, *, spacing_mm: Sequence[float] | None = None) -> Image:
    """Read one image or volume.

    path        PNG, JPEG, TIFF, BMP (8 or 16 bit, float TIFF), NPY, NPZ, NIfTI, DICOM file, or a
                folder that holds one DICOM series
    spacing_mm  for files without spacing (pictures and arrays); None: the spacing is unknown
    gives       values (C, H, W) or (C, D, H, W); colour is C = 3; transparency is dropped
    raises      InputError for a missing, empty, unreadable or truncated file, or one of another format than
                its name suggests
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"expected an image file; got '{path}', which does not exist")
    if path.is_dir():
        return read_series(path)
    if path.stat().st_size == 0:
        raise InputError(f"expected an image; got '{path.name}', which is empty")
    name = path.name.lower()
    if name.endswith(PICTURES):
        return _read_picture(path, spacing_mm)
    if name.endswith(ARRAYS):
        return _read_array(path, spacing_mm)
    if name.endswith(NIFTI):
        return _read_nifti(path)
    if is_dicom(path):
        return read_dicom(path)
    raise InputError(f"an image file ends in {', '.join(SUFFIXES)}; got '{path.name}'")


def _read_picture(path: Path, spacing_mm: Sequence[float] | None) -> Image:
    from PIL import Image as Picture
    from PIL import ImageSequence

    try:
        with Picture.open(path) as picture:
            mode, frames = picture.mode, getattr(picture, "n_frames", 1)
            if mode in ("P", "CMYK"):
                pages = [np.array(picture.convert("RGB"))]
            else:
                pages = [np.array(page) for page in ImageSequence.Iterator(picture)]
    except (OSError, SyntaxError, ValueError, Picture.DecompressionBombError) as error:
        raise InputError(f"'{path.name}' is not a readable picture ({str(error).splitlines()[0]})") from error
    if len({page.shape for page in pages}) > 1:
        raise InputError(f"'{path.name}' holds pages of different sizes (a pyramid?); give one page")
    array = pages[0] if frames == 1 else np.stack(pages)
    channels_last = array.ndim == (3 if frames == 1 else 4)
    if channels_last:
        array = np.moveaxis(array, -1, 0)
        array = array[:1] if len(array) == 2 else array[:3]  # transparency is not anatomy
        if all(np.array_equal(array[0], channel) for channel in array[1:]):
            array = array[:1]  # a grey picture stored as colour; `about["mode"]` records this
    else:
        array = array[None]
    about = {"format": path.suffix.lstrip(".").lower(), "mode": mode}
    return _image(array, path, spacing_mm, about)


def _read_array(path: Path, spacing_mm: Sequence[float] | None) -> Image:
    try:
        about: dict[str, Any] = {"format": path.suffix.lstrip(".")}
        loaded = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            names = [n for n in loaded.files if getattr(loaded[n], "ndim", 0) >= 2]  # other members are bytes
            if len(names) != 1 and "image" not in names:
                raise InputError(
                    f"expected one array (or one named 'image') in '{path.name}'; got {loaded.files}"
                )
            about["array"] = "image" if "image" in names else names[0]
            loaded = loaded[about["array"]]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"'{path.name}' is not a readable array: {error}") from error
    if loaded.ndim not in (2, 3, 4) or loaded.dtype.kind not in "buif":
        raise InputError(
            f"array must be (H, W), (C, H, W) with up to 4 channels, (D, H, W) or (C, D, H, W) "
            f"numbers; got {loaded.dtype} {loaded.shape}"
        )
    with_channels = loaded.ndim == 4 or (loaded.ndim == 3 and loaded.shape[0] <= 4)
    return _image(loaded if with_channels else loaded[None], path, spacing_mm, about)


def _read_nifti(path: Path) -> Image:
    import nibabel

    try:
        file: Any = nibabel.load(path)
        values = np.asarray(file.get_fdata(dtype=np.float32))
    except (
        nibabel.filebasedimages.ImageFileError,
        OSError,
        EOFError,
        ValueError,
        TypeError,
        zlib.error,
    ) as error:
        raise InputError(f"'{path.name}' is not a readable NIfTI file: {error}") from error
    values = values[..., 0] if values.ndim == 4 and values.shape[3] == 1 else values
    if values.ndim not in (3, 4):
        raise InputError(f"expected a volume in '{path.name}'; got shape {values.shape}")
    # Array axes are (k, j, i): slices first, as in every `Image`.
    affine = file.affine[:, [2, 1, 0, 3]]
    array = np.transpose(values[None] if values.ndim == 3 else np.moveaxis(values, 3, 0), (0, 3, 2, 1))
    grid = Grid(array.shape[1:], affine=affine)
    unit = file.header.get_xyzt_units()[0]
    about = {"format": "nifti", "unit": unit, "dtype": str(file.get_data_dtype())}
    return Image(np.ascontiguousarray(array), grid, source=str(path), about=about)


def _image(array: NDArray[Any], path: Path, spacing_mm: Sequence[float] | None, about: dict[str, Any]) -> Image:
    window: Any = None
    if array.dtype.kind in "ub":
        window = (0.0, float(np.iinfo(array.dtype).max) if array.dtype.kind == "u" else 1.0)
    about |= {"dtype": str(array.dtype)}
    grid = Grid(array.shape[1:], spacing_mm=spacing_mm)
    return Image(array.astype(np.float32), grid, window, source=str(path), about=about)
