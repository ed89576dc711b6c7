"""Cache of model outputs and intermediate results, shared by all metrics of an image."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.perturbation import portions

_T = TypeVar("_T")


class ModelCache:
    """Base of the metric contexts: computes each model output once, in batches, and counts the forward passes.

    seed    seed of all random numbers
    batch   greatest number of images per forward pass
    passes  images passed through a model so far
    """

    seed: int
    batch: int
    passes: int
    _cache: dict[Any, Any]

    def once(self, key: Any, make: Callable[[], _T]) -> _T:
        """Return the value of `make()`, computed once for each key."""
        if key not in self._cache:
            self._cache[key] = make()
        value: _T = self._cache[key]
        return value

    def rng(self, *key: Any) -> np.random.Generator:
        """Return a random generator that depends only on the seed and the key, not on the order of metrics."""
        return np.random.default_rng([self.seed, zlib.crc32(repr(key).encode())])

    def _score_batches(
        self, count: int, images: Callable[[slice], Tensor], voxels: int, predictor: Any, target: Any
    ) -> NDArray[np.float64]:
        """Return target values (count,) of images that `images(part)` makes batch by batch."""
        scores = np.empty(count)

        def work(part: slice) -> None:
            with torch.no_grad():
                scores[part] = target(predictor(images(part))).double().cpu().numpy()

        portions(count, self.batch, voxels, work)
        self.passes += count
        return scores
