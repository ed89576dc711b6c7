
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

__all__ = [
    "MPRT",
    "Agreement",
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
    "evaluate",
    "random_map",
    "randomisation_curve",
]
