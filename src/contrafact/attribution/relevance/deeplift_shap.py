from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.attribution.gradients import as_map, needs_gradients
from contrafact.attribution.relevance.rescale import deeplift
from contrafact.core import EXPLAINERS, InputError, Question
from contrafact.perturbation.fill import fill_values


@EXPLAINERS.register("deeplift-shap", aliases=("deep-lift-shap", "deep_lift_shap"))
@dataclass(frozen=True, slots=True, kw_only=True)
class DeepLIFTSHAP:
    """Show each voxel's contribution to the output's change, by DeepLIFT averaged over several baselines.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), target units, summed over channels; sums to f(image) minus the mean f of
            the baselines
    cost    one forward and one backward pass of the image and its baseline, for each baseline
    raises  UnsupportedError as DeepLIFT; InputError for no baseline
    Source: Lundberg & Lee 2017 (arXiv 1705.07874), sec. 4.2; computed by captum. Differs: as DeepLIFT;
    the baselines are fills of the image itself.

    baselines  fills: "mean", "min", "blur" or numbers in image units
    """

    needs_gradients: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    baselines: tuple[str | float, ...] = ("min", "mean", "blur")

    def __post_init__(self) -> None:
        if not self.baselines:
            raise InputError("expected at least 1 baseline; got none")

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        predictor = needs_gradients(question, "deeplift-shap")
        images = torch.as_tensor(question.images).to(predictor.device)
        fills = [fill_values(images, fill) for fill in self.baselines]
        maps = [deeplift(question, images, fill, "deeplift-shap").sum(dim=1) for fill in fills]
        return as_map(torch.stack(maps).mean(dim=0))
