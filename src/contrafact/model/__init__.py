"""The network under study: predictors, targets, preprocessing. torch begins here."""

from contrafact.model.loading import load_predictor, preprocessing_from, read_weights
from contrafact.model.predictors import AnyPredictor, BlackBox, TorchPredictor, last_spatial_layer
from contrafact.model.preprocessing import Preprocessing, resize
from contrafact.model.targets import FORMS, OUTPUTS, log_odds, parse_target, probabilities

__all__ = [
    "FORMS",
    "OUTPUTS",
    "AnyPredictor",
    "BlackBox",
    "Preprocessing",
    "TorchPredictor",
    "last_spatial_layer",
    "load_predictor",
    "log_odds",
    "parse_target",
    "preprocessing_from",
    "probabilities",
    "read_weights",
    "resize",
]
