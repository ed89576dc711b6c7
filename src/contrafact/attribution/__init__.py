"""Heatmaps: one method, one file. Importing this room registers its methods."""

from contrafact.attribution.gradcam import GradCAM
from contrafact.attribution.integrated_gradients import IntegratedGradients
from contrafact.attribution.occlusion import Occlusion

__all__ = ["GradCAM", "IntegratedGradients", "Occlusion"]
