"""Bundles on disk: weights as safetensors, everything else as JSON, with a model card.

bundle.json           generator size, window, predictors, fit of the directions, card
generator.safetensors, encoder.safetensors, statistics.safetensors (half precision)
classifier.json + classifier.safetensors, ...      predictors as `load_predictor` reads them
MODEL_CARD.md
"""

from contrafact.bundles.store import find_bundle, list_bundles, load_bundle, save_bundle
from contrafact.counterfactual import Bundle

__all__ = ["Bundle", "find_bundle", "list_bundles", "load_bundle", "save_bundle"]
