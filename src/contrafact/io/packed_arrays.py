"""Write arrays of results as NPZ, compressed where it pays."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return arrays as an NPZ. Those of whole numbers are compressed (images of most files, to a quarter); of
    other numbers compression takes a tenth of the size and a hundred times the time of writing them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compresslevel=1) as archive:
        for name, values in arrays.items():
            archive.compression = zipfile.ZIP_DEFLATED if _whole(values) else zipfile.ZIP_STORED
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(values), allow_pickle=False)
    return buffer.getvalue()


def _whole(values: NDArray[Any]) -> bool:
    return values.dtype.kind != "f" or bool((values == np.rint(values)).all())
