from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.attribution.gradients import as_map, needs_gradients, score, upsample
from contrafact.core import EXPLAINERS, InputError, Question
from contrafact.perturbation.fill import fill_values


@EXPLAINERS.register("extremal-perturbation", aliases=("extremal_perturbation",))
@dataclass(frozen=True, slots=True, kw_only=True)
class ExtremalPerturbation:
    """Show the small regions that alone keep the output highest, averaged over several region sizes.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), target units: for each share of the image the smooth mask of that size with the
            highest target, times the gain of the target over an empty image, averaged over the shares; the
            sign is that of the gain
    cost    `iterations` forward and backward passes per image and share
    raises  UnsupportedError without gradients; InputError for shares outside (0, 1), fewer than 1 cell or
            iteration, or more cells than voxels along an axis
    Source: Fong et al. 2019 (arXiv 1910.08485), eq. 3 to 5. Differs: any number of axes; masks are
    coarse cells with linear interpolation, instead of a smooth maximum over shifted kernels.

    areas       shares of the image that the masks may show
    cells       cells of the coarse mask along each axis
    fill        content of hidden voxels: "mean", "min", "blur" or a number in image units
    iterations  optimisation steps for each share
    rate        step size
    """

    needs_gradients: ClassVar[bool] = True
    sampled: ClassVar[bool] = True
    areas: tuple[float, ...] = (0.05, 0.1, 0.2)
    cells: int = 12
    iterations: int = 80
    rate: float = 0.2
    fill: str | float = "blur"

    def __post_init__(self) -> None:
        if not self.areas or not all(0 < area < 1 for area in self.areas):
            raise InputError(f"areas must be above 0 and below 1; got {self.areas}")
        if self.cells < 1 or self.iterations < 1:
            raise InputError(f"cells and iterations must be at least 1; got {self.cells}, {self.iterations}")

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        predictor = needs_gradients(question, "extremal-perturbation")
        if self.cells > min(question.images.shape[2:]):
            raise InputError(f"cells must be at most {min(question.images.shape[2:])} here; got {self.cells}")
        images = torch.as_tensor(question.images).to(predictor.device)
        empty = fill_values(images, self.fill)
        with torch.no_grad():
            hidden_score = question.target(predictor(empty))
        total = torch.zeros_like(images[:, 0])
        for area in self.areas:
            masks = self._masks(question, images, empty, area)
            with torch.no_grad():
                gain = question.target(predictor(_shown(images, empty, masks))) - hidden_score
            total += masks * gain.reshape(-1, *(1,) * (masks.ndim - 1))
        return as_map(total / len(self.areas))

    def _masks(self, question: Question, images: Tensor, empty: Tensor, area: float) -> Tensor:
        """Return masks (N, *S), 0 to 1, that show about the share `area` of the image."""
        size = images.shape[2:]
        logits = images.new_zeros(len(images), *(self.cells,) * len(size))
        logits.requires_grad_()
        wanted = torch.zeros(logits[0].numel(), device=images.device)
        wanted[-max(1, round(area * len(wanted))) :] = 1.0
        adam = torch.optim.Adam([logits], lr=self.rate)
        # The score is scaled by its range, so that the same weight of the area suits every model.
        with torch.no_grad():
            ends = question.target(question.predictor(torch.cat([images, empty])))
        reach = (ends[: len(images)] - ends[len(images) :]).abs().clamp_min(1e-6)
        for step in range(self.iterations):
            cells = torch.sigmoid(logits)
            area_error = (cells.flatten(1).sort(dim=1).values - wanted).square().mean(dim=1)
            with torch.enable_grad():
                scores = score(question, question.predictor(_shown(images, empty, upsample(cells, size))))
            weight = 30.0 * (step + 1) / self.iterations
            loss = (weight * area_error - scores / reach).sum()
            (logits.grad,) = torch.autograd.grad(loss, [logits])
            adam.step()
        return upsample(torch.sigmoid(logits.detach()), size)


def _shown(images: Tensor, empty: Tensor, masks: Tensor) -> Tensor:
    """Return images visible through masks (N, *S), and `empty` elsewhere."""
    return empty + masks[:, None] * (images - empty)
