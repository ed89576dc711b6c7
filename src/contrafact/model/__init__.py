"""The network under study: predictors, targets, preprocessing. torch begins here."""

from contrafact.model.inspection import Findings, inspect_network
from contrafact.model.loading import load_predictor, preprocessing_from, read_weights
from contrafact.model.parsing import FORMS, parse_target
from contrafact.model.predictors import AnyPredictor, BlackBox, TorchPredictor, last_spatial_layer
from contrafact.model.preprocessing import Preprocessing, resize
from contrafact.model.regions import FrozenRegion, RegionTarget, class_sizes
from contrafact.model.steadiness import Steadiness, steadiness
from contrafact.model.targets import OUTPUTS, log_odds, probabilities
from contrafact.model.tiling import TiledPredictor

__all__ = [
    "FORMS",
    "OUTPUTS",
    "AnyPredictor",
    "BlackBox",
    "Findings",
    "FrozenRegion",
    "Preprocessing",
    "RegionTarget",
    "Steadiness",
    "TiledPredictor",
    "TorchPredictor",
    "class_sizes",
    "inspect_network",
    "last_spatial_layer",
    "load_predictor",
    "log_odds",
    "parse_target",
    "preprocessing_from",
    "probabilities",
    "read_weights",
    "resize",
    "steadiness",
]
