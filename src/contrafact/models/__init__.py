"""The network under study: predictors, targets, preprocessing. The first package that imports torch."""

from contrafact.models.box_score import BoxScore
from contrafact.models.determinism import Steadiness, steadiness
from contrafact.models.inspection import Findings, inspect_network
from contrafact.models.loading import as_predictor, load_predictor
from contrafact.models.predictor_info import class_names
from contrafact.models.predictors import AnyPredictor, BlackBox, TorchPredictor, last_spatial_layer
from contrafact.models.preprocessing import Preprocessing, preprocessing_from, resize
from contrafact.models.region_targets import FrozenRegion, RegionTarget, class_sizes
from contrafact.models.similarity_target import SimilarityTarget
from contrafact.models.target_syntax import FORMS, parse_target
from contrafact.models.targets import OUTPUTS, log_odds, probabilities
from contrafact.models.tiling import TiledPredictor
from contrafact.models.weights import read_weights

__all__ = [
    "FORMS",
    "OUTPUTS",
    "AnyPredictor",
    "BlackBox",
    "BoxScore",
    "Findings",
    "FrozenRegion",
    "Preprocessing",
    "RegionTarget",
    "SimilarityTarget",
    "Steadiness",
    "TiledPredictor",
    "TorchPredictor",
    "as_predictor",
    "class_names",
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
