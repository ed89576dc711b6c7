"""Data types, protocols, registries, errors, configuration and `explain()`. Depends on NumPy only."""

from contrafact.core.configuration import check_types, configure, read_toml, to_toml, toml_value
from contrafact.core.errors import (
    ContrafactError,
    ContrafactWarning,
    EmptyMapWarning,
    InputError,
    InputRangeWarning,
    UnsupportedError,
    nearest,
)
from contrafact.core.execution import explain
from contrafact.core.fingerprint import fingerprint
from contrafact.core.grid import Grid
from contrafact.core.image import Image, digest
from contrafact.core.masks import is_label_map, labels_in, mask_of
from contrafact.core.predictor_adapter import adapted, is_predictor
from contrafact.core.protocols import (
    BoxAnswers,
    EncodedImages,
    Encoder,
    FeatureLayer,
    Generator,
    ImageTranslator,
    Predictor,
    Target,
)
from contrafact.core.question import Explainer, Question
from contrafact.core.read_stored import read_result
from contrafact.core.real_cases import NearestCases, RealCase
from contrafact.core.registry import EXPLAINERS, FORMATS, GENERATORS, METRICS, Registry
from contrafact.core.request import Request
from contrafact.core.results import Counterfactual, Heatmap, Record
from contrafact.core.traits import Traits, engines, traits_of
from contrafact.core.trust import UNTRUSTED, Trust, check_file, inside, is_folder, is_there, resolved

__all__ = [
    "EXPLAINERS",
    "FORMATS",
    "GENERATORS",
    "METRICS",
    "UNTRUSTED",
    "BoxAnswers",
    "ContrafactError",
    "ContrafactWarning",
    "Counterfactual",
    "EmptyMapWarning",
    "EncodedImages",
    "Encoder",
    "Explainer",
    "FeatureLayer",
    "Generator",
    "Grid",
    "Heatmap",
    "Image",
    "ImageTranslator",
    "InputError",
    "InputRangeWarning",
    "NearestCases",
    "Predictor",
    "Question",
    "RealCase",
    "Record",
    "Registry",
    "Request",
    "Target",
    "Traits",
    "Trust",
    "UnsupportedError",
    "adapted",
    "check_file",
    "check_types",
    "configure",
    "digest",
    "engines",
    "explain",
    "fingerprint",
    "inside",
    "is_folder",
    "is_label_map",
    "is_predictor",
    "is_there",
    "labels_in",
    "mask_of",
    "nearest",
    "read_result",
    "read_toml",
    "resolved",
    "to_toml",
    "toml_value",
    "traits_of",
]
