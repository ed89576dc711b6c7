"""What formats state of preprocessing and windows: followed as it is meant, or said in a note."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from contrafact.models import Preprocessing, TiledPredictor, load_predictor
from contrafact.models.axis_order import AxisOrder
from contrafact.models.formats.huggingface import preprocessing_of
from contrafact.models.formats.monai_transforms import steps_of
from contrafact.models.formats.nnunet import _labels

UNET = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [4, 8], "strides": [2]}


def bundle(folder: Path, network: nn.Module, **config: Any) -> Path:
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    (folder / "configs" / "metadata.json").write_text("{}")
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    return folder


def unet() -> nn.Module:
    from monai.networks.nets import UNet

    return UNet(**UNET).eval()


def test_values_of_a_bundle_are_followed_to_where_they_stand(tmp_path: Path) -> None:
    steps = [
        {"_target_": "Spacingd", "pixdim": "@spacing"},
        {
            "_target_": "ScaleIntensityRanged",
            "a_min": "@low",
            "a_max": 250,
            "b_min": 0,
            "b_max": 1,
            "clip": True,
        },
        {"_target_": "CenterSpatialCropd", "roi_size": [4, 4, 4]},
    ]
    folder = bundle(
        tmp_path / "b", unet(), network_def={"_target_": "UNet", **UNET}, spacing=[1, 2, 3], low=-50,
        patch=[8, 12, 16], preprocessing={"transforms": "@steps"}, steps=steps,
        inferer={"_target_": "SlidingWindowInferer", "roi_size": "@patch", "overlap": 0},
    )  # fmt: skip
    predictor = load_predictor(folder)
    assert isinstance(predictor, TiledPredictor) and predictor.patch == (16, 12, 8) and predictor.overlap == 0
    expected = Preprocessing(window=(-50, 250), clip=True, spacing_mm=(3, 2, 1))
    assert predictor.preprocessing == expected
    assert any("CenterSpatialCrop" in note for note in predictor.notes)


def test_what_a_bundle_computes_is_said(tmp_path: Path) -> None:
    folder = bundle(
        tmp_path / "b", unet(), network_def={"_target_": "UNet", **UNET},
        preprocessing={"transforms": "$@a + @b"},
        inferer={"_target_": "SlidingWindowInferer", "roi_size": "$[1] * 3"},
    )  # fmt: skip
    notes = load_predictor(folder).notes
    assert any("not a list of transforms" in note for note in notes)
    assert any("its window $[1] * 3 is not plain" in note for note in notes)


@pytest.mark.parametrize(
    ("steps", "fields", "words"),
    [
        ([{"_target_": "ScaleIntensityd", "minv": -1.0, "maxv": 1.0}], {}, "other ends than 0 and 1"),
        (
            [
                {"_target_": "ScaleIntensityd"},
                {"_target_": "NormalizeIntensityd", "subtrahend": 0.5, "divisor": 0.5},
            ],
            {"normalise": "range"},
            "NormalizeIntensity after another",
        ),
        (
            [{"_target_": "ScaleIntensityRanged", "a_min": 0, "a_max": 9, "b_min": -1, "b_max": 1}] * 2,
            {"window": (0, 9), "mean": (0.5,), "std": (0.5,)},
            "ScaleIntensityRange after another",
        ),
        ([{"_target_": "NormalizeIntensityd"}, {"_target_": "ScaleIntensityd"}], {"normalise": "range"}, ""),
        ([{"_target_": "Resized", "spatial_size": "$2"}], {}, "Resize has a size"),
        ([{"_target_": "Spacingd", "pixdim": "$2"}], {}, "Spacing has values"),
    ],
)
def test_steps_that_cannot_be_followed_are_said(steps: list[Any], fields: Any, words: str) -> None:
    read = steps_of({"preprocessing": {"transforms": steps}}, 2)
    assert read.preprocessing == Preprocessing(**fields)
    assert words in " ".join(read.notes) and bool(words) == bool(read.notes)


def test_channels_that_are_measured_together_are_said() -> None:
    steps = {"preprocessing": [{"_target_": "NormalizeIntensityd"}]}
    assert steps_of(steps, 3, 1).notes == () and "all channels together" in steps_of(steps, 3, 4).notes[0]


def test_the_axes_of_a_bundle_are_those_of_its_network(tmp_path: Path) -> None:
    from monai.networks.nets import FlexibleUNet

    about = {"in_channels": 3, "out_channels": 2, "backbone": "resnet10", "pretrained": False}
    network = FlexibleUNet(**about).eval()
    predictor = load_predictor(
        bundle(tmp_path / "b", network, network_def={"_target_": "FlexibleUNet", **about})
    )
    x = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        expected = network(x.transpose(2, 3)).transpose(2, 3)
    torch.testing.assert_close(predictor(x).detach(), expected)


def test_maps_by_name_come_back_in_the_order_of_the_image() -> None:
    class Named(nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"map": x}

    x = torch.rand(1, 2, 3, 5)
    assert torch.equal(AxisOrder(Named(), (1, 0))(x)["map"], x)


EFFICIENT = {  # of google/efficientnet-b0
    "image_processor_type": "EfficientNetImageProcessor", "do_rescale": True, "rescale_factor": 1 / 255,
    "do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.25, 0.2], "include_top": True,
}  # fmt: skip


def test_steps_of_one_processor_of_hugging_face() -> None:
    x = torch.rand(1, 3, 4, 4) * 255
    shape = (1, 3, 1, 1)
    mean, std = torch.tensor([0.5, 0.4, 0.3]).reshape(shape), torch.tensor([0.5, 0.25, 0.2]).reshape(shape)
    torch.testing.assert_close(preprocessing_of(EFFICIENT, [])(x), (x / 255 - mean) / std / std)
    offset = {**EFFICIENT, "include_top": False, "rescale_factor": 1 / 127.5, "rescale_offset": True}
    torch.testing.assert_close(preprocessing_of(offset, [])(x), (x / 127.5 - 1 - mean) / std)
    notes: list[str] = []
    preprocessing_of({"do_flip_channel_order": True, "size": {"shortest_edge": 9}}, notes)
    assert "keeps the proportions" in notes[0] and "turns red, green and blue round" in notes[1]


def test_labels_of_nnunet_without_those_of_the_background() -> None:
    regions = _labels({"labels": {"none": 0, "whole": [1, 2], "core": [2]}})
    assert regions.names == ("whole", "core") and regions.output == "sigmoid"
    single = _labels({"labels": {"tumour": [2], "liver": 1, "background": 0}})
    assert single.names == ("background", "liver", "tumour") and single.output == "logits"
