"""Changed windows of a map, for many boxes at once."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Corners = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A changed window of a map for each of N boxes; elsewhere the map is unchanged.

    values  (N, C, *P); start: first voxel of each window (N, axes); kept: the original map (1, C, *S)
    """

    values: Tensor
    start: Corners
    kept: Tensor

    def window(self, start: Corners, size: tuple[int, ...], outside: float = 0.0) -> Tensor:
        """Return another window (N, C, *size) that contains the box; `outside` beyond the map."""
        if self.values.shape[2:] == size and np.array_equal(start, self.start):
            return self.values
        rows = self.before(start, size, outside).movedim(1, -1).flatten(0, -2)
        device, patch = rows.device, self.values.movedim(1, -1).flatten(0, -2)
        offset, axes = self.start - start, range(len(size))
        indices = _indices(offset, self.values.shape[2:], device)
        count = torch.arange(len(start), device=device).reshape(-1, *(1,) * len(size))
        to = (_flat(indices, size) + count * math.prod(size)).flatten()
        if (offset < 0).any() or (offset + self.values.shape[2:] > size).any():
            inside = [(indices[i] >= 0) & (indices[i] < size[i]) for i in axes]
            kept = _every(inside, operator.and_).flatten()
            to, patch = to[kept], patch[kept]
        rows.index_copy_(0, to, patch)
        return rows.unflatten(0, (len(start), *size)).movedim(-1, 1)

    def before(self, start: Corners, size: tuple[int, ...], outside: float = 0.0) -> Tensor:
        """Return a window (N, C, *size) of the kept map, gathered by rows of channels (faster than values)."""
        rows, full = self.kept.movedim(1, -1).flatten(0, -2), self.kept.shape[2:]
        indices, axes = _indices(start, size, rows.device), range(len(size))
        leaves = bool((start < 0).any() or (start + size > full).any())
        near = [indices[i].clamp(0, full[i] - 1) for i in axes] if leaves else indices
        values = rows.index_select(0, _flat(near, full).flatten())
        if leaves:
            beyond = _every([indices[i] != near[i] for i in axes], operator.or_)
            values[beyond.flatten()] = outside
        return values.unflatten(0, (len(start), *size)).movedim(-1, 1)

    def whole(self) -> Tensor:
        """Return full copies of the map (N, C, *S), in the fastest memory order for convolutions."""
        full = self.window(np.zeros_like(self.start), tuple(self.kept.shape[2:]))
        return full if full.ndim == 4 and full.device.type == "cpu" else full.contiguous()


def _indices(start: Corners, size: tuple[int, ...], device: torch.device) -> list[Tensor]:
    """Return the voxel indices (N, size) of windows along each axis."""
    first = torch.from_numpy(start).to(device)
    return [first[:, i, None] + torch.arange(n, device=device) for i, n in enumerate(size)]


def _every(parts: list[Tensor], join: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Combine one tensor per axis (N, P_i) to a tensor over all voxels (N, *P)."""
    total = parts[0]
    for i, part in enumerate(parts[1:], start=1):
        total = join(total[..., None], part.reshape(len(part), *(1,) * i, -1))
    return total


def _flat(indices: list[Tensor], full: tuple[int, ...]) -> Tensor:
    """Return flat indices (N, *P) into a map of size `full`."""
    sizes = [math.prod(full[i + 1 :]) for i in range(len(full))]
    return _every([part * n for part, n in zip(indices, sizes, strict=True)], operator.add)


def union(patches: list[Patch]) -> tuple[Corners, tuple[int, ...]]:
    """Return start and size of the smallest windows, of one size, that contain those of all patches."""
    low = np.min([patch.start for patch in patches], axis=0)
    high = np.max([patch.start + patch.values.shape[2:] for patch in patches], axis=0)
    size = (high - low).max(axis=0)
    return np.minimum(low, np.asarray(patches[0].kept.shape[2:]) - size), tuple(size.tolist())


def large(size: tuple[int, ...], kept: Tensor) -> bool:
    """Whether a window is more than half of a map."""
    return 2 * math.prod(size) > math.prod(kept.shape[2:])
