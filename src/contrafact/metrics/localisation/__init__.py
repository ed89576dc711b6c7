"""Metrics of localisation: how well a map agrees with a mask of the true cause."""
