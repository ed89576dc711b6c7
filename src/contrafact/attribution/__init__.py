"""Heatmap methods, one per file; importing this package registers them."""

from contrafact.attribution.attention.attention_rollout import AttentionRollout
from contrafact.attribution.attention.gradient_attention import GradientAttention
from contrafact.attribution.cam.ablation_cam import AblationCAM
from contrafact.attribution.cam.class_activation import MEMBERS, cam_panel
from contrafact.attribution.cam.eigencam import EigenCAM
from contrafact.attribution.cam.finer_cam import FinerCAM
from contrafact.attribution.cam.gradcam import GradCAM
from contrafact.attribution.cam.gradcam_plus_plus import GradCAMPlusPlus
from contrafact.attribution.cam.guided_gradcam import GuidedGradCAM
from contrafact.attribution.cam.hirescam import HiResCAM
from contrafact.attribution.cam.layercam import LayerCAM
from contrafact.attribution.cam.score_cam import ScoreCAM
from contrafact.attribution.cam.xgradcam import XGradCAM
from contrafact.attribution.gradient.blur_integrated_gradients import BlurIntegratedGradients
from contrafact.attribution.gradient.deconvolution import Deconvolution
from contrafact.attribution.gradient.expected_gradients import ExpectedGradients
from contrafact.attribution.gradient.filter_guided_backprop import FilterGuidedBackprop
from contrafact.attribution.gradient.gradient import Gradient
from contrafact.attribution.gradient.gradient_shap import GradientSHAP
from contrafact.attribution.gradient.guided_backprop import GuidedBackprop
from contrafact.attribution.gradient.input_x_gradient import InputXGradient
from contrafact.attribution.gradient.integrated_gradients import IntegratedGradients
from contrafact.attribution.gradient.smooth import Smooth
from contrafact.attribution.layer.internal_influence import InternalInfluence
from contrafact.attribution.layer.layer_activation import LayerActivation
from contrafact.attribution.layer.layer_conductance import LayerConductance
from contrafact.attribution.layer.layer_deeplift import LayerDeepLIFT
from contrafact.attribution.layer.layer_gradient_shap import LayerGradientSHAP
from contrafact.attribution.optimisation.activation_maximisation import ActivationMaximisation
from contrafact.attribution.optimisation.deep_dream import DeepDream
from contrafact.attribution.optimisation.feature_inversion import FeatureInversion
from contrafact.attribution.optimisation.feature_visualisation import FeatureVisualisation
from contrafact.attribution.perturbation.extremal_perturbation import ExtremalPerturbation
from contrafact.attribution.perturbation.feature_ablation import FeatureAblation
from contrafact.attribution.perturbation.feature_permutation import FeaturePermutation
from contrafact.attribution.perturbation.kernel_shap import KernelSHAP
from contrafact.attribution.perturbation.lime import LIME
from contrafact.attribution.perturbation.occlusion import Occlusion
from contrafact.attribution.perturbation.rise import RISE
from contrafact.attribution.perturbation.shapley_sampling import ShapleySampling
from contrafact.attribution.relevance.deeplift import DeepLIFT
from contrafact.attribution.relevance.deeplift_shap import DeepLIFTSHAP
from contrafact.attribution.relevance.excitation_backprop import ExcitationBackprop
from contrafact.attribution.relevance.lrp import LRP
from contrafact.attribution.torchesegeta_names import NAMES as TORCHESEGETA_NAMES

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
