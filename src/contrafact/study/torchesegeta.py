"""A TorchEsegeta configuration becomes a study file; nothing of it is passed over in silence.

Written from the published description (Chatterjee et al. 2021, arXiv 2110.08429), not from its code: a
method is known by its name wherever it stands, parameters by theirs, and every key that has no meaning
here is named with the reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contrafact.core import EXPLAINERS, InputError, toml_value

# Parameters of methods: theirs to ours.
RENAMED = {
    "layer": "layer", "target_layer": "layer", "layer_name": "layer", "n_steps": "steps", "steps": "steps",
    "n_samples": "samples", "num_samples": "samples", "nt_samples": "samples", "stdevs": "noise",
    "stdiv": "noise", "filter_pos": "channel", "filter": "channel", "selected_filter": "channel",
    "neuron_start": "channel", "cnn_layer": "layer", "iterations": "iterations",
}  # fmt: skip
# What belongs to the whole study: the words a key must hold.
PLACES = {
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
    "sign": "maps are always signed; `contrafact export` draws them",
    "visualize_method": "`contrafact export --kind` draws a map in any way, later",
    "show_colorbar": "every panel has a colour bar",
    "title": "the report names what it shows",
    "is_3d": "read from the image",
    "isdepthfirst": "read from the file's own geometry",
    "batch_dim_present": "images have no batch axis here",
    "patcher_flag": "patches are used where `[model] patch` is given",
    "library": "the method's name says it",
    "name_tag": "the label of a method is its name in the study",
    "uncertainity": "infidelity and sensitivity are metrics of a study, not settings of a method",
    "uncertainty": "infidelity and sensitivity are metrics of a study, not settings of a method",
    "amp": "precision is the model's own",
    "inp_transform_flag": "preprocessing belongs to the model's description",
    "transform": "preprocessing belongs to the model's description",
    "wrapper": "a segmenter's target is frozen in its own prediction: see targets",
    "perturbations_per_eval": "batches are chosen by size",
    "batch_size": "batches are chosen by size",
    "internal_batch_size": "batches are chosen by size",
    "device_ids": "processes are placed by `devices`",
    "neuron_end": "one filter at a time",
}


@dataclass(slots=True)
class Converted:
    """The study as TOML text, and a line for every key that did not come along."""

    text: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Found:
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    study: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    axes: int | None = None
    segments: bool = False


def convert_torchesegeta(path: str | Path) -> Converted:
    """Read a configuration (2D or 3D, classification or segmentation).

    raises  InputError for a file that is not JSON, or names no method
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"expected a TorchEsegeta configuration; got '{path}', which does not exist")
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"'{path.name}' is not JSON: {error}") from error
    found = _Found()
    _walk(tree, "", found)
    if not found.methods:
        raise InputError(f"'{path.name}' names none of TorchEsegeta's methods; expected captum_…, cnn_vis_…, …")
    return Converted(_toml(found), found.notes)


def _known() -> dict[str, str]:
    """Their names in lower case to their names."""
    theirs = ("captum_", "cnn_vis_", "torchray_", "lucent_", "lime_segmentation")
    aliases = [a for names in EXPLAINERS.names().values() for a in names if a.startswith(theirs)]
    return {alias.lower(): alias for alias in aliases}


def _walk(tree: Any, where: str, found: _Found) -> None:
    if isinstance(tree, Mapping):  # a method that is named by a value: the other keys are its parameters
        named = [key for key, value in tree.items() if isinstance(value, str) and _method_of(value)]
        if named:
            rest = {key: value for key, value in tree.items() if key != named[0]}
            _method(str(_method_of(tree[named[0]])), rest, where or str(named[0]), found)
            return
    for key, value in _entries(tree):
        place, name = (f"{where}.{key}" if where else str(key)), _method_of(key)
        listed = _method_of(value) if isinstance(value, str) else None
        if name is not None:
            _method(name, value, place, found)
        elif listed is not None:
            _method(listed, {}, place, found)
        elif not _setting(str(key), value, found):
            if isinstance(value, (Mapping, list)):
                _walk(value, place, found)
            elif not isinstance(key, int):
                found.notes.append(f"{place}: {_why(str(key))}")


def _entries(tree: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(tree, Mapping):
        yield from tree.items()
    elif isinstance(tree, list):
        yield from enumerate(tree)


def _method_of(word: Any) -> str | None:
    return _known().get(str(word).split(".")[-1].lower()) if isinstance(word, str) else None


def _method(name: str, given: Any, place: str, found: _Found) -> None:
    """One of their methods with its parameters."""
    if given is False:
        found.notes.append(f"{place}: switched off")
        return
    ours = EXPLAINERS.canonical(name)
    taken = EXPLAINERS.fields_of(ours)
    tunnel = ("samples", "noise") if isinstance(given, Mapping) and "nt_type" in given else ()
    settings: dict[str, Any] = {"method": ours, **EXPLAINERS.preset(name)}
    for key, value in _entries(given) if isinstance(given, Mapping) else ():
        if value is None:
            found.notes.append(f"{place}.{key}: empty; left at its default")
        elif key == "nt_type":
            kinds = {"smoothgrad": "mean", "smoothgrad_sq": "square", "vargrad": "variance"}
            settings["kind"] = kinds.get(str(value), "mean")
        elif key in ("sliding_window_shapes", "strides", "window"):
            settings["stride" if key == "strides" else "box"] = _sizes(value)
        elif RENAMED.get(key) in taken + tunnel:
            settings[RENAMED[key]] = _layer(value) if RENAMED[key] == "layer" else value
        elif key == "target":
            _setting("target", value, found)
        else:
            found.notes.append(f"{place}.{key}: {_why(key)}")
    found.methods[_label(name, found)] = _smoothed(settings, taken) if "kind" in settings else settings


def _smoothed(settings: dict[str, Any], taken: tuple[str, ...]) -> dict[str, Any]:
    """NoiseTunnel around a method: ours holds the inner one."""
    own = [k for k in ("kind", "samples", "noise") if k in settings and k not in taken]
    outer: dict[str, Any] = {k: settings.pop(k) for k in own}
    inner = {"name": settings.pop("method"), **settings}
    return {"method": "smooth", **outer, "inner": inner}


def _label(name: str, found: _Found) -> str:
    label, number = name, 2
    while label in found.methods:
        label, number = f"{name}-{number}", number + 1
    return label


def _sizes(value: Any) -> Any:
    """`"1,11,11,11"` to [11, 11, 11]: theirs counts channels first."""
    numbers = [int(n) for n in re.findall(r"\d+", str(value))]
    return numbers[0] if len(numbers) == 1 else numbers[1:]


def _layer(value: Any) -> Any:
    """`self.model.base.layer4[1].conv2` to `layer4.1.conv2`."""
    words = re.findall(r"[A-Za-z_]\w*|\d+", str(value))
    while words and words[0] in ("self", "model", "base", "module", "_modules"):
        words.pop(0)
    return ".".join(words)


def _setting(key: str, value: Any, found: _Found) -> bool:
    """Whether the key says something of the whole study, which is then noted."""
    if key.lower() == "is_3d" and isinstance(value, bool):
        found.axes = 3 if value else 2
    if "wrapper" in key.lower() and value:
        found.segments = True
    if isinstance(value, Mapping):
        return False
    for ours, names in PLACES.items():
        if key.lower() in names:
            if value is None or (ours == "limit_seconds" and not value):
                found.notes.append(f"{key}: empty; left at its default")
            else:
                found.study[ours] = {True: "cuda", False: "cpu"}[value] if isinstance(value, bool) else value
            return True
    return False


def _why(key: str) -> str:
    for word, reason in NO_MEANING.items():
        if key.lower() == word or (len(word) > 5 and key.lower().startswith(word)):
            return f"no meaning here: {reason}"
    return "not known; see docs/study.md for what a study can say"


def _toml(found: _Found) -> str:
    asked, lines = found.study, []

    def line(key: str, value: Any) -> None:
        lines.append(f"{key} = {toml_value(value)}")

    if "images" not in asked:
        found.notes.append('images: none named; write them into `images = ["…"]`')
    line("images", _many(asked.get("images", "images/*")))
    line("out", str(asked.get("out", "runs/study")))
    kind = "region" if found.segments else "class"
    line("targets", [f"{kind}:{t}" for t in _many(asked.get("targets", []))])
    if "limit_seconds" in asked:
        line("limit_seconds", float(asked["limit_seconds"]))
    if "devices" in asked:
        line("devices", [_device(d) for d in _many(asked["devices"])])
    lines += ["", "[model]"]
    if "model" in asked:
        about = "a model is described in JSON (factory, weights, classes); see docs/study.md"
        found.notes.append(f"model: '{asked['model']}': {about}")
    line("path", str(Path(str(asked.get("model", "model"))).with_suffix(".json")))
    if "patch" in asked:
        size = _many(asked["patch"]) * (1 if isinstance(asked["patch"], list) else found.axes or 3)
        line("patch", size)
        if "overlap" in asked:
            line("overlap", round(float(_many(asked["overlap"])[0]) / float(size[0]), 3))
    for label, settings in found.methods.items():
        lines += ["", f"[methods.{label}]"]
        for key, value in settings.items():
            line(key, value)
    return "\n".join(lines) + "\n"


def _many(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _device(value: Any) -> str:
    text = str(value)
    return f"cuda:{text}" if text.isdigit() else text
