"""Heatmaps from the attention of transformers."""
