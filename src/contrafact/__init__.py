# ruff: noqa: F403
"""Contrafact explains what a deep network saw in a medical image.

Where (heatmaps), how (the same image changed until the prediction flips), and how far to trust it
(measured faithfulness, stability, realism; the model's score on every frame; a second model's verdict).
Importing this package does not import torch: names load when they are used.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from contrafact.core.display import draw_with, plot_with

if TYPE_CHECKING:
    from contrafact.api.evaluation import evaluate as evaluate
    from contrafact.api.explanation import explain as explain
    from contrafact.api.explanation import fit as fit
    from contrafact.api.explanation import load_bundle as load_bundle
    from contrafact.api.explanation import load_predictor as load_predictor
    from contrafact.api.nearest import CaseLibrary as CaseLibrary
    from contrafact.api.nearest import nearest_cases as nearest_cases
    from contrafact.attribution import *
    from contrafact.core import ContrafactError as ContrafactError
    from contrafact.core import Counterfactual as Counterfactual
    from contrafact.core import EmptyMapWarning as EmptyMapWarning
    from contrafact.core import Grid as Grid
    from contrafact.core import Heatmap as Heatmap
    from contrafact.core import Image as Image
    from contrafact.core import InputError as InputError
    from contrafact.core import InputRangeWarning as InputRangeWarning
    from contrafact.core import NearestCases as NearestCases
    from contrafact.core import RealCase as RealCase
    from contrafact.core import Record as Record
    from contrafact.core import UnsupportedError as UnsupportedError
    from contrafact.core import read_result as read_result
    from contrafact.counterfactual import *
    from contrafact.io import read_image as read_image
    from contrafact.io import set_largest_image as set_largest_image
    from contrafact.metrics import AUPRC as AUPRC
    from contrafact.metrics import COUT as COUT
    from contrafact.metrics import IROF as IROF
    from contrafact.metrics import MPRT as MPRT
    from contrafact.metrics import ROAD as ROAD
    from contrafact.metrics import AdversarialNull as AdversarialNull
    from contrafact.metrics import Agreement as Agreement
    from contrafact.metrics import CalibrationGap as CalibrationGap
    from contrafact.metrics import CentreReference as CentreReference
    from contrafact.metrics import ChangeIoU as ChangeIoU
    from contrafact.metrics import ChangeShare as ChangeShare
    from contrafact.metrics import Completeness as Completeness
    from contrafact.metrics import Complexity as Complexity
    from contrafact.metrics import Composition as Composition
    from contrafact.metrics import DataRandomisation as DataRandomisation
    from contrafact.metrics import Deletion as Deletion
    from contrafact.metrics import Drift as Drift
    from contrafact.metrics import EdgeReference as EdgeReference
    from contrafact.metrics import EffectiveMass as EffectiveMass
    from contrafact.metrics import EfficientMPRT as EfficientMPRT
    from contrafact.metrics import FactorCorrelation as FactorCorrelation
    from contrafact.metrics import FaithfulnessCorrelation as FaithfulnessCorrelation
    from contrafact.metrics import FaithfulnessEstimate as FaithfulnessEstimate
    from contrafact.metrics import Identity as Identity
    from contrafact.metrics import Infidelity as Infidelity
    from contrafact.metrics import Insertion as Insertion
    from contrafact.metrics import IoU as IoU
    from contrafact.metrics import LatentLength as LatentLength
    from contrafact.metrics import MaxSensitivity as MaxSensitivity
    from contrafact.metrics import Monotonicity as Monotonicity
    from contrafact.metrics import MonotonicityCorrelation as MonotonicityCorrelation
    from contrafact.metrics import MPRTIndependent as MPRTIndependent
    from contrafact.metrics import OffFactor as OffFactor
    from contrafact.metrics import OffTarget as OffTarget
    from contrafact.metrics import OracleAgreement as OracleAgreement
    from contrafact.metrics import OracleChange as OracleChange
    from contrafact.metrics import PerceptualDistance as PerceptualDistance
    from contrafact.metrics import PixelFlipping as PixelFlipping
    from contrafact.metrics import PointingGame as PointingGame
    from contrafact.metrics import Proximity as Proximity
    from contrafact.metrics import ProximitySSIM as ProximitySSIM
    from contrafact.metrics import RandomDirection as RandomDirection
    from contrafact.metrics import RandomLogit as RandomLogit
    from contrafact.metrics import RandomReference as RandomReference
    from contrafact.metrics import Realism as Realism
    from contrafact.metrics import ReconstructionError as ReconstructionError
    from contrafact.metrics import ReconstructionPSNR as ReconstructionPSNR
    from contrafact.metrics import ReconstructionSSIM as ReconstructionSSIM
    from contrafact.metrics import RegionPerturbation as RegionPerturbation
    from contrafact.metrics import RelevanceMass as RelevanceMass
    from contrafact.metrics import RelevanceRank as RelevanceRank
    from contrafact.metrics import Reversibility as Reversibility
    from contrafact.metrics import Selectivity as Selectivity
    from contrafact.metrics import SensitivityN as SensitivityN
    from contrafact.metrics import ShortcutShare as ShortcutShare
    from contrafact.metrics import SignChanges as SignChanges
    from contrafact.metrics import Sparseness as Sparseness
    from contrafact.metrics import Sparsity as Sparsity
    from contrafact.metrics import Stability as Stability
    from contrafact.metrics import StepMonotonicity as StepMonotonicity
    from contrafact.metrics import Sufficiency as Sufficiency
    from contrafact.metrics import Thresholds as Thresholds
    from contrafact.metrics import TrustCard as TrustCard
    from contrafact.metrics import Validity as Validity
    from contrafact.models import BoxScore as BoxScore
    from contrafact.models import Preprocessing as Preprocessing
    from contrafact.models import SimilarityTarget as SimilarityTarget
    from contrafact.study.runner import study as study

_PLACES = {
    "contrafact.api.evaluation": ("evaluate",),
    "contrafact.api.nearest": ("CaseLibrary", "nearest_cases"),
    "contrafact.api.explanation": (
        "explain",
        "fit",
        "load_bundle",
        "load_predictor",
    ),
    "contrafact.attribution": (
        "AblationCAM",
        "ActivationMaximisation",
        "AttentionRollout",
        "BlurIntegratedGradients",
        "Deconvolution",
        "DeepDream",
        "DeepLIFT",
        "DeepLIFTSHAP",
        "EigenCAM",
        "ExcitationBackprop",
        "ExpectedGradients",
        "ExtremalPerturbation",
        "FeatureAblation",
        "FeatureInversion",
        "FeaturePermutation",
        "FeatureVisualisation",
        "FilterGuidedBackprop",
        "FinerCAM",
        "GradCAM",
        "GradCAMPlusPlus",
        "Gradient",
        "GradientAttention",
        "GradientSHAP",
        "GuidedBackprop",
        "GuidedGradCAM",
        "HiResCAM",
        "InputXGradient",
        "IntegratedGradients",
        "InternalInfluence",
        "KernelSHAP",
        "LIME",
        "LRP",
        "LayerActivation",
        "LayerCAM",
        "LayerConductance",
        "LayerDeepLIFT",
        "LayerGradientSHAP",
        "Occlusion",
        "RISE",
        "ScoreCAM",
        "ShapleySampling",
        "Smooth",
        "XGradCAM",
    ),
    "contrafact.core": (
        "ContrafactError",
        "Counterfactual",
        "EmptyMapWarning",
        "Grid",
        "Heatmap",
        "Image",
        "InputError",
        "InputRangeWarning",
        "NearestCases",
        "RealCase",
        "Record",
        "UnsupportedError",
        "read_result",
    ),
    "contrafact.counterfactual": (
        "Attribute",
        "BestCounterfactual",
        "Bundle",
        "LatentIntegratedGradients",
        "LatentShift",
        "LatentWalk",
        "MedXGANCounterfactual",
        "Refinement",
        "Translate",
        "find_attributes",
    ),
    "contrafact.io": ("read_image", "set_largest_image"),
    "contrafact.metrics": (
        "AUPRC",
        "AdversarialNull",
        "Agreement",
        "COUT",
        "CalibrationGap",
        "CentreReference",
        "ChangeIoU",
        "ChangeShare",
        "Completeness",
        "Complexity",
        "Composition",
        "DataRandomisation",
        "Deletion",
        "Drift",
        "EdgeReference",
        "EffectiveMass",
        "EfficientMPRT",
        "FactorCorrelation",
        "FaithfulnessCorrelation",
        "FaithfulnessEstimate",
        "IROF",
        "Identity",
        "Infidelity",
        "Insertion",
        "IoU",
        "LatentLength",
        "MPRT",
        "MPRTIndependent",
        "MaxSensitivity",
        "Monotonicity",
        "MonotonicityCorrelation",
        "OffFactor",
        "OffTarget",
        "OracleAgreement",
        "OracleChange",
        "PerceptualDistance",
        "PixelFlipping",
        "PointingGame",
        "Proximity",
        "ProximitySSIM",
        "ROAD",
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
    ),
    "contrafact.models": ("BoxScore", "Preprocessing", "SimilarityTarget"),
    "contrafact.study.runner": ("study",),
}
_HOMES = {name: place for place, names in _PLACES.items() for name in names}
# Names before 0.2, for one release: name -> (what it is called now, where).
_RENAMED = {
    "Strip": ("Counterfactual", "contrafact.core"),
    "FindingPath": ("MedXGANCounterfactual", "contrafact.counterfactual"),
}
__all__ = list(_HOMES)

draw_with("contrafact.report.notebook")
plot_with("contrafact.render.plotting")


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        now, place = _RENAMED[name]
        warnings.warn(f"contrafact.{name} is called contrafact.{now} now", DeprecationWarning, stacklevel=2)
        return getattr(import_module(place), now)
    if name not in _HOMES:
        raise AttributeError(f"module 'contrafact' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
