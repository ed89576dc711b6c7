"""Maps that look at no model: what a method must be better than. None is registered as an explanation.

Beside the methods of a study they are judged like any of them: a random map, an edge detector, a blob in the
middle, and where it is known, the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from contrafact.core import Question

Maps = NDArray[np.float32]
PREFIX = "reference: "


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomReference:
    """Normal noise, voxel by voxel: (N, *S)."""

    def __call__(self, question: Question, rng: np.random.Generator) -> Maps:
        images = question.images
        return rng.normal(size=(len(images), *images.shape[2:])).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeReference:
    """How steep the image is, channels averaged: (N, *S).

    sigma  of the Gaussian before, voxels
    """

    sigma: float = 1.0

    def __call__(self, question: Question, rng: np.random.Generator) -> Maps:
        means = question.images.mean(axis=1).astype(np.float64)
        return np.stack([ndimage.gaussian_gradient_magnitude(m, self.sigma) for m in means]).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class CentreReference:
    """A Gaussian in the middle of the image: (N, *S).

    width  its standard deviation, as a share of each side
    """

    width: float = 0.2

    def __call__(self, question: Question, rng: np.random.Generator) -> Maps:
        size = question.images.shape[2:]
        away = [(np.arange(n) - (n - 1) / 2) / (self.width * n) for n in size]
        blob = np.exp(-sum(part**2 for part in np.meshgrid(*away, indexing="ij")) / 2)
        return np.broadcast_to(blob, (len(question.images), *size)).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TruthReference:
    """The mask of where the cause lies, as a map: (N, *S), 1 inside.

    mask  bool (*S)
    """

    mask: NDArray[np.bool_]

    def __call__(self, question: Question, rng: np.random.Generator) -> Maps:
        return np.broadcast_to(self.mask, (len(question.images), *self.mask.shape)).astype(np.float32)


def references(mask: NDArray[np.bool_] | None = None) -> dict[str, Any]:
    """The reference maps by the name of their row, as explainers; the truth where a mask (*S) says it."""
    found: dict[str, Any] = {
        f"{PREFIX}random": RandomReference(),
        f"{PREFIX}edge detector": EdgeReference(),
        f"{PREFIX}centre blob": CentreReference(),
    }
    if mask is not None and mask.any() and not mask.all():
        found[f"{PREFIX}truth"] = TruthReference(mask=mask)
    return found
