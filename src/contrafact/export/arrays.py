"""Export arrays: NIfTI on the grid of the source image, NumPy archives."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Grid
from contrafact.io.images import NIFTI
from contrafact.io.weights import write_atomic


def write_nifti(path: Path, values: NDArray[Any], grid: Grid, *, source: str = "", about: str = "") -> None:
    """Write `nifti_bytes` to a file, compressed if its name ends in .gz."""
    content = nifti_bytes(values, grid, source=source, about=about)
    write_atomic(path, gzip.compress(content, 6, mtime=0) if path.name.endswith(".gz") else content)


def nifti_bytes(values: NDArray[Any], grid: Grid, *, source: str = "", about: str = "") -> bytes:
    """Return float32 values (*S), or (K, *S) as K volumes, as NIfTI with the affine of the grid.

    source  the file of the image; the header of a NIfTI source is kept (units, codes, time), without its free
            text and extensions, which may name the patient
    about   text for the description field, at most 79 characters
    """
    import nibabel

    flat = len(grid.shape) == 2
    axes = (1, 0) if flat else (2, 1, 0)
    many = values.ndim > len(grid.shape)
    array = np.asarray(values, dtype=np.float32)
    array = np.moveaxis(array, 0, -1) if many else array[..., None]
    array = array.transpose(*axes, array.ndim - 1)
    array = array[:, :, None, :] if flat else array
    array = array if many else array[..., 0]
    affine = grid.affine[:, [1, 0, 2, 3] if flat else [2, 1, 0, 3]]
    header = _header_of(source)
    image = nibabel.Nifti1Image(array, affine, header)
    image.header.set_data_dtype(np.float32)
    image.header.set_slope_inter(1.0, 0.0)
    image.header["cal_min"] = image.header["cal_max"] = (
        0.0  # these values belong to the source, not to the result
    )
    image.header["descrip"] = about.encode("ascii", "replace")[:79]
    if header is None:
        image.header.set_xyzt_units("mm" if grid.spacing_known else "unknown")
    return bytes(image.to_bytes())


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]], row: Mapping[str, Any]) -> None:
    """Write arrays with the row of the run as JSON under `about`; the file opens without pickles."""
    buffer = io.BytesIO()
    about = np.array(json.dumps(row, ensure_ascii=False))
    np.savez_compressed(buffer, about=about, **arrays)  # type: ignore[arg-type]
    write_atomic(path, buffer.getvalue())


def _header_of(source: str) -> Any:
    """Return the header of the source, if it is a NIfTI file that still exists."""
    import nibabel

    path = Path(source)
    if not source or not path.name.lower().endswith(NIFTI) or not path.is_file():
        return None
    loaded: Any = nibabel.load(path)
    if not isinstance(loaded, nibabel.Nifti1Image):
        return None
    header = loaded.header.copy()
    header.extensions.clear()  # may hold a whole DICOM header
    for name in ("db_name", "aux_file", "intent_name"):
        header[name] = b""
    return header
