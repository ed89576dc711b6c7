from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.counterfactual_context import CounterfactualContext


@METRICS.register("latent-length")
@dataclass(frozen=True, slots=True, kw_only=True)
class LatentLength:
    """Measure the latent distance of the change: how unusual it is for the generator's images.

    gives   Mahalanobis distance in latent space, in standard deviations (SD)
    Source: Mahalanobis 1936, over the latents of Schutte et al. 2021 (arXiv 2101.07563). Differs: the
    covariance is that of sampled latents, as in the counterfactual.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "closeness"

    def __call__(self, walked: CounterfactualContext) -> float:
        return float(walked.strip.lengths[walked.end])
