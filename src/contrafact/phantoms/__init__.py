"""Phantoms: synthetic images with planted findings and their masks."""

from contrafact.phantoms.knees import (
    KneeFactors,
    draw_factors,
    knee_phantom,
    measure_joint_space,
    measure_marker,
)
from contrafact.phantoms.lesions import lesion_phantom, vessel_phantom
from contrafact.phantoms.phantom import Phantom

__all__ = [
    "KneeFactors",
    "Phantom",
    "draw_factors",
    "knee_phantom",
    "lesion_phantom",
    "measure_joint_space",
    "measure_marker",
    "vessel_phantom",
]
