"""What was asked once, for whoever asks again."""

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
    """A panel of maps and a strip put to the test ask their models through this: once, counted, in portions.

    seed    of all draws
    batch   images per forward pass at most
    passes  images that went through a model so far
    """

    seed: int
    batch: int
    passes: int
    _known: dict[Any, Any]

    def once(self, key: Any, make: Callable[[], _T]) -> _T:
        """What `make` gives, made once for all metrics that ask with this key."""
        if key not in self._known:
            self._known[key] = make()
        found: _T = self._known[key]
        return found

    def rng(self, *key: Any) -> np.random.Generator:
        """The same draws for the same key, whichever metric asks first."""
        return np.random.default_rng([self.seed, zlib.crc32(repr(key).encode())])

    def _ask(
        self, count: int, images: Callable[[slice], Tensor], voxels: int, predictor: Any, target: Any
    ) -> NDArray[np.float64]:
        """Target values (count,) of the images that `images(part)` gives, made as they are asked for."""
        found = np.empty(count)

        def work(part: slice) -> None:
            with torch.no_grad():
                found[part] = target(predictor(images(part))).double().cpu().numpy()

        portions(count, self.batch, voxels, work)
        self.passes += count
        return found
