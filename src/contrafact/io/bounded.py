"""A file that is never asked for more bytes than it holds, whatever lengths it declares."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any


class BoundedFile(io.BufferedReader):
    """A file opened to read; Python keeps memory for all bytes that are asked for before it reads the first."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._bytes = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes: `size`, or all that there are."""
        if size is None or size < 0:
            return super().read()
        return super().read(min(size, max(0, self._bytes - self.tell())))


def read_dataset(path: Path, *, headers_only: bool = False) -> Any:
    """Return the data set of a DICOM file; errors are those of pydicom."""
    import pydicom

    with BoundedFile(path) as file:
        return pydicom.dcmread(file, stop_before_pixels=headers_only)
