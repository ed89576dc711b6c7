from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.attribution.differentiable import needs_gradients, score
from contrafact.attribution.fill import fill_values
from contrafact.core import EXPLAINERS, InputError, Question


@EXPLAINERS.register("integrated-gradients", aliases=("ig", "integrated_gradients"))
@dataclass(frozen=True, slots=True, kw_only=True)
class IntegratedGradients:
    """Gradient summed along the straight line from a baseline to the image.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), target units, summed over channels; the map sums to
            f(image) - f(baseline) up to the error of the quadrature (completeness)
    cost    `steps` forward and backward passes per image
    raises  UnsupportedError for a model without gradients; InputError for fewer than 2 steps
    Source: Sundararajan et al. 2017 (arXiv 1703.01365), eq. 1; computed by captum.

    steps     points of the Gauss-Legendre quadrature
    baseline  "mean" (of the image), "min", "blur" or a number in image units
    """

    needs_gradients: ClassVar[bool] = True
    steps: int = 64
    baseline: str | float = "min"

    def __post_init__(self) -> None:
        if self.steps < 2:
            raise InputError(f"steps must be at least 2; got {self.steps}")

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        from captum.attr import IntegratedGradients as Captum  # slow to import

        predictor = needs_gradients(question, "integrated-gradients")
        images = torch.as_tensor(question.images).to(predictor.device)
        method = Captum(lambda x: score(question, predictor(x)))
        maps = method.attribute(
            images,
            baselines=fill_values(images, self.baseline),
            n_steps=self.steps,
            internal_batch_size=max(16, len(images)),
        )
        return np.asarray(maps.sum(dim=1).detach().cpu().numpy(), dtype=np.float32)
