from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.counterfactual_context import CounterfactualContext


@METRICS.register("latent-length")
@dataclass(frozen=True, slots=True, kw_only=True)
class LatentLength:
    """How unusual is the change, for a generator of such images?

    gives   Mahalanobis length of the whole step in latent space; 1 is one typical deviation
    Source: Mahalanobis 1936, over the latents of Schutte et al. 2021 (arXiv 2101.07563). Differs: the
    covariance is that of sampled latents, as in the strip.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "closeness"

    def __call__(self, walked: CounterfactualContext) -> float:
        return float(walked.strip.lengths[walked.end])
