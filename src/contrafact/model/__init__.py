"""The network under study: predictors, targets, preprocessing. torch begins here."""

from contrafact.model.loading import load_predictor, preprocessing_from, read_weights
from contrafact.model.parsing import FORMS, parse_target
from contrafact.model.predictors import AnyPredictor, BlackBox, TorchPredictor, last_spatial_layer
from contrafact.model.preprocessing import Preprocessing, resize
from contrafact.model.regions import FrozenRegion, RegionTarget, predicted
from contrafact.model.targets import OUTPUTS, log_odds, probabilities
from contrafact.model.tiling import TiledPredictor

__all__ = [
    "FORMS",
    "OUTPUTS",
    "AnyPredictor",
    "BlackBox",
    "FrozenRegion",
    "Preprocessing",
    "RegionTarget",
    "TiledPredictor",
    "TorchPredictor",
    "last_spatial_layer",
    "load_predictor",
    "log_odds",
    "parse_target",
    "predicted",
    "preprocessing_from",
    "probabilities",
    "read_weights",
    "resize",
]
