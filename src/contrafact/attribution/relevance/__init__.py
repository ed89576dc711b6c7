"""Heatmaps from relevance handed back layer by layer."""
