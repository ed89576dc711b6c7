"""Hiding part of an image: what stands there instead, which voxels go together, how many copies fit."""

from contrafact.perturbation.features import feature_labels
from contrafact.perturbation.fill import fill_values, gaussian
from contrafact.perturbation.memory import out_of_memory, portions, remade

__all__ = ["feature_labels", "fill_values", "gaussian", "out_of_memory", "portions", "remade"]
