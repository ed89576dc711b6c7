"""Using a generator to explain: bundle, direction, inversion, walk, translation."""

from contrafact.counterfactual.boundary import decision_boundary
from contrafact.counterfactual.bundle import Bundle, Translation
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
from contrafact.counterfactual.medxgan import FindingPath, spread
from contrafact.counterfactual.published import as_published, published_walk
from contrafact.counterfactual.translate import BestCounterfactual, Translate
from contrafact.counterfactual.walk import LatentWalk

__all__ = [
    "Anchors",
    "BestCounterfactual",
    "Bundle",
    "Direction",
    "DirectionConfig",
    "FindingPath",
    "LatentIntegratedGradients",
    "LatentShift",
    "LatentStatistics",
    "LatentWalk",
    "Refinement",
    "Translate",
    "Translation",
    "as_published",
    "decision_boundary",
    "fit_direction",
    "invert",
    "least_step",
    "published_walk",
    "spread",
]
