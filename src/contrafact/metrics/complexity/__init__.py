"""Metrics of complexity: how concentrated a map is on few voxels."""
