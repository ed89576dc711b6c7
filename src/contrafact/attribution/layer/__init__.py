"""Heatmaps of the activations and contributions of one layer."""
