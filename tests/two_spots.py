"""A segmenter that knows bright voxels by their own value alone, and an image with two bright spots."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from contrafact.core import Image
from contrafact.models import TorchPredictor


class Bright(nn.Module):
    """Logits of [dark, bright]: a voxel is bright above 0.5, by its own value alone."""

    def __init__(self, axes: int = 2, *, wrap: str = "", steps: bool = False) -> None:
        super().__init__()
        self.wrap, self.steps = wrap, steps
        self.conv = {2: nn.Conv2d, 3: nn.Conv3d}[axes](1, 1, 1)
        nn.init.ones_(self.conv.weight)
        nn.init.constant_(self.conv.bias, -0.5)

    def forward(self, x: Tensor) -> object:
        z = 4 * self.conv(x)
        z = (z > 0) * 1.0 + 0 * z if self.steps else z
        maps = torch.cat([-z, z], dim=1)
        if self.wrap == "list":
            return [maps, maps[..., ::2, ::2]]
        return {"out": maps, "aux": -maps} if self.wrap == "dict" else maps


def segmenter(axes: int = 2, **more: object) -> TorchPredictor:
    head = more.pop("head", None)
    return TorchPredictor(Bright(axes, **more), classes=["dark", "bright"], head=head)


def two_spots(axes: int = 2) -> Image:
    """0.1 everywhere, 0.9 in a spot of 3 and one of 2 voxels a side."""
    values = np.full((1, *(12,) * axes), 0.1, dtype=np.float32)
    values[(0, *(slice(1, 4),) * axes)] = 0.9
    values[(0, *(slice(7, 9),) * axes)] = 0.9
    return Image(values)
