"""How far an explanation can be trusted: one metric, one file; a panel of maps, and a strip put to the test,
that share the passes."""

from contrafact.metrics.calibration import CalibrationGap, calibration_slope
from contrafact.metrics.change_iou import ChangeIoU
from contrafact.metrics.change_share import ChangeShare, ShortcutShare
from contrafact.metrics.composition import Composition
from contrafact.metrics.cout import COUT
from contrafact.metrics.deletion import Deletion
from contrafact.metrics.diversity import diversity
from contrafact.metrics.evaluation import Score, evaluate, evaluate_strips
from contrafact.metrics.factor_correlation import FactorCorrelation
from contrafact.metrics.identity import Identity
from contrafact.metrics.infidelity import Infidelity
from contrafact.metrics.latent_length import LatentLength
from contrafact.metrics.monotonicity import Monotonicity
from contrafact.metrics.off_factor import OffFactor
from contrafact.metrics.off_target import OffTarget, alignment
from contrafact.metrics.oracle_agreement import OracleAgreement, verdict
from contrafact.metrics.oracle_change import OracleChange
from contrafact.metrics.panel import Panel
from contrafact.metrics.perceptual_distance import PerceptualDistance
from contrafact.metrics.proximity import Proximity
from contrafact.metrics.proximity_ssim import ProximitySSIM
from contrafact.metrics.random_direction import RandomDirection
from contrafact.metrics.realism import Realism, realism
from contrafact.metrics.reconstruction import (
    Drift,
    ReconstructionError,
    ReconstructionPSNR,
    ReconstructionSSIM,
)
from contrafact.metrics.reversibility import Reversibility
from contrafact.metrics.sign_changes import SignChanges
from contrafact.metrics.sparsity import Sparsity
from contrafact.metrics.validity import Validity
from contrafact.metrics.walked import Factor, Walked

__all__ = [
    "COUT",
    "CalibrationGap",
    "ChangeIoU",
    "ChangeShare",
    "Composition",
    "Deletion",
    "Drift",
    "Factor",
    "FactorCorrelation",
    "Identity",
    "Infidelity",
    "LatentLength",
    "Monotonicity",
    "OffFactor",
    "OffTarget",
    "OracleAgreement",
    "OracleChange",
    "Panel",
    "PerceptualDistance",
    "Proximity",
    "ProximitySSIM",
    "RandomDirection",
    "Realism",
    "ReconstructionError",
    "ReconstructionPSNR",
    "ReconstructionSSIM",
    "Reversibility",
    "Score",
    "ShortcutShare",
    "SignChanges",
    "Sparsity",
    "Validity",
    "Walked",
    "alignment",
    "calibration_slope",
    "diversity",
    "evaluate",
    "evaluate_strips",
    "realism",
    "verdict",
]
