"""Using a generator to explain: bundle, direction, inversion, walk."""

from contrafact.counterfactual.bundle import Bundle
from contrafact.counterfactual.direction import (
    Anchors,
    Direction,
    DirectionConfig,
    fit_direction,
    least_step,
)
from contrafact.counterfactual.inversion import Refinement, invert
from contrafact.counterfactual.latent_integrated_gradients import LatentIntegratedGradients
from contrafact.counterfactual.latent_shift import LatentShift
from contrafact.counterfactual.latents import LatentStatistics
from contrafact.counterfactual.published import as_published, published_walk
from contrafact.counterfactual.walk import LatentWalk

__all__ = [
    "Anchors",
    "Bundle",
    "Direction",
    "DirectionConfig",
    "LatentIntegratedGradients",
    "LatentShift",
    "LatentStatistics",
    "LatentWalk",
    "Refinement",
    "as_published",
    "fit_direction",
    "invert",
    "least_step",
    "published_walk",
]
