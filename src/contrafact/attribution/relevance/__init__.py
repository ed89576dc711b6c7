"""Heatmaps from relevance propagated backwards layer by layer."""
