"""Folders of Hugging Face: config.json, model.safetensors and preprocessor_config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from contrafact.core import FORMATS, InputError
from contrafact.core.reading import reading
from contrafact.models.formats.optional_library import optional_library
from contrafact.models.json_tables import numbers_of, read_table
from contrafact.models.opened import Opened
from contrafact.models.preprocessing import Preprocessing
from contrafact.models.source import ModelSource

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
# Fields of a configuration that name code, files, or other models, which would be fetched.
REACHING = ("auto_map", "quantization_config", "custom_pipelines", "backbone_kwargs", "transformers_weights")
FETCHING = ("use_pretrained_backbone", "use_timm_backbone", "backbone")
TASKS = {
    "ForImageClassification": "AutoModelForImageClassification",
    "ForSemanticSegmentation": "AutoModelForSemanticSegmentation",
}


class LogitsOf(nn.Module):
    """The logits of a model of Hugging Face, as the one output of a module."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        outputs: Any = self.model(pixel_values=images, return_dict=True)
        logits: Tensor = outputs.logits
        return logits


@FORMATS.register("hugging-face")
@dataclass(frozen=True, slots=True)
class HuggingFace:
    """A folder of Hugging Face for image classification or semantic segmentation: weights in safetensors, names
    of `id2label`, preprocessing of the image processor. Nothing is fetched, and no code of the folder runs."""

    schemes: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[str] = "a folder with config.json of transformers"
    takes_inputs: ClassVar[bool] = False
    takes_factory: ClassVar[bool] = False

    def recognises(self, source: ModelSource) -> bool:
        return source.has("config.json") and '"model_type"' in text_of_config(source)

    def open(self, source: ModelSource) -> Opened:
        transformers = optional_library("transformers", "a folder of Hugging Face", "huggingface")
        config = read_table(source.part("config.json"), "the configuration of a model")
        task = _check(source, config)
        path = source.part("config.json")
        with reading(path, "a configuration that transformers reads"):
            network = getattr(transformers, task).from_pretrained(
                str(source.folder),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                attn_implementation="eager",  # whose attention can be read
            )
        notes: list[str] = []
        about = _declared(config, network.config.num_labels)
        if source.has("preprocessor_config.json"):
            stated = read_table(source.part("preprocessor_config.json"), "the settings of an image processor")
            about["preprocessing"] = preprocessing_of(stated, notes)
        return Opened(network=LogitsOf(network).eval(), declared=about, notes=tuple(notes))


def text_of_config(source: ModelSource) -> str:
    """Return the text of a folder's config.json; empty where it cannot be read."""
    try:
        return source.part("config.json").read_text(encoding="utf-8")[: 2**20]
    except (InputError, OSError, ValueError):
        return ""


def _check(source: ModelSource, config: Mapping[str, Any]) -> str:
    """Return the class that opens a model; raise InputError for what would run or fetch something, other tasks,
    and weights that are no safetensors."""
    for key in REACHING:
        if key in _set_keys(config):
            raise InputError(
                f"config.json has '{key}', which names code or another library; export the network as ONNX: "
                "optimum-cli export onnx --model FOLDER OUT"
            )
    for key in FETCHING:
        if key in _set_keys(config):
            raise InputError(
                f"config.json has '{key}', which would fetch another model: remove it, and describe its own "
                "backbone in 'backbone_config'"
            )
    if any(kind.startswith("timm") for kind in _kinds(config)):
        raise InputError(  # timm reads the files that the arguments of its networks name
            f"config.json holds a network of timm: give timm:NAME@{source.text}/{WEIGHTS[0]} instead"
        )
    if source.has("adapter_config.json"):
        raise InputError(
            "the folder holds an adapter of another model: merge it (merge_and_unload), and save that"
        )
    weights = next((name for name in WEIGHTS if source.has(name)), None)
    if weights is None:
        raise InputError(
            f"expected {WEIGHTS[0]} in '{source.text}'; got none: save it with "
            "model.save_pretrained(FOLDER), which writes safetensors"
        )
    named = [weights]
    if weights.endswith(".json"):
        index = read_table(source.part(weights), "an index of weights").get("weight_map")
        named += {str(name) for name in index.values()} if isinstance(index, Mapping) else set()
    for name in named:
        if "/" in name or "\\" in name:
            raise InputError(f"the index of weights names '{name:.60}', which is no file of the folder")
        source.part(name)
    names = [str(name) for name in config.get("architectures") or []]
    task = next((task for end, task in TASKS.items() if any(name.endswith(end) for name in names)), None)
    if task is None:
        raise InputError(
            "expected a model for image classification or semantic segmentation; got "
            f"{', '.join(names) or 'none'} in 'architectures' of config.json: give it as a torch module in "
            "Python, or export it as ONNX"
        )
    return task


def _set_keys(config: Any) -> set[str]:
    """Return the keys with a value anywhere in a configuration; of a kernel's name, `auto_map`."""
    if isinstance(config, Mapping):
        keys = {str(key) for key, value in config.items() if value}
        kernel = any("attn_implementation" in str(k) and "/" in str(v) for k, v in config.items())
        return keys.union(*map(_set_keys, config.values()), {"auto_map"} if kernel else ())
    return set().union(*map(_set_keys, config)) if isinstance(config, list) else set()


def _kinds(config: Any) -> set[str]:
    """Return each `model_type` anywhere in a configuration."""
    if isinstance(config, Mapping):
        return set().union(*map(_kinds, config.values()), [str(config.get("model_type", ""))])
    return set().union(*map(_kinds, config)) if isinstance(config, list) else set()


def _declared(config: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Return classes and kind of output that a configuration states."""
    labels = config.get("id2label")
    about: dict[str, Any] = {}
    if isinstance(labels, Mapping) and sorted(labels) == sorted(str(k) for k in range(count)):
        about["classes"] = [str(labels[str(k)]) for k in range(count)]
    kind = config.get("problem_type")
    if kind == "multi_label_classification":
        about["output"] = "sigmoid"
    elif kind == "regression" or (kind is None and count == 1):
        about["output"] = "regression"
    return about


def preprocessing_of(stated: Mapping[str, Any], notes: list[str]) -> Preprocessing:
    """Return the preprocessing that an image processor states: 8-bit values are scaled, resized to the size
    that the network takes, and normalised. A note says where a centre would be cut out."""
    fields: dict[str, Any] = {}
    crop = stated.get("crop_size") if stated.get("do_center_crop") else None
    size = _size(crop) or _size(stated.get("size"))
    if size and stated.get("do_resize", True):
        fields |= {"size": size, "least": 1}
    given = stated.get("size")
    if size and not crop and isinstance(given, Mapping) and "shortest_edge" in given:
        notes.append(f"its processor keeps the proportions of an image; here it is resized to {size}")
    if crop:
        notes.append(
            f"its processor cuts {size} out of the centre after resizing the shorter side; here the whole "
            "image is resized, so that no part is left out: crop images before, if the prediction differs"
        )
    if stated.get("do_rescale", True):
        factor = stated.get("rescale_factor", 1 / 255)
        fields["window"] = (0.0, 1 / factor) if isinstance(factor, float) and factor > 0 else (0.0, 255.0)
    mean, std = (numbers_of(stated.get(key)) for key in ("image_mean", "image_std"))
    if stated.get("do_normalize", True) and mean and std and len(mean) == len(std):
        fields |= {"mean": mean, "std": std, "channels": len(mean)}
        if stated.get("include_top") and "EfficientNet" in str(stated.get("image_processor_type")):
            fields["std"] = tuple(value**2 for value in std)  # it divides by them twice
        if stated.get("rescale_offset"):
            fields["mean"] = tuple(value + 1 for value in mean)  # values from -1 before that
    if stated.get("do_flip_channel_order"):
        notes.append("its processor turns red, green and blue round, which is not followed: give images so")
    return Preprocessing(**fields)


def _size(value: Any) -> tuple[int, int] | None:
    """Return (height, width) of the forms in which image processors write a size."""
    if isinstance(value, Mapping):
        both = [value.get("height"), value.get("width")]
        one = value.get("shortest_edge")
        value = one if both == [None, None] else both
    pair = [value, value] if isinstance(value, int) and not isinstance(value, bool) else value
    numbers = numbers_of(json.loads(json.dumps(pair)), 2) if isinstance(pair, (list, tuple)) else None
    return (int(numbers[0]), int(numbers[1])) if numbers and min(numbers) >= 1 else None
