"""A small network that imitates the scores of a model without gradients.

It is trained on every image that the model scores during the training of a translator, real and translated, so
that it is accurate on the translator's images. Its loss is smooth L1 between its scores and the model's, in
units of half the range of the scores.

Source: knowledge distillation, Hinton et al. 2015 (arXiv 1503.02531); attacks by a substitute, Papernot et al.
2017 (arXiv 1602.02697). Differs: scores, not labels; the substitute is corrected at every step.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrafact.generators.translator import halved


class Student(nn.Module):
    """A network from images (N, C, *S) in [-1, 1] to scores (N, targets) in the units of the model.

    `low` and `high` (targets,) are the range of the model's scores, which scales the output.
    """

    low: Tensor
    high: Tensor

    def __init__(
        self, channels: int, targets: int, *, axes: int = 2, widths: tuple[int, ...] = (24, 48, 96, 128)
    ) -> None:
        super().__init__()
        convolution = nn.Conv2d if axes == 2 else nn.Conv3d
        self.register_buffer("low", torch.full((targets,), -1.0))
        self.register_buffer("high", torch.full((targets,), 1.0))
        self.levels = nn.ModuleList()
        before = channels
        for width in widths:
            layers = [convolution(before, width, 3, padding=1), nn.GroupNorm(8, width), nn.SiLU()]
            layers += [convolution(width, width, 3, padding=1), nn.GroupNorm(8, width), nn.SiLU()]
            self.levels.append(nn.Sequential(*layers))
            before = width
        self.head = nn.Linear(before, targets)

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for level in self.levels:
            x = halved(level(x)) if min(x.shape[2:]) > 1 else level(x)
        scaled: Tensor = self.head(x.flatten(2).mean(dim=2)).float()
        return (self.high + self.low) / 2 + scaled * (self.high - self.low) / 2

    def loss(self, images: Tensor, scores: Tensor) -> Tensor:
        """Return the loss of the student's scores of images against the model's scores (N, targets)."""
        half = ((self.high - self.low) / 2).clamp_min(1e-6)
        return F.smooth_l1_loss(self(images) / half, scores.to(images) / half)
