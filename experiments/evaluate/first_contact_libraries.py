"""Models of other libraries with random weights, and the plain gradient of each, by torch alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Picture
from safetensors.torch import save_file
from torch import Tensor, nn

from experiments.evaluate.first_contact_files import MEAN, STD, Made, planted


def slope(score: Callable[[Tensor], Tensor], values: NDArray[Any]) -> NDArray[np.float32]:
    """The plain gradient of a score of one image (1, *S), by torch alone."""
    x = torch.as_tensor(values, dtype=torch.float32)[None].requires_grad_()
    (gradient,) = torch.autograd.grad(score(x), x)
    return gradient[0].sum(dim=0).numpy()


def imagenet(x: Tensor, size: int | None) -> Tensor:
    """Grey levels to what networks of ImageNet take."""
    x = x.expand(-1, 3, -1, -1)
    if size is not None:
        x = nn.functional.interpolate(x, (size, size), mode="bilinear", antialias=True)
    return (x / 255 - torch.tensor(MEAN).reshape(1, 3, 1, 1)) / torch.tensor(STD).reshape(1, 3, 1, 1)


def odds(outputs: Tensor) -> Tensor:
    """The log-odds of class 1 of exclusive classes, from logits (1, K): what `class:1` is."""
    others = torch.cat([outputs[:, :1], outputs[:, 2:]], dim=1)
    return outputs[0, 1] - torch.logsumexp(others[0], dim=0)


def region(outputs: Tensor) -> tuple[Tensor, int]:
    """The score of the larger of two predicted classes of a segmenter: mean log-odds where it is predicted."""
    gap = outputs[:, 1] - outputs[:, 0]
    index = int((gap > 0).sum() > (gap < 0).sum())
    gap = gap if index else -gap
    return gap[gap > 0].mean(), index


def grey(folder: Path) -> NDArray[np.float32]:
    planted(folder)
    return np.asarray(Picture.open(folder / "lesion.png"), np.float32)[None]


def seeded(make: Callable[[], Any]) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().eval()


def timm_name(folder: Path) -> Made:
    import timm

    network = seeded(lambda: timm.create_model("resnet10t", num_classes=3))
    save_file(network.state_dict(), folder / "w.safetensors")
    values, size = grey(folder), timm.get_pretrained_cfg("resnet10t.c3_in1k").input_size[-1]
    words = ("--model", "timm:resnet10t.c3_in1k@w.safetensors", "--target", "class:1", "--methods", "gradient")
    return Made(("lesion.png", *words), reference=slope(lambda x: odds(network(imagenet(x, size))), values))


def torchvision_name(folder: Path) -> Made:
    from torchvision import models

    network = seeded(lambda: models.get_model("squeezenet1_1", weights=None, num_classes=4))
    torch.save(network.state_dict(), folder / "w.pth")
    values = grey(folder)
    words = ("--model", "torchvision:squeezenet1_1@w.pth", "--target", "class:1", "--methods", "gradient")
    return Made(("lesion.png", *words), reference=slope(lambda x: odds(network(imagenet(x, 224))), values))


def segmentation_models(folder: Path) -> Made:
    import segmentation_models_pytorch as smp

    network = seeded(lambda: smp.Unet("resnet18", encoder_weights=None, classes=2))
    torch.save(network.state_dict(), folder / "w.pth")
    values = grey(folder)
    index = region(network(imagenet(torch.from_numpy(values)[None], None)))[1]
    stated = json.dumps({"window": [0, 255], "mean": MEAN, "std": STD})
    words = ("--model", "smp:Unet/resnet18@w.pth", "--preprocessing", stated, "--target", f"region:{index}")
    reference = slope(lambda x: region(network(imagenet(x, None)))[0], values)
    return Made(("lesion.png", *words, "--methods", "gradient"), reference=reference)


def huggingface(folder: Path) -> Made:
    import transformers

    about: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    about |= {"intermediate_size": 32, "image_size": 32, "patch_size": 8, "id2label": {0: "well", 1: "ill"}}
    network = seeded(lambda: transformers.ViTForImageClassification(transformers.ViTConfig(**about)))
    network.save_pretrained(folder / "vit")
    processor = {"image_processor_type": "ViTImageProcessor", "do_resize": True, "do_rescale": True}
    processor |= {
        "size": {"height": 32, "width": 32},
        "do_normalize": True,
        "image_mean": MEAN,
        "image_std": STD,
    }
    (folder / "vit" / "preprocessor_config.json").write_text(json.dumps(processor))
    values = grey(folder)
    words = ("lesion.png", "--model", "vit", "--target", "ill", "--methods", "gradient")
    return Made(words, reference=slope(lambda x: odds(network(imagenet(x, 32)).logits), values))


def volume(folder: Path) -> NDArray[np.float32]:
    planted(folder, 3)
    import nibabel

    stored = np.asarray(nibabel.load(folder / "lesion.nii.gz").dataobj, np.float32)
    return np.ascontiguousarray(stored.transpose(2, 1, 0))[None]


def monai_bundle(folder: Path) -> Made:
    from monai.networks.nets import UNet

    about = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [4, 8], "strides": [2]}
    network = seeded(lambda: UNet(**about))
    for part in ("configs", "models"):
        (folder / "bundle" / part).mkdir(parents=True)
    torch.save(network.state_dict(), folder / "bundle/models/model.pt")
    classes = {"pred": {"type": "image", "num_channels": 2, "channel_def": {"0": "background", "1": "lesion"}}}
    metadata = {"version": "0.1", "network_data_format": {"inputs": {}, "outputs": classes}}
    (folder / "bundle/configs/metadata.json").write_text(json.dumps(metadata))
    scaled = {
        "_target_": "ScaleIntensityRanged",
        "keys": "image",
        "a_min": 0,
        "a_max": 255,
        "b_min": 0,
        "b_max": 1,
    }
    config = {"network_def": {"_target_": "UNet", **about}}
    config["preprocessing"] = {"_target_": "Compose", "transforms": [scaled]}
    (folder / "bundle/configs/inference.json").write_text(json.dumps(config))
    values = volume(folder)

    def answer(x: Tensor) -> Tensor:  # the axes of the file, i, j, k
        outputs: Tensor = network(x.permute(0, 1, 4, 3, 2) / 255)
        return outputs.permute(0, 1, 4, 3, 2)

    index = region(answer(torch.from_numpy(values)[None]))[1]
    words = ("lesion.nii.gz", "--model", "bundle", "--target", f"region:{index}", "--methods", "gradient")
    return Made(words, reference=slope(lambda x: region(answer(x))[0], values))


def nnunet(folder: Path) -> Made:
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    about: dict[str, Any] = {
        "n_stages": 2, "features_per_stage": [4, 8], "kernel_sizes": [[3] * 3] * 2,
        "strides": [[1] * 3, [2] * 3],
        "n_conv_per_stage": [1, 1], "n_conv_per_stage_decoder": [1], "conv_bias": True,
        "norm_op_kwargs": {"affine": True}, "dropout_op": None, "dropout_op_kwargs": None,
        "nonlin_kwargs": {"inplace": True},
    }  # fmt: skip
    layers = {"conv_op": nn.Conv3d, "norm_op": nn.InstanceNorm3d, "nonlin": nn.LeakyReLU}
    network = seeded(
        lambda: PlainConvUNet(input_channels=1, num_classes=2, deep_supervision=True, **about, **layers)
    )
    paths = {"conv_op": "torch.nn.modules.conv.Conv3d", "nonlin": "torch.nn.LeakyReLU"}
    paths["norm_op"] = "torch.nn.modules.instancenorm.InstanceNorm3d"
    name = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
    architecture = {"network_class_name": name, "arch_kwargs": {**about, **paths}}
    architecture["_kw_requires_import"] = ["conv_op", "norm_op", "dropout_op", "nonlin"]
    configuration = {
        "patch_size": [24, 24, 24], "spacing": [1.0, 1.0, 1.0], "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False], "architecture": architecture,
    }  # fmt: skip
    grey_levels = {"mean": 110.0, "std": 30.0, "percentile_00_5": 0.0, "percentile_99_5": 255.0}
    plans = {
        "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "foreground_intensity_properties_per_channel": {"0": grey_levels},
    }  # fmt: skip
    dataset = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "lesion": 1}, "file_ending": ".nii.gz"}
    root = folder / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    (root / "fold_0").mkdir(parents=True)
    (root / "plans.json").write_text(json.dumps(plans))
    (root / "dataset.json").write_text(json.dumps(dataset))
    stored = {"network_weights": network.state_dict(), "trainer_name": "nnUNetTrainer"}
    stored["init_args"] = {"plans": plans, "configuration": "3d_fullres", "fold": 0}
    torch.save(stored, root / "fold_0" / "checkpoint_final.pth")
    network.decoder.deep_supervision = False
    values = volume(folder)

    def answer(x: Tensor) -> Tensor:
        outputs: Tensor = network((x.clamp(0, 255) - 110) / 30)
        return outputs

    index = region(answer(torch.from_numpy(values)[None]))[1]
    words = ("lesion.nii.gz", "--model", root.name, "--target", f"region:{index}", "--methods", "gradient")
    return Made(words, reference=slope(lambda x: region(answer(x))[0], values))
