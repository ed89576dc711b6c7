"""How far an explanation can be trusted: one metric, one file, and a panel that shares the passes."""

from contrafact.metrics.auprc import AUPRC
from contrafact.metrics.completeness import Completeness
from contrafact.metrics.complexity import Complexity
from contrafact.metrics.deletion import Deletion
from contrafact.metrics.effective_mass import EffectiveMass
from contrafact.metrics.evaluation import Score, evaluate
from contrafact.metrics.faithfulness_correlation import FaithfulnessCorrelation
from contrafact.metrics.faithfulness_estimate import FaithfulnessEstimate
from contrafact.metrics.infidelity import Infidelity
from contrafact.metrics.insertion import Insertion
from contrafact.metrics.iou import IoU
from contrafact.metrics.irof import IROF
from contrafact.metrics.monotonicity import Monotonicity
from contrafact.metrics.monotonicity_correlation import MonotonicityCorrelation
from contrafact.metrics.panel import Panel
from contrafact.metrics.pixel_flipping import PixelFlipping
from contrafact.metrics.pointing_game import PointingGame
from contrafact.metrics.region_perturbation import RegionPerturbation
from contrafact.metrics.relevance_mass import RelevanceMass
from contrafact.metrics.relevance_rank import RelevanceRank
from contrafact.metrics.road import ROAD
from contrafact.metrics.selectivity import Selectivity
from contrafact.metrics.sensitivity_n import SensitivityN
from contrafact.metrics.sparseness import Sparseness
from contrafact.metrics.sufficiency import Sufficiency

__all__ = [
    "AUPRC",
    "IROF",
    "ROAD",
    "Completeness",
    "Complexity",
    "Deletion",
    "EffectiveMass",
    "FaithfulnessCorrelation",
    "FaithfulnessEstimate",
    "Infidelity",
    "Insertion",
    "IoU",
    "Monotonicity",
    "MonotonicityCorrelation",
    "Panel",
    "PixelFlipping",
    "PointingGame",
    "RegionPerturbation",
    "RelevanceMass",
    "RelevanceRank",
    "Score",
    "Selectivity",
    "SensitivityN",
    "Sparseness",
    "Sufficiency",
    "evaluate",
]
