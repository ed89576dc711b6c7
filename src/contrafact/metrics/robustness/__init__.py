"""Metrics of robustness: how stable a map is under noise, other random seeds and other methods."""
