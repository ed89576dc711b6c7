from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contrafact.attribution.perturbation.features import by_features
from contrafact.core import EXPLAINERS, Question


@EXPLAINERS.register("feature-ablation", aliases=("feature_ablation", "ablation"))
@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureAblation:
    """Show how much the output falls when each box or supervoxel is hidden.

    images    float32 (N, C, *S), any units
    gives     float32 (N, *S), target units; a feature's value is spread evenly over its voxels.
              Positive: hiding it lowers the target
    cost      one forward pass per feature and image; no gradients
    raises    InputError for features that do not fit the image
    Source: Zeiler & Fergus 2014 (arXiv 1311.2901), sec. 4.2; computed by captum. Differs: features are
    boxes or supervoxels, never single voxels by default.

    features  "grid" or "slic" (supervoxels that keep to edges)
    fill      "mean", "min", "blur" or a number in image units
    batch     changed images per forward pass
    count     features along each axis
    """

    features: str = "grid"
    count: int = 8
    fill: str | float = "mean"
    batch: int = 64

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        from captum.attr import FeatureAblation as Captum  # slow to import

        return by_features(question, self, rng, Captum)
