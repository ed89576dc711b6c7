"""What a model says of many images, for every script that compares models."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def scores_of(predictor: Any, images: Tensor | NDArray[Any]) -> NDArray[np.float32]:
    """A predictor's log-odds (N,) of class 1, the finding of every bundle; images (N, C, H, W) of 0 to 255."""
    target, values = predictor.target("class:1"), torch.as_tensor(images)
    with predictor.frozen(), torch.no_grad():
        parts = [target(predictor(part.float())) for part in values.split(64)]
    found: NDArray[np.float32] = torch.cat(parts).numpy()
    return found


def both_sides(scores: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Rows of `count` images at random, half of them on each side of the decision."""
    rng = np.random.default_rng(0)
    sides = [np.flatnonzero(scores < 0), np.flatnonzero(scores >= 0)]
    return np.sort(np.concatenate([rng.permutation(side)[: count // 2] for side in sides]))
