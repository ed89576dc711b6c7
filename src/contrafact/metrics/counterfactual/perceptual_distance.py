from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from contrafact.core import METRICS
from contrafact.metrics.counterfactual_context import CounterfactualContext, needed


@METRICS.register("perceptual-distance", aliases=("lpips",))
@dataclass(frozen=True, slots=True, kw_only=True)
class PerceptualDistance:
    """Measure the difference between the counterfactual and the image in the features of a network.

    gives   mean squared difference of the features, scaled to length 1 at each position, averaged over layers;
            0: identical
    cost    2 forward passes of the network whose features are compared
    raises  InputError without `layers`
    Source: Zhang et al. 2018 (arXiv 1801.03924), eq. 1 (LPIPS). Differs: any network, equal weights for all
    layers; values are comparable only for the same network.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "closeness"

    def __call__(self, walked: CounterfactualContext) -> float:
        layers = needed(walked.layers, "perceptual-distance", "a network's features (`layers`)")
        pair = torch.as_tensor(np.stack([walked.start, walked.goal]).astype(np.float32))
        with torch.no_grad():
            maps = [F.normalize(features.double(), dim=1) for features in layers(pair)]
        walked.passes += 2
        return float(np.mean([float((unit[0] - unit[1]).square().sum(dim=0).mean()) for unit in maps]))
