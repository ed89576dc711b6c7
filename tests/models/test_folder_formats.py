"""Folders of MONAI and nnU-Net: a small model of each, from its files to a map on the command line."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from torch import nn

import contrafact as cf
from conftest import RANGE, small_network
from contrafact.cli import main
from contrafact.core import ContrafactWarning, EmptyMapWarning, InputError
from contrafact.models import Preprocessing, TiledPredictor, TorchPredictor, load_predictor
from contrafact.models.axis_order import AxisOrder
from contrafact.models.preprocessing import normalised

UNET = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [4, 8], "strides": [2]}


def volume(folder: Path, size: tuple[int, int, int] = (12, 16, 20)) -> Path:
    """A volume of the file axes i, j, k."""
    values = np.random.default_rng(0).uniform(-100, 300, size).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.5, 1.5, 2.0, 1])), folder / "image.nii.gz")
    return folder / "image.nii.gz"


def explained(folder: Path, model: Path, image: Path, target: str) -> dict[str, Any]:
    """Run `check` and `explain` as a user types them; return the row of the run."""
    assert main(["check", str(model), "--image", str(image)]) == 0
    out = folder / "run"
    words = ["explain", str(image), "--model", str(model), "--methods", "gradient", "--target", target]
    assert main([*words, "--no-checks", "--out", str(out)]) == 0
    (row,) = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    return dict(row["record"])


# MONAI ---------------------------------------------------------------------------------------------------


def bundle(folder: Path, **changes: Any) -> tuple[Path, nn.Module]:
    """A bundle of a segmenter, as the model zoo writes them."""
    from monai.networks.nets import UNet

    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = UNet(**UNET).eval()
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    names = {"0": "background", "1": "spleen"}
    outputs = {"pred": {"type": "image", "format": "segmentation", "num_channels": 2, "channel_def": names}}
    (folder / "configs" / "metadata.json").write_text(
        json.dumps({"version": "0.1", "network_data_format": {"inputs": {}, "outputs": outputs}})
    )
    window = {"a_min": -50, "a_max": 250, "b_min": 0.0, "b_max": 1.0, "clip": True}
    steps: list[Any] = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"},
        {"_target_": "ScaleIntensityRanged", "keys": "image", **window},
    ]
    config: dict[str, Any] = {
        "imports": ["$import glob"],
        "channels": [4, 8],
        "network_def": {"_target_": "UNet", **UNET, "channels": "@channels"},
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": steps},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [8, 12, 16], "overlap": 0.5},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "Activationsd"}],
        },
    }
    (folder / "configs" / "inference.json").write_text(json.dumps({**config, **changes}))
    return folder, network


def test_a_bundle_is_read_with_all_that_it_states(tmp_path: Path) -> None:
    folder, network = bundle(tmp_path / "b")
    predictor = load_predictor(folder)
    assert isinstance(predictor, TiledPredictor)
    assert predictor.classes == ("background", "spleen") and predictor.patch == (16, 12, 8)
    assert predictor.preprocessing.spacing_mm == (2.0, 1.5, 1.5)
    image = cf.read_image(volume(tmp_path))
    from monai.inferers import SlidingWindowInferer

    file_axes = torch.as_tensor(image.values)[None].permute(0, 1, 4, 3, 2)  # i, j, k
    scaled = ((file_axes + 50) / 300).clamp(0, 1)
    inferer = SlidingWindowInferer((8, 12, 16), overlap=0.5, mode="gaussian")
    with torch.no_grad():
        expected = inferer(scaled, network)
    torch.testing.assert_close(
        predictor(image.values[None]).detach(), expected.permute(0, 1, 4, 3, 2), atol=2e-3, rtol=0
    )


@pytest.mark.filterwarnings("ignore::contrafact.core.errors.EmptyMapWarning")
@pytest.mark.slow
def test_check_and_explain_take_a_bundle(tmp_path: Path) -> None:
    folder, _ = bundle(tmp_path / "b")
    row = explained(tmp_path, folder, volume(tmp_path), "volume:spleen")
    assert row["target"] == "volume:1"


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (
            {"_target_": "UNet", **UNET, "out_channels": "$1 + 1"},
            "out_channels.*'.1 . 1', which is not",
        ),
        ({"_target_": "UNet", **UNET, "channels": "@none#1"}, "refers to '@none#1', which is not there"),
        ({"_target_": "UNet", **UNET, "channels": "@network_def#channels"}, "refers to itself"),
        ({"_target_": "os.system", "command": "touch here"}, "--trust-code"),
        ({"_target_": "UNet", **UNET, "norm": {"_target_": "os.getcwd"}}, "is a component; expected plain"),
        ({"_target_": "TorchVisionFCModel"}, "--trust-code"),
        ("$monai.networks.nets.UNet()", "expected 'network_def' with a '_target_'"),
    ],
)
def test_no_expression_and_no_other_class_of_a_bundle_runs(tmp_path: Path, network: Any, words: str) -> None:
    folder, _ = bundle(tmp_path / "b", network_def=network)
    with pytest.raises(InputError, match=words):
        load_predictor(folder)


def test_what_is_not_followed_is_noted(tmp_path: Path) -> None:
    from contrafact.models.opened import open_model
    from contrafact.models.source import source_of

    steps = [{"_target_": "Orientationd", "axcodes": "RAS"}, {"_target_": "CropForegroundd"}]
    steps += [{"_target_": "NormalizeIntensityd", "nonzero": True, "channel_wise": True}]
    post = {"transforms": [{"_target_": "Activationsd", "sigmoid": True}]}
    folder, _ = bundle(tmp_path / "b", preprocessing={"transforms": steps}, postprocessing=post)
    opened = open_model(source_of(str(folder)))
    assert opened.declared["preprocessing"] == Preprocessing(normalise="nonzero")
    assert opened.declared["output"] == "sigmoid"
    assert "RAS" in opened.notes[0] and "CropForeground" in opened.notes[1]


# Axes and normalisation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["gradcam", "gradient", "lrp"])
@pytest.mark.filterwarnings(RANGE)
def test_maps_of_a_network_with_other_axes_are_those_of_the_image(method: str) -> None:
    network = small_network().eval()
    image = torch.rand(1, 16, 24, generator=torch.Generator().manual_seed(2)).numpy()
    turned = TorchPredictor(AxisOrder(network, (1, 0)))
    direct = TorchPredictor(network)
    options: dict[str, Any] = {"target": "class:1"}
    found = cf.explain(method, turned, image, **options).values
    expected = cf.explain(method, direct, np.ascontiguousarray(image.transpose(0, 2, 1)), **options).values.T
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_normalisation_by_the_values_of_the_image() -> None:
    x = torch.rand(2, 2, 6, 7, generator=torch.Generator().manual_seed(0)) * 50
    x[:, :, 0] = 0
    x[:, 0, 2:4, 2:4] = 0  # a hole in one channel
    x[0, 1, 3, 3] = 0  # and in both
    for channel in range(2):
        whole, inside = normalised(x, "image")[0, channel], x[0, channel]
        torch.testing.assert_close(whole, (inside - inside.mean()) / inside.std(correction=0))
        nonzero = inside != 0
        scaled = normalised(x, "nonzero")[0, channel]
        torch.testing.assert_close(
            scaled[nonzero], (inside[nonzero] - inside[nonzero].mean()) / inside[nonzero].std(correction=0)
        )
        assert not scaled[~nonzero].any()
        scaled, body = normalised(x, "foreground")[0, channel], inside[1:]
        torch.testing.assert_close(scaled[1:], (body - body.mean()) / body.std(correction=0))
        assert normalised(x, "range")[0, channel].amin() == 0 and normalised(x, "range")[0, channel].amax() == 1
    assert torch.isfinite(normalised(torch.ones(1, 1, 4, 4), "image")).all()
    leaf = x.clone().double().requires_grad_()
    for by in ("image", "nonzero", "foreground", "range"):
        (gradient,) = torch.autograd.grad((normalised(leaf, by) ** 3).sum(), leaf)
        assert torch.isfinite(gradient).all()


def test_a_window_clips_where_it_says_so() -> None:
    x = torch.tensor([-10.0, 0, 5, 10, 20]).reshape(1, 1, 1, 5).expand(1, 1, 1, 5)
    kept = Preprocessing(window=(0, 10))(x).flatten().tolist()
    cut = Preprocessing(window=(0, 10), clip=True)(x).flatten().tolist()
    assert kept == [-1, 0, 0.5, 1, 2] and cut == [0, 0, 0.5, 1, 1]
    with pytest.raises(InputError, match="clip must be true or false, and needs a window"):
        Preprocessing(clip=True)
    with pytest.raises(InputError, match="normalise must be image, nonzero, foreground, range"):
        Preprocessing(normalise="zscore")
    with pytest.raises(InputError, match="spacing_mm must be 2 or 3"):
        Preprocessing(spacing_mm=(1.0,))


# nnU-Net -------------------------------------------------------------------------------------------------

ARCHITECTURE = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": 2, "features_per_stage": [4, 8], "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[1, 3, 3], [3, 3, 3]], "strides": [[1, 1, 1], [1, 2, 2]], "n_conv_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1], "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d", "norm_op_kwargs": {"affine": True},
        "dropout_op": None, "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    },
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}  # fmt: skip
CT = {"mean": 80.0, "std": 40.0, "percentile_00_5": -60.0, "percentile_99_5": 210.0}


def nnunet(folder: Path, *, former: bool = False, **changes: Any) -> tuple[Path, nn.Module]:
    """A folder as nnU-Net v2 writes it after training, with its notes of numpy numbers; `former`: plans of its
    first versions."""
    unet = pytest.importorskip(
        "dynamic_network_architectures.architectures.unet",
        reason="no contrafact[nnunet]",
    )
    root = folder / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    (root / "fold_0").mkdir(parents=True)
    arguments = {**ARCHITECTURE["arch_kwargs"]}  # type: ignore[dict-item]
    layers = {"conv_op": nn.Conv3d, "norm_op": nn.InstanceNorm3d, "nonlin": nn.LeakyReLU}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = unet.PlainConvUNet(
            input_channels=1, num_classes=3, deep_supervision=True, **{**arguments, **layers}
        ).eval()
    configuration: dict[str, Any] = {
        "patch_size": [8, 16, 12], "spacing": [3.0, 1.0, 1.0], "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False], "architecture": ARCHITECTURE, **changes,
    }  # fmt: skip
    if former:
        del configuration["architecture"]
        configuration |= {
            "UNet_class_name": "PlainConvUNet", "UNet_base_num_features": 4, "unet_max_num_features": 320,
            "conv_kernel_sizes": arguments["kernel_sizes"], "pool_op_kernel_sizes": arguments["strides"],
            "n_conv_per_stage_encoder": [1, 1], "n_conv_per_stage_decoder": [1],
        }  # fmt: skip
    plans = {
        "transpose_forward": [0, 2, 1], "transpose_backward": [0, 2, 1],
        "configurations": {"2d": {}, "base": configuration, "3d_fullres": {"inherits_from": "base"}},
        "foreground_intensity_properties_per_channel": {"0": CT},
    }  # fmt: skip
    labels = {"background": 0, "liver": 1, "tumour": 2}
    dataset = {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".nii.gz"}
    (root / "plans.json").write_text(json.dumps(plans))
    (root / "dataset.json").write_text(json.dumps(dataset))
    stored = {
        "network_weights": network.state_dict(),
        "logging": {"ema_fg_dice": [np.float64(0.5)], "mean_fg_dice": [np.float32(0.4)]},
        "init_args": {"plans": plans, "configuration": "3d_fullres", "fold": 0, "device": torch.device("cuda")},
        "trainer_name": "nnUNetTrainer",
    }
    torch.save(stored, root / "fold_0" / "checkpoint_final.pth")
    network.decoder.deep_supervision = False
    return root, network


@pytest.mark.parametrize("former", [False, True])
def test_a_folder_of_nnunet_is_read_with_its_plans(tmp_path: Path, former: bool) -> None:
    root, network = nnunet(tmp_path, former=former)
    predictor = load_predictor(root)
    assert isinstance(predictor, TiledPredictor)
    assert predictor.classes == ("background", "liver", "tumour")
    assert predictor.patch == (8, 12, 16) and predictor.preprocessing.spacing_mm == (3.0, 1.0, 1.0)
    x = torch.as_tensor(np.random.default_rng(0).uniform(-200, 300, (1, 1, 8, 12, 16)).astype(np.float32))
    scaled = (x.clamp(-60, 210) - 80) / 40
    with torch.no_grad():
        expected = network(scaled.permute(0, 1, 2, 4, 3)).permute(0, 1, 2, 4, 3)
    torch.testing.assert_close(predictor(x).detach(), expected, atol=1e-4, rtol=1e-4)


def test_an_image_smaller_than_the_patch_is_padded(tmp_path: Path) -> None:
    predictor = load_predictor(nnunet(tmp_path)[0])
    x = torch.rand(1, 1, 5, 12, 16).mul(100).requires_grad_()
    outputs = predictor(x)
    assert outputs.shape == (1, 3, 5, 12, 16)
    (gradient,) = torch.autograd.grad(outputs[:, 1].sum(), x)
    assert gradient.shape == x.shape and float(gradient.abs().sum()) > 0


@pytest.mark.slow
def test_check_and_explain_take_a_folder_of_nnunet(tmp_path: Path) -> None:
    root, _ = nnunet(tmp_path)
    row = explained(tmp_path, root, volume(tmp_path), "volume:liver")
    assert row["target"] == "volume:1"
    assert load_predictor(root / "fold_0").digest == load_predictor(root).digest


@pytest.mark.slow
def test_another_spacing_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, _ = nnunet(tmp_path)
    predictor = load_predictor(root)
    near, far = cf.read_image(volume(tmp_path)), cf.Image(np.zeros((1, 8, 12, 16), np.float32))
    with pytest.warns(ContrafactWarning, match="of 3 x 1 x 1 mm; those of this image are 2 x 1.5 x 1.5 mm"):
        cf.explain("gradient", predictor, near, target="volume:1")
    grid = cf.Grid(far.grid.shape, spacing_mm=(3.1, 1, 1))
    for image in (far, cf.Image(far.values, grid)):  # unknown, and near enough
        with warnings.catch_warnings():
            warnings.simplefilter("error", ContrafactWarning)
            warnings.simplefilter("ignore", EmptyMapWarning)
            cf.explain("gradient", predictor, image, target="volume:1")
    assert main(["check", str(root), "--image", near.source]) == 0
    said = capsys.readouterr().out
    assert "network: fold_0 alone of nnU-Net's ensemble" in said
    assert "network: the model was trained on voxels" in said


def test_a_folder_above_says_which_models_there_are(tmp_path: Path) -> None:
    root, _ = nnunet(tmp_path)
    with pytest.raises(InputError, match=f"holds several models: give one, {root.name}"):
        load_predictor(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": {**ARCHITECTURE, "network_class_name": "os.system"}}, "network of PlainConvUNet"),
        ({"normalization_schemes": ["Mine"]}, "'Mine' of plans.json is not known"),
        ({"architecture": {"network_class_name": "x.PlainConvUNet", "arch_kwargs": {"conv_op": "os.system"},
          "_kw_requires_import": ["conv_op"]}}, "to be a layer of torch.nn; got 'os.system'"),
        ({"patch_size": None}, "plans.json' is not a plan of nnU-Net version 2"),
    ],
)  # fmt: skip
def test_plans_that_are_not_known_are_refused(tmp_path: Path, changes: Any, words: str) -> None:
    root, _ = nnunet(tmp_path, **changes)
    with pytest.raises(InputError, match=words):
        load_predictor(root)


def test_a_checkpoint_with_code_is_refused(tmp_path: Path) -> None:
    from hostile import Evil

    root, _ = nnunet(tmp_path)
    torch.save(
        {"network_weights": {}, "evil": Evil(tmp_path / "made")}, root / "fold_0" / "checkpoint_final.pth"
    )
    with pytest.raises(InputError, match="pickled code and was not opened"):
        load_predictor(root)
    assert not (tmp_path / "made").exists()
