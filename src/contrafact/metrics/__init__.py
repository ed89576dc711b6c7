"""How far an explanation can be trusted: one metric, one file, and a panel that shares the passes."""

from contrafact.metrics.agreement import Agreement
from contrafact.metrics.data_randomisation import DataRandomisation
from contrafact.metrics.deletion import Deletion
from contrafact.metrics.emprt import EfficientMPRT
from contrafact.metrics.evaluation import Score, evaluate
from contrafact.metrics.infidelity import Infidelity
from contrafact.metrics.max_sensitivity import MaxSensitivity
from contrafact.metrics.mprt import MPRT
from contrafact.metrics.mprt_independent import MPRTIndependent
from contrafact.metrics.panel import Panel
from contrafact.metrics.random_logit import RandomLogit
from contrafact.metrics.randomisation import random_map, randomisation_curve
from contrafact.metrics.stability import Stability
from contrafact.metrics.trust import Check, Thresholds, card_as_json, trust_card
from contrafact.metrics.trust_of_strip import trust_card_of_strip

__all__ = [
    "MPRT",
    "Agreement",
    "Check",
    "DataRandomisation",
    "Deletion",
    "EfficientMPRT",
    "Infidelity",
    "MPRTIndependent",
    "MaxSensitivity",
    "Panel",
    "RandomLogit",
    "Score",
    "Stability",
    "Thresholds",
    "card_as_json",
    "evaluate",
    "random_map",
    "randomisation_curve",
    "trust_card",
    "trust_card_of_strip",
]
