"""The conversion of a TorchEsegeta configuration into a study file; no key is ignored silently.

Written from the published description (Chatterjee et al. 2021, arXiv 2110.08429), not from its code: methods
and parameters are recognised by their names at any level, and every key without a meaning here is listed with
the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contrafact.core import EXPLAINERS, InputError, check_file, toml_value
from contrafact.core.reading import reading
from contrafact.io import read_json

# Names of method parameters: TorchEsegeta's to Contrafact's.
RENAMED = {
    "layer": "layer", "target_layer": "layer", "layer_name": "layer", "n_steps": "steps", "steps": "steps",
    "n_samples": "samples", "num_samples": "samples", "nt_samples": "samples", "stdevs": "noise",
    "stdiv": "noise", "filter_pos": "channel", "filter": "channel", "selected_filter": "channel",
    "neuron_start": "channel", "cnn_layer": "layer", "iterations": "iterations",
}  # fmt: skip
# Settings of the whole study, by TorchEsegeta's possible keys.
STUDY_KEYS = {
    "images": ("input_file", "image_path", "test_img", "input_path", "dataset"),
    "out": ("output_path", "out_path", "output_dir"),
    "targets": ("target", "class_list", "classes"),
    "limit_seconds": ("timeout", "time_out"),
    "devices": ("device_ids", "device", "gpu", "cuda"),
    "patch": ("patch_size",),
    "overlap": ("patch_overlap", "overlap"),
    "model": ("model_path", "checkpoint", "weights", "model_file"),
}
NO_MEANING = {
    "abs": "maps are always signed",
    "sign": "maps are always signed; `contrafact export` renders them",
    "visualize_method": "`contrafact export --kind` renders a map in any way, later",
    "show_colorbar": "every panel has a colour bar",
    "title": "the report has its own titles",
    "is_3d": "taken from the image",
    "isdepthfirst": "taken from the file's geometry",
    "batch_dim_present": "images have no batch axis here",
    "patcher_flag": "patches are used where `[model] patch` is set",
    "library": "part of the method's name",
    "name_tag": "the label of a method is its name in the study",
    "uncertainity": "infidelity and sensitivity are metrics of a study, not settings of a method",
    "uncertainty": "infidelity and sensitivity are metrics of a study, not settings of a method",
    "amp": "the model defines its precision",
    "inp_transform_flag": "preprocessing belongs to the model's description",
    "transform": "preprocessing belongs to the model's description",
    "wrapper": "a segmenter's target is fixed to its own prediction: see targets",
    "perturbations_per_eval": "batch sizes follow from the image size",
    "batch_size": "batch sizes follow from the image size",
    "internal_batch_size": "batch sizes follow from the image size",
    "device_ids": "`devices` distributes the processes",
    "neuron_end": "one filter at a time",
}


@dataclass(slots=True)
class Converted:
    """The study as TOML text, and a line for every key that was not converted."""

    text: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Conversion:
    """The methods, study settings and notes collected so far."""

    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    study: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    axes: int | None = None
    segments: bool = False


def convert_torchesegeta(path: str | Path) -> Converted:
    """Return the study for a TorchEsegeta configuration (2D or 3D, classification or segmentation).

    raises  InputError for a missing file, one that is not JSON, or contains no method
    """
    path = Path(path)
    check_file(path, "a TorchEsegeta configuration")
    tree = read_json(path)
    conversion = _Conversion()
    with reading(path, "a TorchEsegeta configuration that can be converted"):
        _walk(tree, "", conversion)
    if not conversion.methods:
        raise InputError(
            f"expected a method of TorchEsegeta, such as captum_… or cnn_vis_…; got none in '{path.name}'"
        )
    with reading(path, "a TorchEsegeta configuration that can be converted"):
        return Converted(_toml(conversion), conversion.notes)


def _known() -> dict[str, str]:
    """Return TorchEsegeta's method names by their lower-case form."""
    theirs = ("captum_", "cnn_vis_", "torchray_", "lucent_", "lime_segmentation")
    aliases = [a for names in EXPLAINERS.names().values() for a in names if a.startswith(theirs)]
    return {alias.lower(): alias for alias in aliases}


def _walk(tree: Any, where: str, conversion: _Conversion) -> None:
    """Collect methods and settings of a part of the configuration, at the path `where`."""
    if isinstance(tree, Mapping):  # a method named by a value: the other keys are its parameters
        named = [key for key, value in tree.items() if isinstance(value, str) and _method_of(value)]
        if named:
            rest = {key: value for key, value in tree.items() if key != named[0]}
            _method(str(_method_of(tree[named[0]])), rest, where or str(named[0]), conversion)
            return
    for key, value in _entries(tree):
        place, name = (f"{where}.{key}" if where else str(key)), _method_of(key)
        listed = _method_of(value) if isinstance(value, str) else None
        if name is not None:
            _method(name, value, place, conversion)
        elif listed is not None:
            _method(listed, {}, place, conversion)
        elif not _setting(str(key), value, conversion):
            if isinstance(value, (Mapping, list)):
                _walk(value, place, conversion)
            elif not isinstance(key, int):
                conversion.notes.append(f"{place}: {_why(str(key))}")


def _entries(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the keys and values of a mapping, or the indices and values of a list."""
    if isinstance(tree, Mapping):
        yield from tree.items()
    elif isinstance(tree, list):
        yield from enumerate(tree)


def _method_of(word: Any) -> str | None:
    """Return the method that a word names, or None."""
    return _known().get(str(word).split(".")[-1].lower()) if isinstance(word, str) else None


def _method(name: str, parameters: Any, place: str, conversion: _Conversion) -> None:
    """Add one method with its parameters."""
    if parameters is False:
        conversion.notes.append(f"{place}: disabled")
        return
    ours = EXPLAINERS.canonical(name)
    known = EXPLAINERS.fields_of(ours)
    noise_tunnel = ("samples", "noise") if isinstance(parameters, Mapping) and "nt_type" in parameters else ()
    settings: dict[str, Any] = {"method": ours, **EXPLAINERS.preset(name)}
    for key, value in _entries(parameters) if isinstance(parameters, Mapping) else ():
        if value is None:
            conversion.notes.append(f"{place}.{key}: empty; the default applies")
        elif key == "nt_type":
            kinds = {"smoothgrad": "mean", "smoothgrad_sq": "square", "vargrad": "variance"}
            settings["kind"] = kinds.get(str(value), "mean")
        elif key in ("sliding_window_shapes", "strides", "window"):
            settings["stride" if key == "strides" else "box"] = _sizes(value)
        elif RENAMED.get(key) in known + noise_tunnel:
            settings[RENAMED[key]] = _layer(value) if RENAMED[key] == "layer" else value
        elif key == "target":
            _setting("target", value, conversion)
        else:
            conversion.notes.append(f"{place}.{key}: {_why(key)}")
    conversion.methods[_label(name, conversion)] = (
        _smoothed(settings, known) if "kind" in settings else settings
    )


def _smoothed(settings: dict[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    """Return the settings of `smooth` around a method, the equivalent of a NoiseTunnel."""
    own = [k for k in ("kind", "samples", "noise") if k in settings and k not in known]
    outer: dict[str, Any] = {k: settings.pop(k) for k in own}
    inner = {"name": settings.pop("method"), **settings}
    return {"method": "smooth", **outer, "inner": inner}


def _label(name: str, conversion: _Conversion) -> str:
    """Return a label for a method that is not used yet."""
    label, number = name, 2
    while label in conversion.methods:
        label, number = f"{name}-{number}", number + 1
    return label


def _sizes(value: Any) -> Any:
    """Return sizes from text: `"1,11,11,11"`, with channels first, as [11, 11, 11]."""
    numbers = [int(n) for n in re.findall(r"\d+", str(value))]
    return numbers[0] if len(numbers) == 1 else numbers[1:]


def _layer(value: Any) -> Any:
    """Return the name of a layer: `self.model.base.layer4[1].conv2` as `layer4.1.conv2`."""
    words = re.findall(r"[A-Za-z_]\w*|\d+", str(value))
    while words and words[0] in ("self", "model", "base", "module", "_modules"):
        words.pop(0)
    return ".".join(words)


def _setting(key: str, value: Any, conversion: _Conversion) -> bool:
    """Whether the key is a setting of the whole study, which is then stored."""
    if key.lower() == "is_3d" and isinstance(value, bool):
        conversion.axes = 3 if value else 2
    if "wrapper" in key.lower() and value:
        conversion.segments = True
    if isinstance(value, Mapping):
        return False
    for ours, names in STUDY_KEYS.items():
        if key.lower() in names:
            if value is None or (ours == "limit_seconds" and not value):
                conversion.notes.append(f"{key}: empty; the default applies")
            else:
                conversion.study[ours] = (
                    {True: "cuda", False: "cpu"}[value] if isinstance(value, bool) else value
                )
            return True
    return False


def _why(key: str) -> str:
    """Return the reason why a key is not converted."""
    for word, reason in NO_MEANING.items():
        if key.lower() == word or (len(word) > 5 and key.lower().startswith(word)):
            return f"not needed: {reason}"
    return "unknown; see docs/study.md for the settings of a study"


def _toml(conversion: _Conversion) -> str:
    """Return the study as TOML text."""
    study, lines = conversion.study, []

    def line(key: str, value: Any) -> None:
        lines.append(f"{key} = {toml_value(value)}")

    if "images" not in study:
        conversion.notes.append('images: missing; add them as `images = ["…"]`')
    line("images", _many(study.get("images", "images/*")))
    line("out", str(study.get("out", "runs/study")))
    kind = "region" if conversion.segments else "class"
    line("targets", [f"{kind}:{t}" for t in _many(study.get("targets", []))])
    if "limit_seconds" in study:
        line("limit_seconds", float(study["limit_seconds"]))
    if "devices" in study:
        line("devices", [_device(d) for d in _many(study["devices"])])
    lines += ["", "[model]"]
    if "model" in study:
        about = "describe the model in JSON (factory, weights, classes); see docs/study.md"
        conversion.notes.append(f"model: '{study['model']}': {about}")
    line("path", str(Path(str(study.get("model", "model"))).with_suffix(".json")))
    if "patch" in study:
        size = _many(study["patch"]) * (1 if isinstance(study["patch"], list) else conversion.axes or 3)
        line("patch", size)
        if "overlap" in study:
            line("overlap", round(float(_many(study["overlap"])[0]) / float(size[0]), 3))
    for label, settings in conversion.methods.items():
        lines += ["", f"[methods.{label}]"]
        for key, value in settings.items():
            line(key, value)
    return "\n".join(lines) + "\n"


def _many(value: Any) -> list[Any]:
    """Return a value as a list."""
    return list(value) if isinstance(value, list) else [value]


def _device(value: Any) -> str:
    """Return a device as text: the number 0 as cuda:0."""
    text = str(value)
    return f"cuda:{text}" if text.isdigit() else text
