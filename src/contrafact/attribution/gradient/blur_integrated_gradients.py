from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.attribution.gradients import as_map, needs_gradients, slopes_at
from contrafact.core import EXPLAINERS, InputError, Question
from contrafact.perturbation.fill import gaussian


@EXPLAINERS.register("blur-integrated-gradients", aliases=("blur-ig",))
@dataclass(frozen=True, slots=True, kw_only=True)
class BlurIntegratedGradients:
    """Show each voxel's contribution to the change of the output from a blurred to the sharp image.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), target units, summed over channels; sums to f(image) - f(blurred image) up to
            the error of the quadrature, `notes["completeness_gap"]` in target units. No grey level serves
            as baseline
    cost    `steps` + 1 forward and `steps` backward passes per image
    raises  UnsupportedError for a model without gradients; InputError for fewer than 1 step, or a width of 0
    Source: Xu et al. 2020 (arXiv 2004.03383), eq. 3. Differs: steps are equal in the logarithm of the width,
    so that fine detail gets as many steps as coarse detail; any number of axes.

    width   standard deviation of the widest blur, as a share of the shortest side
    steps   intervals of the path
    """

    needs_gradients: ClassVar[bool] = True
    steps: int = 64
    width: float = 0.25

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.width > 0:
            raise InputError(f"expected at least 1 step and a width above 0; got {self.steps}, {self.width}")

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        predictor = needs_gradients(question, "blur-integrated-gradients", at_once=False)
        images = torch.as_tensor(question.images).to(predictor.device)
        widest = self.width * min(images.shape[2:])
        sigmas = [*np.geomspace(widest, 0.05, self.steps).tolist(), 0.0]
        total, before = torch.zeros_like(images), gaussian(images, sigmas[0])
        start = before
        for sigma in sigmas[1:]:
            after = gaussian(images, sigma)
            total += slopes_at(question, (before + after) / 2) * (after - before)
            before = after
        with torch.no_grad():
            change = question.target(predictor(images)) - question.target(predictor(start))
        gap = change - total.flatten(1).sum(dim=1)
        question.notes["completeness_gap"] = gap.tolist()
        return as_map(total.sum(dim=1))
