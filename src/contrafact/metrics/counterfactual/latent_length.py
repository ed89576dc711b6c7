from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS, Counterfactual, InputError, engines
from contrafact.metrics.counterfactual_context import CounterfactualContext


@METRICS.register("latent-length")
@dataclass(frozen=True, slots=True, kw_only=True)
class LatentLength:
    """Measure the latent distance of the change: how unusual it is for the generator's images.

    gives   Mahalanobis distance in latent space, in standard deviations (SD)
    raises  InputError for a counterfactual by an engine without a latent space, such as a translator
    Source: Mahalanobis 1936, over the latents of Schutte et al. 2021 (arXiv 2101.07563). Differs: the
    covariance is that of sampled latents, as in the counterfactual.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "closeness"

    def __call__(self, walked: CounterfactualContext) -> float:
        if _without_latents(walked.strip):
            raise InputError(
                "latent-length needs an engine with a latent space; this counterfactual's has none"
            )
        return float(walked.strip.latent_distance[walked.end])


def _without_latents(strip: Counterfactual) -> bool:
    """Whether a counterfactual was made by an engine without a latent space."""
    return strip.record is not None and engines().get(strip.record.engine) == "translations"
