"""Bundles on disk: weights as safetensors, everything else as JSON, a model card beside them.

bundle.json           generator size, window, predictors, directions' fit, card
generator.safetensors, encoder.safetensors, statistics.safetensors (half precision)
classifier.json + classifier.safetensors, ...      predictors as `load_predictor` reads them
MODEL_CARD.md
"""

from contrafact.bundles.store import find_bundle, list_bundles, load_bundle, save_bundle

__all__ = ["find_bundle", "list_bundles", "load_bundle", "save_bundle"]
