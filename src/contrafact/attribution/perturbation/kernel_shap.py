from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from contrafact.attribution.perturbation.features import by_features
from contrafact.core import EXPLAINERS, InputError, Question


@EXPLAINERS.register("kernel-shap", aliases=("kernel_shap", "kernelshap"))
@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSHAP:
    """Show each box's or supervoxel's contribution to the output: Shapley values by a weighted linear fit.

    images    float32 (N, C, *S), any units
    gives     float32 (N, *S), target units; a feature's value is spread evenly over its voxels.
              The map sums to f(image) - f(filled image) up to the error of the fit
    cost      `samples` forward passes per image; no gradients
    raises    InputError for fewer than 1 sample or 2 features, or features that do not fit the image
    Source: Lundberg & Lee 2017 (arXiv 1705.07874), sec. 4.1; computed by captum. Differs: boxes or
    supervoxels, seeded.

    features  "grid" or "slic" (supervoxels that keep to edges)
    fill      "mean", "min", "blur" or a number in image units
    batch     changed images per forward pass
    samples   random subsets
    count     features along each axis
    """

    sampled: ClassVar[bool] = True
    features: str = "grid"
    count: int = 8
    fill: str | float = "mean"
    batch: int = 64
    samples: int = 400

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InputError(f"samples must be at least 1; got {self.samples}")

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        from captum.attr import KernelShap as Captum  # slow to import

        return by_features(question, self, rng, Captum, least=2, n_samples=self.samples)
