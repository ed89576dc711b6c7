from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.attribution.gradients import as_map, needs_gradients, slopes_at
from contrafact.core import EXPLAINERS, Question
from contrafact.perturbation.fill import fill_values


@EXPLAINERS.register("input-x-gradient", aliases=("input_x_gradient", "gradient-x-input"))
@dataclass(frozen=True, slots=True, kw_only=True)
class InputXGradient:
    """Show each voxel's first-order contribution: the gradient times its difference from a baseline.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), target units, summed over channels; exact for a linear model
    cost    one forward and one backward pass per image
    raises  UnsupportedError for a model without gradients
    Source: Shrikumar et al. 2016 (arXiv 1605.01713), sec. 3. Differs: a baseline other than zero,
    because zero has no special meaning in Hounsfield units.

    baseline  "mean" (of the image), "min", "blur" or a number in image units
    """

    needs_gradients: ClassVar[bool] = True
    live: ClassVar[bool] = True
    baseline: str | float = "min"

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        predictor = needs_gradients(question, "input-x-gradient", at_once=False)
        images = torch.as_tensor(question.images).to(predictor.device)
        slopes = slopes_at(question, question.images)
        return as_map((slopes * (images - fill_values(images, self.baseline))).sum(dim=1))
