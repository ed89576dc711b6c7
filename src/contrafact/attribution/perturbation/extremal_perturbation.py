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
    """The smallest places that are enough: for each share of the image, the smooth mask of that size
    which keeps the target highest.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), target units: the masks, each times what showing it gains over showing
            nothing, averaged; sign: of that gain
    cost    `iterations` forward and backward passes per image and share
    raises  UnsupportedError without gradients; InputError for shares outside (0, 1) or cells larger
            than the image
    Source: Fong et al. 2019 (arXiv 1910.08485), eq. 3 to 5. Differs: any number of axes; masks are
    coarse cells, smoothly enlarged, in place of a smooth maximum over shifted kernels.

    areas       shares of the image that the masks may show
    cells       of the coarse mask along each axis
    fill        what stands where nothing is shown
    iterations  steps for each share
    rate        of a step
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
            nothing = question.target(predictor(empty))
        total = torch.zeros_like(images[:, 0])
        for area in self.areas:
            masks = self._masks(question, images, empty, area)
            with torch.no_grad():
                gain = question.target(predictor(_shown(images, empty, masks))) - nothing
            total += masks * gain.reshape(-1, *(1,) * (masks.ndim - 1))
        return as_map(total / len(self.areas))

    def _masks(self, question: Question, images: Tensor, empty: Tensor, area: float) -> Tensor:
        """Masks (N, *S) in 0..1 that show about `area` of the image."""
        size = images.shape[2:]
        logits = images.new_zeros(len(images), *(self.cells,) * len(size))
        logits.requires_grad_()
        wanted = torch.zeros(logits[0].numel(), device=images.device)
        wanted[-max(1, round(area * len(wanted))) :] = 1.0
        adam = torch.optim.Adam([logits], lr=self.rate)
        # The score is measured in its own spread, so that one weight of the area serves every model.
        with torch.no_grad():
            ends = question.target(question.predictor(torch.cat([images, empty])))
        reach = (ends[: len(images)] - ends[len(images) :]).abs().clamp_min(1e-6)
        for step in range(self.iterations):
            cells = torch.sigmoid(logits)
            held = (cells.flatten(1).sort(dim=1).values - wanted).square().mean(dim=1)
            with torch.enable_grad():
                found = score(question, question.predictor(_shown(images, empty, upsample(cells, size))))
            weight = 30.0 * (step + 1) / self.iterations
            loss = (weight * held - found / reach).sum()
            (logits.grad,) = torch.autograd.grad(loss, [logits])
            adam.step()
        return upsample(torch.sigmoid(logits.detach()), size)


def _shown(images: Tensor, empty: Tensor, masks: Tensor) -> Tensor:
    return empty + masks[:, None] * (images - empty)
