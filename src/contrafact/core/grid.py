"""The geometry of an image: where its voxels lie in the patient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contrafact.core.errors import InputError


class Grid:
    """Shape, spacing and orientation of an array of voxels.

    shape      (H, W) or (D, H, W)
    affine     4 x 4, RAS+ in mm, as in NIfTI: column a is one step along array axis a, the last
               column is the centre of voxel 0. A 2D grid uses columns 0 and 1; column 2 is normal.
    spacing_mm used when there is no affine; without both, voxels count as 1 mm apart and
               `spacing_known` is False: no length may be reported in mm

    Two grids are equal when shapes are equal and affines agree to a thousandth of a millimetre:
    then, and only then, two arrays may be laid on each other.
    """

    __slots__ = ("_affine", "_known", "_shape")

    def __init__(
        self,
        shape: Sequence[int],
        *,
        affine: NDArray[np.float64] | Sequence[Sequence[float]] | None = None,
        spacing_mm: Sequence[float] | None = None,
    ) -> None:
        sizes = tuple(int(n) for n in shape)
        known = affine is not None or spacing_mm is not None
        if len(sizes) not in (2, 3) or min(sizes, default=0) < 1:
            raise InputError(f"grid shape must be (H, W) or (D, H, W), all at least 1; got {shape}")
        if affine is None:
            spacing = tuple(float(v) for v in (spacing_mm or (1.0,) * len(sizes)))
            if len(spacing) != len(sizes) or not all(0 < v < np.inf for v in spacing):
                raise InputError(f"spacing_mm must be {len(sizes)} positive numbers; got {spacing_mm}")
            affine = np.diag([*spacing, *(1.0,) * (4 - len(spacing))])
        matrix = np.array(affine, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise InputError(f"affine must be a finite 4 x 4 matrix; got shape {matrix.shape}")
        if abs(np.linalg.det(matrix[:3, :3])) < 1e-12:
            raise InputError("affine must be invertible; got a singular matrix")
        matrix.setflags(write=False)
        self._shape, self._affine, self._known = sizes, matrix, known

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W) or (D, H, W)."""
        return self._shape

    @property
    def affine(self) -> NDArray[np.float64]:
        """4 x 4, RAS+ in mm, read-only."""
        return self._affine

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Distance between neighbouring voxels along each array axis, in mm."""
        columns = self._affine[:3, : len(self._shape)]
        return tuple(float(v) for v in np.linalg.norm(columns, axis=0))

    @property
    def spacing_known(self) -> bool:
        """Whether the spacing was specified; if not, `spacing_mm` is a placeholder of 1."""
        return self._known

    def of_unknown_spacing(self) -> Grid:
        """Return the same grid, marked as of unknown spacing."""
        grid = Grid(self._shape, affine=self._affine)
        grid._known = False
        return grid

    def resized(self, shape: Sequence[int]) -> Grid:
        """Return a grid of the same field of view with another number of voxels."""
        if len(shape) != len(self._shape):
            raise InputError(f"expected {len(self._shape)} sizes; got {tuple(shape)}")
        factor = np.ones(3)
        factor[: len(shape)] = np.array(self._shape) / np.array(shape)
        matrix = self._affine.copy()
        matrix[:3, :3] = self._affine[:3, :3] * factor
        # Voxel 0 of both grids starts at the same outer edge.
        matrix[:3, 3] += self._affine[:3, :3] @ ((factor - 1) / 2)
        grid = Grid(shape, affine=matrix)
        return grid if self._known else grid.of_unknown_spacing()

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Grid)
            and self._shape == other._shape
            and bool(np.allclose(self._affine, other._affine, rtol=0, atol=1e-3))
        )

    __hash__ = None  # type: ignore[assignment]  # equality has a tolerance

    def __repr__(self) -> str:
        spacing = ", ".join(f"{v:.4g}" for v in self.spacing_mm) if self._known else "unknown"
        return f"Grid({self._shape}, spacing_mm=({spacing}))"
