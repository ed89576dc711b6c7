"""Hide parts of an image: fill values, groups of voxels, and batches that fit in memory."""

from contrafact.perturbation.features import feature_labels
from contrafact.perturbation.fill import fill_values, gaussian
from contrafact.perturbation.memory import out_of_memory, portions, remade

__all__ = ["feature_labels", "fill_values", "gaussian", "out_of_memory", "portions", "remade"]
