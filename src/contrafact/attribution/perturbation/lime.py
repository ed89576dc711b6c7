from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from contrafact.attribution.perturbation.features import by_features
from contrafact.core import EXPLAINERS, InputError, Question


@EXPLAINERS.register("lime", aliases=("lime-segmentation",))
@dataclass(frozen=True, slots=True, kw_only=True)
class LIME:
    """Show the boxes or supervoxels that support or oppose the output, by a sparse linear model.

    images    float32 (N, C, *S), any units
    gives     float32 (N, *S), target units; a feature's value is spread evenly over its voxels.
              Coefficients of a linear model fitted to images with random features hidden: positive values
              are evidence for the target, negative values evidence against it
    cost      `samples` forward passes per image; no gradients
    raises    InputError for fewer than 1 sample, or features that do not fit the image
    Source: Ribeiro et al. 2016 (arXiv 1602.04938); computed by captum. Differs: boxes or supervoxels,
    seeded, a volume is one image and not a stack of slices.

    features  "grid" or "slic" (supervoxels that keep to edges)
    fill      "mean", "min", "blur" or a number in image units
    batch     changed images per forward pass
    samples   images with random features hidden
    sparsity  weight of the coefficients' absolute values (lasso), in target units
    count     features along each axis
    """

    sampled: ClassVar[bool] = True
    features: str = "grid"
    count: int = 8
    fill: str | float = "mean"
    batch: int = 64
    samples: int = 400
    sparsity: float = 0.01

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InputError(f"samples must be at least 1; got {self.samples}")

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        from captum._utils.models.linear_model import SkLearnLasso
        from captum.attr import Lime as Captum  # slow to import

        fit = SkLearnLasso(alpha=self.sparsity)
        return by_features(
            question, self, rng, lambda score: Captum(score, interpretable_model=fit), n_samples=self.samples
        )
