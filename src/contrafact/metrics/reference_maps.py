"""Reference maps that do not depend on a model; a useful method must do better. They are not registered.

A study evaluates them like its methods: a random map, an edge detector, a central blob, and the true region if
it is known.
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
    """Return normally distributed noise (N, *S)."""

    def __call__(self, question: Question, rng: np.random.Generator) -> Maps:
        images = question.images
        return rng.normal(size=(len(images), *images.shape[2:])).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeReference:
    """Return the gradient magnitude (N, *S) of the image, averaged over channels.

    sigma  standard deviation of the Gaussian smoothing, voxels
    """

    sigma: float = 1.0

    def __call__(self, question: Question, rng: np.random.Generator) -> Maps:
        means = question.images.mean(axis=1).astype(np.float64)
        return np.stack([ndimage.gaussian_gradient_magnitude(m, self.sigma) for m in means]).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class CentreReference:
    """Return a Gaussian (N, *S) in the centre of the image.

    width  standard deviation, as a share of each side
    """

    width: float = 0.2

    def __call__(self, question: Question, rng: np.random.Generator) -> Maps:
        size = question.images.shape[2:]
        distances = [(np.arange(n) - (n - 1) / 2) / (self.width * n) for n in size]
        blob = np.exp(-sum(part**2 for part in np.meshgrid(*distances, indexing="ij")) / 2)
        return np.broadcast_to(blob, (len(question.images), *size)).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TruthReference:
    """Return the mask of the cause as a map (N, *S): 1 inside, 0 outside.

    mask  bool (*S)
    """

    mask: NDArray[np.bool_]

    def __call__(self, question: Question, rng: np.random.Generator) -> Maps:
        return np.broadcast_to(self.mask, (len(question.images), *self.mask.shape)).astype(np.float32)


def references(mask: NDArray[np.bool_] | None = None) -> dict[str, Any]:
    """Return the reference maps as explainers, by the name of their row; with the truth if a mask (*S) is
    passed."""
    explainers: dict[str, Any] = {
        f"{PREFIX}random": RandomReference(),
        f"{PREFIX}edge detector": EdgeReference(),
        f"{PREFIX}centre blob": CentreReference(),
    }
    if mask is not None and mask.any() and not mask.all():
        explainers[f"{PREFIX}truth"] = TruthReference(mask=mask)
    return explainers
