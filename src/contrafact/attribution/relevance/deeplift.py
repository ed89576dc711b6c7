from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.attribution.gradients import as_map, needs_gradients
from contrafact.attribution.relevance.rescale import deeplift
from contrafact.core import EXPLAINERS, Question
from contrafact.perturbation.fill import fill_values


@EXPLAINERS.register("deeplift", aliases=("deep-lift", "deep_lift"))
@dataclass(frozen=True, slots=True, kw_only=True)
class DeepLIFT:
    """Show each voxel's contribution to the output's change from a baseline, propagated back by DeepLIFT.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), target units, summed over channels; sums to f(image) - f(baseline)
    cost    one forward and one backward pass of the image and its baseline
    raises  UnsupportedError without gradients, or if the map does not sum to the change: the network has a
            step that the rule does not cover (a functional ReLU, a layer used twice, a softmax in the
            target)
    Source: Shrikumar et al. 2017 (arXiv 1704.02685), rescale rule; computed by captum. Differs: raises an
    error where captum returns a wrong map (its issues 199, 578, 934, 1082, 1085).

    baseline  "mean" (of the image), "min", "blur" or a number in image units
    """

    needs_gradients: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    baseline: str | float = "min"

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        predictor = needs_gradients(question, "deeplift")
        images = torch.as_tensor(question.images).to(predictor.device)
        return as_map(deeplift(question, images, fill_values(images, self.baseline), "deeplift").sum(dim=1))
