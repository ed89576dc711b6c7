from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from contrafact.attribution.gradients import as_map
from contrafact.core import EXPLAINERS, InputError, Question
from contrafact.perturbation.fill import fill_values
from contrafact.perturbation.memory import portions

TOGETHER, VOXELS = 64, 2**20  # most masks made at once, and most voxels of them, on every device


@EXPLAINERS.register("rise")
@dataclass(frozen=True, slots=True, kw_only=True)
class RISE:
    """Show how much higher the output is when each voxel is visible than when it is hidden by random masks.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), target units: mean target over the masks that show the voxel, minus the mean
            over the masks that hide it (weighted by the soft masks); signed
    cost    `masks` forward passes per image, in batches; no gradients; the masks are the same for any batch
            and device
    raises  InputError for a share outside (0, 1), fewer than 2 masks, fewer than 1 cell or more cells than
            voxels along an axis
    Source: Petsiuk et al. 2018 (arXiv 1806.07421), eq. 6. Differs: any number of axes; at a share of one
    half each mask is paired with its complement, which halves the noise; centred, so that the map is signed.

    cells   cells of the coarse mask along each axis
    share   share of the cells that a mask shows
    fill    content of hidden voxels: "mean", "min", "blur" or a number in image units
    batch   masked images per forward pass
    masks   number of random masks
    """

    sampled: ClassVar[bool] = True
    masks: int = 2000
    cells: int = 7
    share: float = 0.5
    fill: str | float = "mean"
    batch: int = 64

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise InputError(f"share must be above 0 and below 1; got {self.share}")
        if self.masks < 2 or self.cells < 1:
            raise InputError(f"expected at least 2 masks and 1 cell; got {self.masks}, {self.cells}")

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        size = question.images.shape[2:]
        if self.cells > min(size):
            raise InputError(f"cells must be at most {min(size)} for this image; got {self.cells}")
        device = question.predictor.device
        images = torch.as_tensor(question.images).to(device)
        empty = fill_values(images, self.fill)
        if question.region is not None:  # voxels outside the region are always visible
            region = torch.as_tensor(question.region, device=images.device)
            empty = torch.where(region, empty, images)
        seed = int(rng.integers(2**62))
        with torch.no_grad():
            return np.stack([self._one(question, *pair, seed) for pair in zip(images, empty, strict=True)])

    def _one(self, question: Question, image: Tensor, empty: Tensor, seed: int) -> NDArray[np.float32]:
        mask_rng = torch.Generator().manual_seed(seed)  # the same masks for every image
        size = tuple(image.shape[1:])
        shown, hidden, seen, unseen = (torch.zeros(size, device=image.device) for _ in range(4))
        stock: list[Tensor] = []  # unused masks: a repeated portion (memory) gets the same masks
        pairs = max(1, min(TOGETHER, VOXELS // math.prod(size)) // 2)
        memory = torch.empty(pairs, 2, *size)  # reused for the next masks

        def work(part: slice) -> None:
            count = part.stop - part.start
            while sum(map(len, stock)) < count:
                rest = [masks.clone() for masks in stock if len(masks)]
                new = self._masks(mask_rng, memory).to(image.device)
                stock[:] = [torch.cat([*rest, new]) if rest else new]
            masks = stock[0][:count]
            scores = question.target(question.predictor(empty + masks[:, None] * (image - empty)))
            both = torch.stack([scores, torch.ones_like(scores)])
            sums = (both @ masks.flatten(1)).unflatten(1, size)  # scores of visible voxels, and their weights
            shown.add_(sums[0]), seen.add_(sums[1])
            hidden.add_(scores.sum() - sums[0]), unseen.add_(count - sums[1])
            stock[:] = [stock[0][count:]]

        portions(self.masks, self.batch, image.numel(), work)
        return as_map(shown / seen.clamp_min(1e-6) - hidden / unseen.clamp_min(1e-6))

    def _masks(self, rng: torch.Generator, memory: Tensor) -> Tensor:
        """Return soft masks (2 P, *S), 0 to 1, in `memory` (P, 2, *S): coarse random cells, linearly
        interpolated, each pair shifted by a part of a cell."""
        pairs, _, *size = memory.shape
        shape = (self.cells + 1,) * len(size)
        independent = 1 if self.share == 0.5 else 2
        numbers = torch.rand(pairs, independent * math.prod(shape) + len(size), generator=rng)
        cells = (numbers[:, : -len(size)] < self.share).float().unflatten(1, (independent, *shape))
        if independent == 1:
            cells = torch.cat([cells, 1 - cells], dim=1)
        for axis, side in enumerate(size):
            moved = cells.movedim(axis + 2, -1)
            matrices = self._interpolation(side, numbers[:, axis - len(size)]).transpose(1, 2)
            last = memory.view(pairs, -1, side) if axis == len(size) - 1 else None
            cells = torch.bmm(moved.flatten(1, -2), matrices, out=last)
            cells = cells.unflatten(1, moved.shape[1:-1]).movedim(-1, axis + 2)
        return memory.flatten(0, 1)

    def _interpolation(self, side: int, shift: Tensor) -> Tensor:
        """Return matrices (P, side, cells + 1) of linear interpolation along one axis, for shifts (P,); one
        axis at a time is far cheaper than all axes together."""
        at = (torch.arange(side) + 0.5) * self.cells / side + shift[:, None] - 0.5
        at = at.clamp(0, self.cells)
        low = at.floor().long().clamp_max(self.cells - 1)
        weights = F.one_hot(low, self.cells + 1) * (1 - (at - low))[..., None]
        return weights + F.one_hot(low + 1, self.cells + 1) * (at - low)[..., None]
