"""How far an explanation can be trusted: one metric, one file; a panel of maps, and a strip put to the test,
that share the passes."""

from contrafact.metrics.adversarial_null import AdversarialNull, adversarial_null
from contrafact.metrics.agreement import Agreement
from contrafact.metrics.auprc import AUPRC
from contrafact.metrics.calibration import CalibrationGap, calibration_slope
from contrafact.metrics.change_iou import ChangeIoU
from contrafact.metrics.change_share import ChangeShare, ShortcutShare
from contrafact.metrics.completeness import Completeness
from contrafact.metrics.complexity import Complexity
from contrafact.metrics.composition import Composition
from contrafact.metrics.cout import COUT
from contrafact.metrics.data_randomisation import DataRandomisation
from contrafact.metrics.deletion import Deletion
from contrafact.metrics.diversity import diversity
from contrafact.metrics.effective_mass import EffectiveMass
from contrafact.metrics.emprt import EfficientMPRT
from contrafact.metrics.evaluation import Score, evaluate, evaluate_strips
from contrafact.metrics.factor_correlation import FactorCorrelation
from contrafact.metrics.faithfulness_correlation import FaithfulnessCorrelation
from contrafact.metrics.faithfulness_estimate import FaithfulnessEstimate
from contrafact.metrics.identity import Identity
from contrafact.metrics.infidelity import Infidelity
from contrafact.metrics.insertion import Insertion
from contrafact.metrics.iou import IoU
from contrafact.metrics.irof import IROF
from contrafact.metrics.latent_length import LatentLength
from contrafact.metrics.max_sensitivity import MaxSensitivity
from contrafact.metrics.monotonicity import Monotonicity
from contrafact.metrics.monotonicity_correlation import MonotonicityCorrelation
from contrafact.metrics.mprt import MPRT
from contrafact.metrics.mprt_independent import MPRTIndependent
from contrafact.metrics.off_factor import OffFactor
from contrafact.metrics.off_target import OffTarget, alignment
from contrafact.metrics.oracle_agreement import OracleAgreement, verdict
from contrafact.metrics.oracle_change import OracleChange
from contrafact.metrics.panel import Panel
from contrafact.metrics.perceptual_distance import PerceptualDistance
from contrafact.metrics.pixel_flipping import PixelFlipping
from contrafact.metrics.pointing_game import PointingGame
from contrafact.metrics.proximity import Proximity
from contrafact.metrics.proximity_ssim import ProximitySSIM
from contrafact.metrics.random_direction import RandomDirection
from contrafact.metrics.random_logit import RandomLogit
from contrafact.metrics.randomisation import random_map, randomisation_curve
from contrafact.metrics.realism import Realism, realism
from contrafact.metrics.reconstruction import Drift, ReconstructionError, ReconstructionPSNR, ReconstructionSSIM
from contrafact.metrics.references import CentreReference, EdgeReference, RandomReference, references
from contrafact.metrics.region_perturbation import RegionPerturbation
from contrafact.metrics.relevance_mass import RelevanceMass
from contrafact.metrics.relevance_rank import RelevanceRank
from contrafact.metrics.reversibility import Reversibility
from contrafact.metrics.road import ROAD
from contrafact.metrics.selectivity import Selectivity
from contrafact.metrics.sensitivity_n import SensitivityN
from contrafact.metrics.sign_changes import SignChanges
from contrafact.metrics.sparseness import Sparseness
from contrafact.metrics.sparsity import Sparsity
from contrafact.metrics.stability import Stability
from contrafact.metrics.step_monotonicity import StepMonotonicity
from contrafact.metrics.sufficiency import Sufficiency
from contrafact.metrics.trust import Check, Thresholds, TrustCard, card_as_json, trust_card
from contrafact.metrics.trust_of_strip import trust_card_of_strip
from contrafact.metrics.validity import Validity
from contrafact.metrics.walked import Factor, Walked

__all__ = [
    "AUPRC",
    "COUT",
    "IROF",
    "MPRT",
    "ROAD",
    "AdversarialNull",
    "Agreement",
    "CalibrationGap",
    "CentreReference",
    "ChangeIoU",
    "ChangeShare",
    "Check",
    "Completeness",
    "Complexity",
    "Composition",
    "DataRandomisation",
    "Deletion",
    "Drift",
    "EdgeReference",
    "EffectiveMass",
    "EfficientMPRT",
    "Factor",
    "FactorCorrelation",
    "FaithfulnessCorrelation",
    "FaithfulnessEstimate",
    "Identity",
    "Infidelity",
    "Insertion",
    "IoU",
    "LatentLength",
    "MPRTIndependent",
    "MaxSensitivity",
    "Monotonicity",
    "MonotonicityCorrelation",
    "OffFactor",
    "OffTarget",
    "OracleAgreement",
    "OracleChange",
    "Panel",
    "PerceptualDistance",
    "PixelFlipping",
    "PointingGame",
    "Proximity",
    "ProximitySSIM",
    "RandomDirection",
    "RandomLogit",
    "RandomReference",
    "Realism",
    "ReconstructionError",
    "ReconstructionPSNR",
    "ReconstructionSSIM",
    "RegionPerturbation",
    "RelevanceMass",
    "RelevanceRank",
    "Reversibility",
    "Score",
    "Selectivity",
    "SensitivityN",
    "ShortcutShare",
    "SignChanges",
    "Sparseness",
    "Sparsity",
    "Stability",
    "StepMonotonicity",
    "Sufficiency",
    "Thresholds",
    "TrustCard",
    "Validity",
    "Walked",
    "adversarial_null",
    "alignment",
    "calibration_slope",
    "card_as_json",
    "diversity",
    "evaluate",
    "evaluate_strips",
    "random_map",
    "randomisation_curve",
    "realism",
    "references",
    "trust_card",
    "trust_card_of_strip",
    "verdict",
]
