"""Volumes as in time-of-flight angiography, with planted vessels: trees of bright tubes in a darker brain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SIZE = (64, 256, 256)  # slices, rows, columns
SPACING_MM = (0.6, 0.4, 0.4)
BRAIN = (1.6, 0.92, 0.85)  # half axes of the brain, as shares of half a side
TREES = 14
RADII = (1.0, 4.0)  # voxels: of the thinnest branch, of the trunk
SIGMA = 9.0  # of the noise in each of the two channels, in grey levels
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class VesselVolume:
    """A volume (D, H, W) in grey levels, about 0 to 300, and where its vessels are."""

    values: Floats
    mask: NDArray[np.bool_]


def vessel_volume(rng: np.random.Generator, size: tuple[int, int, int] = SIZE) -> VesselVolume:
    """Return a brain of uneven tissue with branching vessels and Rician noise.

    Vessels are 1 to 4 voxels in radius and thinner after each branching (Murray's law); the thinnest are the
    darkest, as slow flow is, and their edges have partial volume.
    """
    share = np.zeros(size, np.float32)
    bright = np.zeros(size, np.float32)
    for _ in range(max(1, round(TREES * np.prod(size) / np.prod(SIZE)))):
        _plant(rng, share, bright)
    values = _tissue(rng, size)
    values = values * (1 - share) + bright * share
    real, imaginary = rng.normal(0, SIGMA, (2, *size))
    return VesselVolume(np.hypot(values + real, imaginary).astype(np.float32), share >= 0.5)


def _tissue(rng: np.random.Generator, size: tuple[int, int, int]) -> Floats:
    """Return an ellipsoid of tissue in air, of two kinds, under an uneven coil."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in size], indexing="ij")
    inside = _inside(axes)
    kinds = ndimage.gaussian_filter(rng.normal(size=size), (2, 5, 5))
    slow = ndimage.gaussian_filter(rng.normal(size=[max(2, n // 8) for n in size]), 2)
    coil = ndimage.zoom(slow, [n / m for n, m in zip(size, slow.shape, strict=True)], order=1)
    tissue = 85 + 14 * np.tanh(3 * kinds / kinds.std())
    return np.asarray(np.where(inside, tissue, 4) * (1 + 0.15 * coil / np.abs(coil).max()), np.float32)


def _inside(place: Any) -> Any:
    """Whether places, -1 to 1 along each axis, lie in the brain."""
    return sum((axis / limit) ** 2 for axis, limit in zip(place, BRAIN, strict=True)) < 1


def _plant(rng: np.random.Generator, share: Floats, bright: Floats) -> None:
    """Grow one tree: branches grow in steps of one voxel, and turn slowly."""
    size = np.array(share.shape)
    start = rng.uniform(0.2, 0.8, 3) * size
    ends = [(start, rng.normal(size=3) * (0.5, 1, 1), RADII[1] * rng.uniform(0.6, 1))]
    while ends:
        point, direction, radius = ends.pop()
        for _ in range(int(rng.uniform(8, 22) * (1 + radius))):
            direction = direction / np.linalg.norm(direction) + rng.normal(0, 0.18, 3) * (0.6, 1, 1)
            point = point + direction / np.linalg.norm(direction)
            if np.any(point < 2) or np.any(point > size - 3) or not _inside(2 * point / size - 1):
                break
            _ball(share, bright, point, radius)
        else:
            for turn in rng.normal(0, 0.7, (2, 3)):
                thinner = radius * 2 ** (-1 / 3) * rng.uniform(0.85, 1)
                if thinner >= RADII[0]:
                    ends.append((point, direction / np.linalg.norm(direction) + turn, thinner))


def _ball(share: Floats, bright: Floats, point: NDArray[np.float64], radius: float) -> None:
    """Add a ball with an edge of one voxel's partial volume."""
    reach = int(np.ceil(radius)) + 1
    low = np.maximum(np.floor(point).astype(int) - reach, 0)
    box = tuple(slice(a, min(a + 2 * reach + 2, n)) for a, n in zip(low, share.shape, strict=True))
    grids = np.ogrid[box]
    distance = np.sqrt(sum((grid - at) ** 2 for grid, at in zip(grids, point, strict=True)))
    covered = np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32)
    share[box] = np.maximum(share[box], covered)
    bright[box] = np.maximum(bright[box], np.where(covered > 0, np.float32(140 + 28 * radius), 0))
