from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.attribution.gradients import as_map, needs_gradients, slopes_at
from contrafact.core import EXPLAINERS, InputError, Question
from contrafact.perturbation import memory
from contrafact.perturbation.fill import fill_values

BATCH = 16  # points per pass


@EXPLAINERS.register("gradient-shap", aliases=("gradient_shap", "gradientshap"))
@dataclass(frozen=True, slots=True, kw_only=True)
class GradientSHAP:
    """Show each voxel's contribution to the change from baseline images, averaged over random points.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), target units, summed over channels; sums to f(image) minus the mean f of
            the baselines, up to the error of sampling
    cost    `samples` forward and backward passes per image
    raises  UnsupportedError for a model without gradients; InputError for fewer than 1 sample or baseline
    Source: Lundberg & Lee 2017 (arXiv 1705.07874); Erion et al. 2019 (arXiv 1906.10670). Differs: the
    baselines are fills of the image itself, and never the image.

    baselines  fills to sample from: "mean", "min", "blur" or numbers in image units
    noise      standard deviation of noise added to the image, as a share of its range
    samples    random points
    """

    needs_gradients: ClassVar[bool] = True
    sampled: ClassVar[bool] = True
    samples: int = 32
    baselines: tuple[str | float, ...] = ("min", "mean", "blur")
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.samples < 1 or not self.baselines:
            raise InputError(
                f"expected at least 1 sample and 1 baseline; got {self.samples}, {len(self.baselines)}"
            )

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        predictor = needs_gradients(question, "gradient-shap", at_once=False)
        images = torch.as_tensor(question.images).to(predictor.device)
        fills = [fill_values(images, fill) for fill in self.baselines]
        axes = tuple(range(1, images.ndim))
        reach = self.noise * (images.amax(dim=axes, keepdim=True) - images.amin(dim=axes, keepdim=True))
        total = torch.zeros_like(images)
        # Shares are stratified: one in each of `samples` equal parts of the path.
        shares = (np.arange(self.samples) + rng.random(self.samples)) / self.samples
        draws = list(zip(shares.tolist(), rng.permutation(self.samples) % len(fills), strict=True))
        together = max(1, min(BATCH, memory.images_at_once(images[0].numel())) // len(images))
        for start in range(0, self.samples, together):
            total += self._terms(question, images, fills, draws[start : start + together], reach, rng)
        return as_map(total.sum(dim=1) / self.samples)

    def _terms(
        self,
        question: Question,
        images: Tensor,
        fills: list[Tensor],
        draws: list[tuple[float, int]],
        reach: Tensor,
        rng: np.random.Generator,
    ) -> Tensor:
        """Return the sum of the terms of some samples: the gradient at a random point of the way from a fill to
        the image, times the way."""
        points, ways = [], []
        for share, pick in draws:
            ends = images
            if self.noise:
                noise = rng.standard_normal(images.shape[1:], dtype=np.float32)
                ends = images + reach * torch.from_numpy(noise).to(images)
            ways.append(ends - fills[pick])
            points.append(fills[pick] + share * ways[-1])
        terms = slopes_at(question, torch.cat(points), batch=BATCH).mul_(torch.cat(ways))
        return terms.reshape(len(draws), *images.shape).sum(dim=0)
