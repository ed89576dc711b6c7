"""Heatmaps from gradients with respect to the image."""
