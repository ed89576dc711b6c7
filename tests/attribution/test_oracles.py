"""Agreement with other libraries where they are right: torchcam and MONAI (captum: test_truths.py)."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import contrafact as cf
from contrafact.core import Image
from contrafact.models import TorchPredictor


def built(axes: int) -> TorchPredictor:
    conv = {2: nn.Conv2d, 3: nn.Conv3d}[axes]
    with torch.random.fork_rng():
        torch.manual_seed(2)
        network = nn.Sequential(
            conv(1, 4, 3, padding=1), nn.ReLU(), conv(4, 6, 3, padding=1), nn.ReLU(), nn.Flatten(),
            nn.Linear(6 * 8**axes, 2),
        )  # fmt: skip
    return TorchPredictor(network.eval(), classes=["a", "b"])


def picture(axes: int) -> Image:
    return Image(np.random.default_rng(3).normal(size=(1, *(8,) * axes)).astype(np.float32))


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize(("name", "theirs"), [("gradcam", "GradCAM"), ("layercam", "LayerCAM")])
def test_torchcam_where_it_keeps_the_positive_part(axes: int, name: str, theirs: str) -> None:
    methods = pytest.importorskip("torchcam.methods", reason="torchcam is not installed")
    predictor, image = built(axes), picture(axes)
    ours = cf.explain(name, predictor, image, target="value:1", layer="2").values
    x = torch.from_numpy(image.values[None])
    with getattr(methods, theirs)(predictor.module, target_layer="2", input_shape=(1, *(8,) * axes)) as method:
        scores = predictor.module(x.requires_grad_())
        found = method(1, scores, normalized=False)[0][0]
    np.testing.assert_allclose(np.maximum(ours, 0), found.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("axes", [2, 3])
def test_monai_grad_cam_before_its_rescaling(axes: int) -> None:
    from monai.visualize import GradCAM

    predictor, image = built(axes), picture(axes)
    ours = cf.explain("gradcam", predictor, image, target="value:1", layer="2").values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method = GradCAM(
            predictor.module, target_layers="2", postprocessing=lambda x: x, register_backward=True
        )
        found = method(torch.from_numpy(image.values[None]), class_idx=1)
    # MONAI drops what is negative before it gives the map.
    np.testing.assert_allclose(np.maximum(ours, 0), torch.as_tensor(found).detach().numpy()[0, 0], atol=1e-5)


@pytest.mark.parametrize("axes", [2, 3])
def test_monai_occlusion_is_the_score_where_ours_is_its_fall(axes: int) -> None:
    from monai.visualize import OcclusionSensitivity

    predictor, image = built(axes), picture(axes)
    ours = cf.explain("occlusion", predictor, image, target="value:1", box=2, stride=2, fill=0.0).values
    x = torch.from_numpy(image.values[None])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, _ = OcclusionSensitivity(
            predictor.module, mask_size=2, overlap=0.0, mode=0.0, verbose=False, activate=False
        )(x)
    whole = float(predictor.module(x)[0, 1].detach())
    np.testing.assert_allclose(whole - ours, np.asarray(found)[0, 1], atol=1e-4)
