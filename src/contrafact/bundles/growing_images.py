"""Training images as they are read: in memory, and beyond a limit in a file without a name."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

LIMIT = 1 << 28  # bytes that are kept in memory


class GrowingImages:
    """Images of one shape, one after another: bytes while all are 8-bit, else float32 in [-1, 1].

    folder  where they lie beyond `LIMIT` bytes; the file is gone when the process ends. None: in memory
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder, self.count, self.eight_bit = folder, 0, True
        self._shape: tuple[int, ...] = ()
        self._parts: list[Tensor] = []
        self._file: IO[bytes] | None = None

    def add(self, image: Tensor, *, eight_bit: bool) -> None:
        """Add an image (1, C, *S) with values from 0 to 1."""
        if self.eight_bit and not eight_bit:
            self._to_floats()
        self._put((image * 255).round().byte() if self.eight_bit else image * 2 - 1)
        self.count += 1

    def whole(self) -> Tensor:
        """Return all images (N, C, *S), after the last was added; of a file the system reads the pages that are
        used."""
        if self._file is None:
            return torch.cat(self._parts)
        kind: Any = np.uint8 if self.eight_bit else np.float32
        with self._file as file:
            file.flush()
            return torch.from_numpy(np.memmap(file, kind, mode="c", shape=(self.count, *self._shape)))

    def _put(self, image: Tensor) -> None:
        self._shape = tuple(image.shape[1:])
        if self._file is not None:
            self._file.write(image.contiguous().numpy().tobytes())
            return
        self._parts.append(image)
        if self.folder is not None and len(self._parts) * image.nbytes > LIMIT:
            self._file, parts, self._parts = self._opened(), self._parts, []
            for part in parts:
                self._put(part)

    def _opened(self) -> IO[bytes]:
        assert self.folder is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=self.folder)

    def _to_floats(self) -> None:
        """Make the images so far what those that follow are."""
        self.eight_bit, before, parts = False, self._file, self._parts
        self._parts = []
        for part in parts:
            self._put(part.float() / 255 * 2 - 1)
        if before is not None:
            before.seek(0)
            self._file = self._opened()
            size = int(np.prod(self._shape))
            while content := before.read(size):
                part = torch.frombuffer(bytearray(content), dtype=torch.uint8).reshape(1, *self._shape)
                self._put(part.float() / 255 * 2 - 1)
            before.close()
