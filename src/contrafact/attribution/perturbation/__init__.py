"""Heatmaps from hiding parts of the image, mostly without gradients."""
