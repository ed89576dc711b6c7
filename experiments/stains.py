"""The stains of histology tiles and the air in them, so that neither says which class a crop is of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Stain = tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]


def alike(labels: NDArray[np.int64], share: NDArray[np.float64], rng: np.random.Generator) -> list[int]:
    """Rows of which each class has as many in every tenth of `share`, drawn at random, in their order."""
    tenth, kept = np.minimum(share * 10, 9).astype(int), list[int]()
    for k in range(10):
        here = [np.flatnonzero((labels == label) & (tenth == k)) for label in (0, 1)]
        for rows in here:
            kept += rng.permutation(rows)[: min(map(len, here))].tolist()
    return sorted(kept)


def stain_of(tile: NDArray[np.uint8]) -> Stain:
    """The optical density (3,) of a tile's background, and the mean (3,) of its tissue above that."""
    density = -np.log((tile.reshape(-1, 3).astype(np.float64) + 1) / 256)
    background = np.percentile(density, 1, axis=0)
    above = density - background
    tissue = above[above.mean(axis=1) > 0.1]
    return background, (tissue if len(tissue) else above).mean(axis=0).clip(0.02)


def air_of(crop: NDArray[np.uint8], stain: Stain) -> float:
    """The share of a crop's pixels that are hardly denser than the background of its tile."""
    density = -np.log((crop.astype(np.float64) + 1) / 256)
    return float(((density - stain[0]).mean(axis=2) < 0.1).mean())


def with_stain(crop: NDArray[np.uint8], own: Stain, other: Stain) -> NDArray[np.uint8]:
    """A crop of a tile with the background and the strength of each colour of another tile."""
    density = -np.log((crop.astype(np.float64) + 1) / 256)
    density = (density - own[0]) * np.clip(other[1] / own[1], 0.3, 3.0) + other[0]
    return np.round(256 * np.exp(-density) - 1).clip(0, 255).astype(np.uint8)
