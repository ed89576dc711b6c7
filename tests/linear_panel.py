"""A linear model, of which every voxel's worth is known, and its maps."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from contrafact.attribution import Gradient
from contrafact.core import Grid, Question
from contrafact.metrics import HeatmapContext
from contrafact.models import TorchPredictor


class Linear(nn.Module):
    """f = sum of weights x image: what every voxel is worth is known."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x: Tensor) -> Tensor:
        value = (x * self.weights).flatten(1).sum(dim=1)
        return torch.stack([-value, value], dim=1)


def linear_panel(
    *, axes: int = 2, channels: int = 1, side: int = 12, more: NDArray[np.float64] | None = None
) -> HeatmapContext:
    """A linear model's own worth map, a random one and its opposite; the mask is where the weights are."""
    rng = np.random.default_rng(0)
    size = (side,) * axes
    where = np.zeros(size, dtype=bool)
    where[(slice(2, 6),) * axes] = True
    weights = rng.uniform(0.5, 1.5, (channels, *size)) * where
    image = rng.uniform(1, 2, (1, channels, *size)).astype(np.float32)
    truth = (weights * image[0]).sum(axis=0)
    maps = np.stack([truth, rng.normal(size=size), -truth])
    if more is not None:
        maps = np.concatenate([maps, more])
    predictor = TorchPredictor(Linear(torch.tensor(weights, dtype=torch.float32)), classes=["a", "b"])
    question = Question(predictor=predictor, images=image, target=predictor.target("value:1"), grid=Grid(size))
    other = TorchPredictor(Linear(torch.tensor(rng.normal(size=weights.shape), dtype=torch.float32)))
    explainers = [Gradient()] * len(maps)
    return HeatmapContext(question, maps, explainers=explainers, mask=where, shuffled=other)
