"""Heatmaps: one method, one file. Importing this room registers its methods."""

from contrafact.attribution.ablation_cam import AblationCAM
from contrafact.attribution.activation_maximisation import ActivationMaximisation
from contrafact.attribution.attention_rollout import AttentionRollout
from contrafact.attribution.blur_integrated_gradients import BlurIntegratedGradients
from contrafact.attribution.cam import MEMBERS, cam_panel
from contrafact.attribution.deconvolution import Deconvolution
from contrafact.attribution.deep_dream import DeepDream
from contrafact.attribution.deeplift import DeepLIFT
from contrafact.attribution.deeplift_shap import DeepLIFTSHAP
from contrafact.attribution.eigencam import EigenCAM
from contrafact.attribution.excitation_backprop import ExcitationBackprop
from contrafact.attribution.expected_gradients import ExpectedGradients
from contrafact.attribution.extremal_perturbation import ExtremalPerturbation
from contrafact.attribution.feature_ablation import FeatureAblation
from contrafact.attribution.feature_inversion import FeatureInversion
from contrafact.attribution.feature_permutation import FeaturePermutation
from contrafact.attribution.feature_visualisation import FeatureVisualisation
from contrafact.attribution.filter_guided_backprop import FilterGuidedBackprop
from contrafact.attribution.finer_cam import FinerCAM
from contrafact.attribution.gradcam import GradCAM
from contrafact.attribution.gradcam_plus_plus import GradCAMPlusPlus
from contrafact.attribution.gradient import Gradient
from contrafact.attribution.gradient_attention import GradientAttention
from contrafact.attribution.gradient_shap import GradientSHAP
from contrafact.attribution.guided_backprop import GuidedBackprop
from contrafact.attribution.guided_gradcam import GuidedGradCAM
from contrafact.attribution.hirescam import HiResCAM
from contrafact.attribution.input_x_gradient import InputXGradient
from contrafact.attribution.integrated_gradients import IntegratedGradients
from contrafact.attribution.internal_influence import InternalInfluence
from contrafact.attribution.kernel_shap import KernelSHAP
from contrafact.attribution.layer_activation import LayerActivation
from contrafact.attribution.layer_conductance import LayerConductance
from contrafact.attribution.layer_deeplift import LayerDeepLIFT
from contrafact.attribution.layer_gradient_shap import LayerGradientSHAP
from contrafact.attribution.layercam import LayerCAM
from contrafact.attribution.lime import LIME
from contrafact.attribution.lrp import LRP
from contrafact.attribution.occlusion import Occlusion
from contrafact.attribution.rise import RISE
from contrafact.attribution.score_cam import ScoreCAM
from contrafact.attribution.shapley_sampling import ShapleySampling
from contrafact.attribution.smooth import Smooth
from contrafact.attribution.torchesegeta import NAMES as TORCHESEGETA_NAMES
from contrafact.attribution.xgradcam import XGradCAM

__all__ = [
    "LIME",
    "LRP",
    "MEMBERS",
    "RISE",
    "TORCHESEGETA_NAMES",
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
    "LayerActivation",
    "LayerCAM",
    "LayerConductance",
    "LayerDeepLIFT",
    "LayerGradientSHAP",
    "Occlusion",
    "ScoreCAM",
    "ShapleySampling",
    "Smooth",
    "XGradCAM",
    "cam_panel",
]
