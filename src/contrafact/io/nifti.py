"""Read NIfTI: values with their scaling, on a grid in mm."""

from __future__ import annotations

import gzip
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Grid, Image, InputError
from contrafact.core.limits import check_size
from contrafact.core.reading import reading

CHANNELS = 4  # of the fourth axis, where the header says that it is time
EXTENSIONS = 2**24  # bytes before the voxels, at most
MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001}


def read_nifti(path: Path) -> Image:
    """Read a volume (C, D, H, W); the fourth axis of the file holds channels."""
    with reading(path, "a readable NIfTI file"):
        file = _file(path)
        values = _values(file, path)
        header = file.header
        unit, time = header.get_xyzt_units()
    if values.ndim not in (3, 4):
        raise InputError(f"expected a volume in '{path.name}'; got shape {values.shape}")
    if values.ndim == 4 and values.shape[3] > CHANNELS and time in ("sec", "msec", "usec"):
        raise InputError(f"'{path.name}' is a series of {values.shape[3]} volumes in time; give one volume")
    # Array axes are (k, j, i): slices first, as in every `Image`.
    affine = np.diag([*[MM.get(unit, 1.0)] * 3, 1.0]) @ file.affine[:, [2, 1, 0, 3]]
    array = np.transpose(values[None] if values.ndim == 3 else np.moveaxis(values, 3, 0), (0, 3, 2, 1))
    grid = Grid(array.shape[1:], affine=affine)
    placed = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    about = {"format": "nifti", "unit": unit, "dtype": str(file.get_data_dtype())}
    if not placed:
        about["orientation"] = "unknown"
        grid = grid if unit in MM else grid.of_unknown_spacing()
    return Image(np.ascontiguousarray(array), grid, source=str(path), about=about)


def _file(path: Path) -> Any:
    """Return nibabel's file, of which a compressed one is unpacked no further than its header declares."""
    import nibabel

    if not path.name.lower().endswith(".gz"):
        file: Any = nibabel.load(path)
        check_size(path, file.shape)
        return file
    with gzip.open(path) as stream:
        head = stream.read(544)
        second = int.from_bytes(head[:4], "little") == 540 or int.from_bytes(head[:4], "big") == 540
        kind: Any = nibabel.Nifti2Image if second else nibabel.Nifti1Image
        header = kind.header_class.from_fileobj(io.BytesIO(head[: 540 if second else 348] + bytes(4)))
        check_size(path, header.get_data_shape())
        size = math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize
        return kind.from_bytes(head + stream.read(size + EXTENSIONS))


def _values(file: Any, path: Path) -> NDArray[np.float32]:
    kind = file.get_data_dtype()
    if kind.names is not None and len(kind.names) >= 3:  # RGB: a record for each voxel
        raw = np.asarray(file.dataobj)
        return np.stack([raw[name] for name in kind.names[:3]], axis=3).reshape(*raw.shape[:3], 3).astype("f4")
    if kind.kind == "c":
        raise InputError(f"'{path.name}' holds complex numbers; give the magnitude, say")
    with np.errstate(over="ignore"):
        values = np.asarray(file.get_fdata(dtype=np.float32, caching="unchanged"))
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    return values
