"""The 39 method names of TorchEsegeta, registered as aliases.

Source: Chatterjee et al. 2021 (arXiv 2110.08429). docs/parity-torchesegeta.md compares the methods.
"""

from __future__ import annotations

from typing import Any

from contrafact.core import EXPLAINERS

NAMES: dict[str, str] = {
    "captum_Saliency": "gradient",
    "captum_Integrated_Gradients": "integrated-gradients",
    "captum_Feature_Ablation": "feature-ablation",
    "captum_occlusion": "occlusion",
    "captum_guided_backprop": "guided-backprop",
    "captum_deep_lift": "deeplift",
    "captum_deconvolution": "deconvolution",
    "captum_guided_grad_cam": "guided-gradcam",
    "captum_layer_activaltion": "layer-activation",
    "captum_layer_conductance": "layer-conductance",
    "captum_layer_grad_shap": "layer-gradient-shap",
    "captum_gradient_shap": "gradient-shap",
    "captum_internal_influence": "internal-influence",
    "captum_input_x_gradient": "input-x-gradient",
    "captum_deep_lift_shap": "deeplift-shap",
    "captum_LayerGradientXActivation": "hirescam",
    "captum_LayerDeepLift": "layer-deeplift",
    "captum_LayerGradCam": "gradcam",
    "captum_ShapleyValueSampling": "shapley-sampling",
    "cnn_vis_guided_backprop": "guided-backprop",
    "cnn_vis_integrated_grad": "integrated-gradients",
    "cnn_vis_guided_grad_cam": "guided-gradcam",
    "cnn_vis_score_cam": "score-cam",
    "cnn_vis_vanilla_backprop": "gradient",
    "cnn_vis_grad_cam": "gradcam",
    "cnn_vis_grad_times_image": "input-x-gradient",
    "cnn_vis_layer_activation_guided_backprop": "filter-guided-backprop",
    "cnn_vis_layer_visualization": "activation-maximisation",
    "cnn_vis_DeepDream": "deep-dream",
    "torchray_excitation_backprop": "excitation-backprop",
    "torchray_contrast_excitation_backprop": "excitation-backprop",
    "torchray_Rise": "rise",
    "torchray_Deconv": "deconvolution",
    "torchray_Gradcam": "gradcam",
    "torchray_Gradient": "gradient",
    "torchray_Guidedbackprop": "guided-backprop",
    "torchray_Linearapprox": "hirescam",
    "lucent_render_vis": "feature-visualisation",
    "lime_segmentation": "lime",
}
PRESETS: dict[str, dict[str, Any]] = {"torchray_contrast_excitation_backprop": {"contrastive": True}}

for _theirs, _ours in NAMES.items():
    EXPLAINERS.alias(_theirs, _ours, **PRESETS.get(_theirs, {}))
