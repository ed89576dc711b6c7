"""Folders of nnU-Net v2: plans.json, dataset.json and fold_0/checkpoint_final.pth."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from contrafact.core import FORMATS, InputError, is_there, nearest
from contrafact.core.reading import reading
from contrafact.models.axis_order import in_order
from contrafact.models.formats.optional_library import optional_library
from contrafact.models.json_tables import numbers_of, read_table
from contrafact.models.opened import Opened
from contrafact.models.preprocessing import Preprocessing
from contrafact.models.source import ModelSource
from contrafact.models.weights import filled, read_checkpoint

CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
NETWORKS = ("PlainConvUNet", "ResidualEncoderUNet", "ResidualUNet")
LAYERS = {path: name for module, names in {
    "conv": ("Conv2d", "Conv3d"), "instancenorm": ("InstanceNorm2d", "InstanceNorm3d"),
    "batchnorm": ("BatchNorm2d", "BatchNorm3d"), "activation": ("LeakyReLU", "ReLU", "GELU", "SiLU"),
    "dropout": ("Dropout2d", "Dropout3d"),
}.items() for name in names for path in (f"torch.nn.{name}", f"torch.nn.modules.{module}.{name}")}  # fmt: skip


@FORMATS.register("nnunet")
@dataclass(frozen=True, slots=True)
class NnUNet:
    """A trained model of nnU-Net v2: network, patch, spacing, normalisation and labels of its plans."""

    schemes: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[str] = "a folder with plans.json, dataset.json and fold_0, or a fold of it"
    takes_inputs: ClassVar[bool] = False
    takes_factory: ClassVar[bool] = False

    def recognises(self, source: ModelSource) -> bool:
        return _root(source) is not None

    def open(self, source: ModelSource) -> Opened:
        root = _root(source) or Path()
        if not is_there(root / "plans.json"):
            inner = sorted(p.parent.name for p in root.glob("*/plans.json"))
            raise InputError(f"'{source.text}' holds several models: give one, {', '.join(inner)}")
        with reading(root / "plans.json", "a plan of nnU-Net version 2"):
            return _opened(source, dataclasses.replace(source, path=root), root)


def _opened(source: ModelSource, inside: ModelSource, root: Path) -> Opened:
    """Return the model of a folder with plans, of the fold that `source` names."""
    plans = read_table(inside.part("plans.json"), "the plans of nnU-Net")
    dataset = read_table(inside.part("dataset.json"), "the dataset of nnU-Net")
    fold, path = _checkpoint(source, inside, root)
    state, trained = _weights(path)
    name = _configuration(root, plans, trained)
    configuration = _inherited(plans["configurations"], name)
    labels = _labels(dataset)
    channels = len(dataset.get("channel_names") or dataset.get("modality") or {})
    network = _network(configuration, channels, len(labels.names))
    network = filled(network, state, path, what=f"the configuration '{name}' of its plans")
    order = [int(axis) for axis in plans.get("transpose_forward", [])]
    patch = [int(n) for n in configuration["patch_size"]]
    if len(patch) == 2 or not order:
        order = list(range(len(patch)))
    spacing = numbers_of(configuration.get("spacing"), len(patch))
    back = [order.index(axis) for axis in range(len(order))]
    read = _normalisation(plans, configuration, channels)
    stated = dataclasses.replace(
        read,
        channels=channels,
        spacing_mm=tuple(spacing[axis] for axis in back) if spacing and min(spacing) > 0 else None,
    )
    notes = [f"{fold} alone of nnU-Net's ensemble, without mirrored copies of the image"]
    if read.normalise in ("image", "range"):
        notes.append("nnU-Net cuts borders of 0 off before it normalises; here the whole image counts")
    return Opened(
        network=in_order(network, order),
        declared={"classes": labels.names, "output": labels.output, "preprocessing": stated},
        patch=tuple(patch[axis] for axis in back),
        notes=tuple(notes),
    )


def _root(source: ModelSource) -> Path | None:
    """Return the folder with the plans; the folder above a fold; one that holds several such folders."""
    if source.folder is None:
        return None
    if source.has("plans.json") and source.has("dataset.json"):
        return source.folder
    if any(source.has(name) for name in CHECKPOINTS) and is_there(
        source.folder.resolve().parent / "plans.json"
    ):
        return source.folder.resolve().parent
    return source.folder if any(source.folder.glob("nnUNet*/plans.json")) else None


def _checkpoint(source: ModelSource, inside: ModelSource, root: Path) -> tuple[str, Path]:
    """Return the fold that is read, and its checkpoint."""
    folds = [source.folder] if source.folder != root else sorted(root.glob("fold_*"))
    for fold in folds:
        for name in CHECKPOINTS:
            if fold is not None and is_there(fold / name):
                return fold.name, inside.allowed(fold / name, f"'{fold.name}/{name}'")
    raise InputError(f"expected fold_0/checkpoint_final.pth in '{source.text}'; got none")


def _weights(path: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """Return the weights of a checkpoint, and the arguments of its trainer."""
    stored = read_checkpoint(path)
    state = stored.get("network_weights") if isinstance(stored, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"expected 'network_weights' in '{path.name}', as nnU-Net v2 writes them; got none")
    trained = stored.get("init_args")
    return dict(state), trained if isinstance(trained, Mapping) else {}


def _configuration(root: Path, plans: Mapping[str, Any], trained: Mapping[str, Any]) -> str:
    """Return the name of the configuration: of the trainer's arguments, the folder's name, or the only one."""
    known = list(plans.get("configurations") or {})
    if not known:
        raise InputError("expected 'configurations' in plans.json, of nnU-Net version 2; got none")
    for name in (trained.get("configuration"), root.resolve().name.rpartition("__")[2]):
        if name in known:
            return str(name)
    if len(known) == 1:
        return str(known[0])
    raise InputError(
        f"the folder's name must end in its configuration, as nnU-Net names it (...__3d_fullres); got "
        f"'{root.resolve().name}'; its plans have {', '.join(known)}"
    )


def _inherited(configurations: Mapping[str, Any], name: str, depth: int = 0) -> dict[str, Any]:
    """Return a configuration with what it takes over from another one."""
    own = dict(configurations.get(name) or {})
    above = own.get("inherits_from")
    if isinstance(above, str) and depth < 8:
        return {**_inherited(configurations, above, depth + 1), **own}
    return own


@dataclass(frozen=True, slots=True)
class Labels:
    """Names of the outputs, and whether they are exclusive (logits) or regions that overlap (sigmoid)."""

    names: tuple[str, ...]
    output: str


def _labels(dataset: Mapping[str, Any]) -> Labels:
    labels = {str(k): v for k, v in (dataset.get("labels") or {}).items() if k != "ignore"}
    labels = {k: v[0] if isinstance(v, list) and len(v) == 1 else v for k, v in labels.items()}
    if any(isinstance(v, list) for v in labels.values()):
        return Labels(tuple(k for k, v in labels.items() if v != 0), "sigmoid")
    if not labels:
        raise InputError("expected 'labels' in dataset.json; got none")
    return Labels(tuple(sorted(labels, key=lambda k: int(labels[k]))), "logits")


def _network(configuration: Mapping[str, Any], channels: int, outputs: int) -> nn.Module:
    """Return the network of a configuration, without deep supervision."""
    library = "dynamic_network_architectures.architectures.unet"
    unet = optional_library(library, "a model of nnU-Net", "nnunet")
    architecture = configuration.get("architecture") or _former(configuration)
    kind = str(architecture.get("network_class_name", "")).rpartition(".")[2]
    if kind not in NETWORKS or not hasattr(unet, kind):
        raise InputError(
            f"expected a network of {', '.join(NETWORKS)} in plans.json; got '{kind}'{nearest(kind, NETWORKS)}"
        )
    arguments = dict(architecture.get("arch_kwargs") or {})
    for key in architecture.get("_kw_requires_import") or ():
        arguments[key] = _layer(key, arguments.get(key))
    network: nn.Module = getattr(unet, kind)(
        input_channels=channels, num_classes=outputs, deep_supervision=False, **arguments
    )
    return network


def _layer(key: str, name: Any) -> Any:
    """Return a layer of torch that plans name; raise InputError for any other class."""
    if name is None:
        return None
    if name not in LAYERS:
        raise InputError(f"expected '{key}' of plans.json to be a layer of torch.nn; got {name!r:.60}")
    return getattr(nn, LAYERS[name])


def _former(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return the architecture of plans before version 2.5, which name its numbers alone."""
    kernels = configuration["conv_kernel_sizes"]
    width, most = configuration["UNet_base_num_features"], configuration["unet_max_num_features"]
    axes = len(configuration["patch_size"])
    residual = str(configuration.get("UNet_class_name")) == "ResidualEncoderUNet"
    blocks = "n_blocks_per_stage" if residual else "n_conv_per_stage"
    return {
        "network_class_name": str(configuration.get("UNet_class_name")),
        "arch_kwargs": {
            "n_stages": len(kernels),
            "features_per_stage": [min(width * 2**k, most) for k in range(len(kernels))],
            "conv_op": f"torch.nn.modules.conv.Conv{axes}d",
            "kernel_sizes": kernels,
            "strides": configuration["pool_op_kernel_sizes"],
            blocks: configuration["n_conv_per_stage_encoder"],
            "n_conv_per_stage_decoder": configuration["n_conv_per_stage_decoder"],
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{axes}d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "nonlin": "torch.nn.modules.activation.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "nonlin"],
    }


def _normalisation(plans: Mapping[str, Any], configuration: Mapping[str, Any], channels: int) -> Preprocessing:
    """Return the preprocessing of intensities; raise InputError where it differs among the channels."""
    kinds = list(configuration.get("normalization_schemes") or ["ZScoreNormalization"] * channels)
    masked = list(configuration.get("use_mask_for_norm") or [False] * channels)
    if len(set(kinds)) > 1 or len(set(masked)) > 1 or (kinds[0] == "CTNormalization" and channels > 1):
        raise InputError(
            f"the channels of this model are normalised differently ({', '.join(map(str, kinds))}), which "
            "is not supported: export the network as ONNX, and give images that are normalised"
        )
    if kinds[0] == "ZScoreNormalization":
        return Preprocessing(normalise="foreground" if masked[0] else "image")
    if kinds[0] == "RescaleTo01Normalization":
        return Preprocessing(normalise="range")
    if kinds[0] == "RGBTo01Normalization":
        return Preprocessing(window=(0, 255))
    if kinds[0] == "NoNormalization":
        return Preprocessing(window=(0, 1))
    if kinds[0] != "CTNormalization":
        raise InputError(f"the normalisation '{kinds[0]}' of plans.json is not known")
    about = plans["foreground_intensity_properties_per_channel"]["0"]
    low, high = float(about["percentile_00_5"]), float(about["percentile_99_5"])
    mean, std = (float(about["mean"]) - low) / (high - low), max(float(about["std"]), 1e-8) / (high - low)
    return Preprocessing(window=(low, high), clip=True, mean=(mean,), std=(std,))
