from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.attribution.background import others
from contrafact.attribution.gradients import as_map, needs_gradients, slopes_at
from contrafact.core import EXPLAINERS, InputError, Question


@EXPLAINERS.register("expected-gradients", aliases=("expected_gradients",))
@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedGradients:
    """Show each voxel's contribution to the difference between this output and that of other real images.

    images  float32 (N, C, *S), any units; the question's background holds the baselines
    gives   float32 (N, *S), target units, summed over channels; sums to f(image) minus the mean f of the
            background, up to the error of sampling
    cost    `samples` forward and backward passes per image
    raises  UnsupportedError for a model without gradients; InputError without a background, or for fewer
            than 1 sample
    Source: Erion et al. 2019 (arXiv 1906.10670), eq. 2. Differs: the points of the paths are stratified,
    and all background images are used equally often.

    samples  pairs of a baseline and a point between it and the image
    """

    needs_gradients: ClassVar[bool] = True
    needs_background: ClassVar[bool] = True
    sampled: ClassVar[bool] = True
    samples: int = 64

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InputError(f"samples must be at least 1; got {self.samples}")

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        predictor = needs_gradients(question, "expected-gradients", at_once=False)
        baselines = torch.as_tensor(others(question, "expected-gradients")).to(predictor.device)
        images = torch.as_tensor(question.images).to(predictor.device)
        picks = rng.permutation(self.samples) % len(baselines)
        shares = (np.arange(self.samples) + rng.random(self.samples)) / self.samples
        total = torch.zeros_like(images)
        for pick, share in zip(picks, shares, strict=True):
            difference = images - baselines[pick]
            total += slopes_at(question, baselines[pick] + float(share) * difference) * difference
        return as_map(total.sum(dim=1) / self.samples)
