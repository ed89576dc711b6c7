"""Heatmaps of what one layer holds or passes on."""
