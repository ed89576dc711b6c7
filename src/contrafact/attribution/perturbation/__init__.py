"""Heatmaps from hiding parts of the image: no gradients needed."""
