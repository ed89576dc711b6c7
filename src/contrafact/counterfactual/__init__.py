"""Counterfactual methods: a trained generator changes an image until the model's prediction flips."""

from contrafact.counterfactual.attributes import Attribute, find_attributes
from contrafact.counterfactual.bundle import Bundle
from contrafact.counterfactual.bundle_parts import Translation
from contrafact.counterfactual.decision_boundary import decision_boundary
from contrafact.counterfactual.direction import Anchors, Direction, DirectionConfig, fit_direction, least_step
from contrafact.counterfactual.inversion import Refinement, invert, mean_curvature
from contrafact.counterfactual.latent_integrated_gradients import LatentIntegratedGradients
from contrafact.counterfactual.latent_shift import LatentShift
from contrafact.counterfactual.latent_statistics import LatentStatistics
from contrafact.counterfactual.latent_walk import LatentWalk
from contrafact.counterfactual.medxgan import MedXGANCounterfactual, spread
from contrafact.counterfactual.schutte2021 import as_published, published_walk
from contrafact.counterfactual.translate import BestCounterfactual, Translate

__all__ = [
    "Anchors",
    "Attribute",
    "BestCounterfactual",
    "Bundle",
    "Direction",
    "DirectionConfig",
    "LatentIntegratedGradients",
    "LatentShift",
    "LatentStatistics",
    "LatentWalk",
    "MedXGANCounterfactual",
    "Refinement",
    "Translate",
    "Translation",
    "as_published",
    "decision_boundary",
    "find_attributes",
    "fit_direction",
    "invert",
    "least_step",
    "mean_curvature",
    "published_walk",
    "spread",
]
