"""A medical image: values in the units of the file, on a grid."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from contrafact.core.display import html_of
from contrafact.core.errors import InputError
from contrafact.core.grid import Grid


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """Values (C, *S), float32, in the units of the file (HU, grey level, ...).

    grid     where the voxels lie; without one, 1 mm spacing
    window   (low, high) in the same units: what a viewer shows as black and white. For 8 and 16
             bit files the range of the type, for DICOM its window, else the least and greatest value
    source   origin of the image (a path, "synthetic", ...)
    about    metadata of the file: patient, modality, transfer syntax, planted factors, ...
    label_map  of a mask: its values are labels, even if only 0 and 1 occur. Without it, values of 0 and 1 (or 0
             and 255) are a binary mask of the target's class
    """

    values: NDArray[np.float32]
    grid: Grid = None  # type: ignore[assignment]  # set in __post_init__
    window: tuple[float, float] = ()  # type: ignore[assignment]  # set in __post_init__
    source: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    label_map: bool = False

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float32, order="C")
        grid = self.grid if self.grid is not None else _default_grid(values)
        if values.ndim != len(grid.shape) + 1 or values.shape[1:] != grid.shape:
            raise InputError(
                f"image values must be (C, {', '.join(map(str, grid.shape))}) for this grid; got {values.shape}"
            )
        broken = int(values.size - np.isfinite(values).sum())
        if broken:
            raise InputError(
                f"image must hold finite numbers; got {broken} NaN or infinite of {values.size}; "
                "replace them before explaining"
            )
        window = self.window or (float(values.min()), float(values.max()))
        if not window[0] <= window[1]:
            raise InputError(f"window must be (low, high) with low <= high; got {window}")
        put = object.__setattr__
        put(self, "values", values)
        put(self, "grid", grid)
        put(self, "window", (float(window[0]), float(window[1])))
        put(self, "about", MappingProxyType(dict(self.about)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Support `copy` and pickling for other processes."""
        return Image, (self.values, self.grid, self.window, self.source, dict(self.about), self.label_map)

    def _repr_html_(self) -> str | None:
        return html_of("image", self)

    @property
    def channels(self) -> int:
        """Number of channels C."""
        return self.values.shape[0]

    @property
    def digest(self) -> str:
        """Hash of the values; identifies the image in a record."""
        return digest(self.values)

    def rescaled(self, low: float, high: float) -> Image:
        """Return a copy with the window mapped to low..high; values outside the window are clipped."""
        a, b = self.window
        share = np.clip((self.values - a) / max(b - a, 1e-12), 0, 1)
        return dataclasses.replace(
            self,
            values=(low + share * (high - low)).astype(np.float32),
            window=(low, high),
            about={**self.about, "rescaled_from": [a, b]},
        )


def _default_grid(values: NDArray[np.float32]) -> Grid:
    if values.ndim not in (3, 4):
        raise InputError(f"image values must be (C, H, W) or (C, D, H, W); got {values.shape}")
    return Grid(values.shape[1:])


def digest(values: ArrayLike) -> str:
    """Return the first 16 hex digits of the SHA-256 of bytes, type and shape."""
    array = np.ascontiguousarray(values)
    head = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(head + array.tobytes()).hexdigest()[:16]
