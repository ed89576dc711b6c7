"""Metrics of explanations, one per file, and the contexts through which they share the model's outputs."""

from contrafact.metrics.complexity.effective_mass import EffectiveMass
from contrafact.metrics.complexity.entropy import Complexity
from contrafact.metrics.complexity.sparseness import Sparseness
from contrafact.metrics.counterfactual.adversarial_null import AdversarialNull, adversarial_null
from contrafact.metrics.counterfactual.calibration import CalibrationGap, calibration_slope
from contrafact.metrics.counterfactual.change_iou import ChangeIoU
from contrafact.metrics.counterfactual.change_share import ChangeShare, ShortcutShare
from contrafact.metrics.counterfactual.composition import Composition
from contrafact.metrics.counterfactual.cout import COUT
from contrafact.metrics.counterfactual.diversity import diversity
from contrafact.metrics.counterfactual.factor_correlation import FactorCorrelation
from contrafact.metrics.counterfactual.identity import Identity
from contrafact.metrics.counterfactual.latent_length import LatentLength
from contrafact.metrics.counterfactual.off_factor import OffFactor
from contrafact.metrics.counterfactual.off_target import OffTarget, alignment
from contrafact.metrics.counterfactual.oracle_agreement import OracleAgreement, verdict
from contrafact.metrics.counterfactual.oracle_change import OracleChange
from contrafact.metrics.counterfactual.perceptual_distance import PerceptualDistance
from contrafact.metrics.counterfactual.proximity import Proximity
from contrafact.metrics.counterfactual.proximity_ssim import ProximitySSIM
from contrafact.metrics.counterfactual.random_direction import RandomDirection
from contrafact.metrics.counterfactual.realism import Realism, realism
from contrafact.metrics.counterfactual.reconstruction import (
    Drift,
    ReconstructionError,
    ReconstructionPSNR,
    ReconstructionSSIM,
)
from contrafact.metrics.counterfactual.reversibility import Reversibility
from contrafact.metrics.counterfactual.sign_changes import SignChanges
from contrafact.metrics.counterfactual.sparsity import Sparsity
from contrafact.metrics.counterfactual.step_monotonicity import StepMonotonicity
from contrafact.metrics.counterfactual.validity import Validity
from contrafact.metrics.counterfactual_context import CounterfactualContext, Factor
from contrafact.metrics.evaluation import Score, evaluate, evaluate_strips
from contrafact.metrics.faithfulness.completeness import Completeness
from contrafact.metrics.faithfulness.deletion import Deletion
from contrafact.metrics.faithfulness.faithfulness_correlation import FaithfulnessCorrelation
from contrafact.metrics.faithfulness.faithfulness_estimate import FaithfulnessEstimate
from contrafact.metrics.faithfulness.infidelity import Infidelity
from contrafact.metrics.faithfulness.insertion import Insertion
from contrafact.metrics.faithfulness.irof import IROF
from contrafact.metrics.faithfulness.monotonicity import Monotonicity
from contrafact.metrics.faithfulness.monotonicity_correlation import MonotonicityCorrelation
from contrafact.metrics.faithfulness.pixel_flipping import PixelFlipping
from contrafact.metrics.faithfulness.region_perturbation import RegionPerturbation
from contrafact.metrics.faithfulness.road import ROAD
from contrafact.metrics.faithfulness.selectivity import Selectivity
from contrafact.metrics.faithfulness.sensitivity_n import SensitivityN
from contrafact.metrics.faithfulness.sufficiency import Sufficiency
from contrafact.metrics.heatmap_context import HeatmapContext
from contrafact.metrics.localisation.auprc import AUPRC
from contrafact.metrics.localisation.iou import IoU
from contrafact.metrics.localisation.pointing_game import PointingGame
from contrafact.metrics.localisation.relevance_mass import RelevanceMass
from contrafact.metrics.localisation.relevance_rank import RelevanceRank
from contrafact.metrics.randomisation.data_randomisation import DataRandomisation
from contrafact.metrics.randomisation.emprt import EfficientMPRT
from contrafact.metrics.randomisation.layers import random_map, randomisation_curve
from contrafact.metrics.randomisation.mprt import MPRT
from contrafact.metrics.randomisation.mprt_independent import MPRTIndependent
from contrafact.metrics.randomisation.random_logit import RandomLogit
from contrafact.metrics.reference_maps import CentreReference, EdgeReference, RandomReference, references
from contrafact.metrics.robustness.agreement import Agreement
from contrafact.metrics.robustness.max_sensitivity import MaxSensitivity
from contrafact.metrics.robustness.stability import Stability
from contrafact.metrics.trust.card import Check, Thresholds, TrustCard, card_as_json, trust_card
from contrafact.metrics.trust.counterfactual_card import trust_card_of_strip
from contrafact.metrics.trust.engine_agreement import OtherEngine

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
    "CounterfactualContext",
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
    "HeatmapContext",
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
    "OtherEngine",
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
