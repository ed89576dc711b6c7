"""Preprocessing and kind of output that the transforms of a MONAI configuration state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from contrafact.models.json_tables import numbers_of
from contrafact.models.preprocessing import Preprocessing

PASSED = (
    "LoadImage", "EnsureChannelFirst", "AddChannel", "EnsureType", "ToTensor", "CastToType", "AsChannelFirst",
    "DivisiblePad", "SpatialPad", "ToDevice",
)  # fmt: skip

ORDER = ("window", "mean", "normalise")  # as a `Preprocessing` changes intensities


@dataclass(frozen=True, slots=True)
class Steps:
    """What the transforms of a configuration state, and notes on those that are not followed."""

    preprocessing: Preprocessing
    output: str
    notes: tuple[str, ...]


def steps_of(config: Mapping[str, Any], axes: int, channels: int = 1) -> Steps:
    """Return what the transforms before and after the network state.

    axes      spatial axes of the network; sizes and spacings are in the order of the file, i j k
    channels  of the image
    """
    fields: dict[str, Any] = {}
    notes: list[str] = []
    for name, about in _transforms(config.get("preprocessing"), notes):
        more = _fields(name, about, axes, notes)
        if "normalise" in more and channels != 1 and about.get("channel_wise") is not True:
            notes.append(f"{name} measures all channels together; here each channel is normalised by its own")
        if _too_late(more, fields):
            notes.append(f"{name} after another change of intensities is not followed: declare preprocessing")
        else:
            fields |= more
    output = "logits"
    for name, about in _transforms(config.get("postprocessing"), []):
        if name == "Activations" and about.get("sigmoid") is True:
            output = "sigmoid"
    return Steps(Preprocessing(**fields), output, tuple(notes))


def _too_late(more: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    """Whether a step of intensities comes after one that a `Preprocessing` has later, or has once."""
    first = next((number for number, key in enumerate(ORDER) if key in more), len(ORDER))
    if all(table.get("normalise") in ("image", "range") for table in (more, fields)):
        return False  # each undoes the other
    return any(key in fields for key in ORDER[first:])


def _transforms(part: Any, notes: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the transforms of a Compose by the name of their class, without the d of those of dictionaries."""
    listed = part.get("transforms") if isinstance(part, Mapping) else part
    if not isinstance(listed, list):
        notes.append("its preprocessing is not a list of transforms, and is not followed: declare it")
        return
    for one in listed:
        if not isinstance(one, Mapping) or not isinstance(one.get("_target_"), str):
            notes.append(f"the transform '{one!s:.60}' is not followed: prepare images so before")
        elif one.get("_disabled_") not in (True, "true", "True"):
            name = one["_target_"].rpartition(".")[2]
            yield name.removesuffix("Dict").removesuffix("D").removesuffix("d"), one


def _fields(name: str, about: Mapping[str, Any], axes: int, notes: list[str]) -> dict[str, Any]:
    """Return the fields of a `Preprocessing` that one transform states."""
    if name == "ScaleIntensityRange":
        return _range(about, notes)
    if name == "ScaleIntensity":
        if (about.get("minv", 0.0), about.get("maxv", 1.0)) == (0, 1):
            return {"normalise": "range"}
        notes.append("ScaleIntensity has other ends than 0 and 1, and is not followed: declare preprocessing")
        return {}
    if name == "NormalizeIntensity":
        if about.get("subtrahend") is not None or about.get("divisor") is not None:
            mean, std = (numbers_of(_listed(about.get(key))) for key in ("subtrahend", "divisor"))
            if mean and std and len(mean) == len(std):
                return {"mean": mean, "std": std}
            notes.append("NormalizeIntensity has values that are not plain: declare mean and std")
            return {}
        return {"normalise": "nonzero" if about.get("nonzero") is True else "image"}
    if name == "Resize":
        size = numbers_of(about.get("spatial_size"), axes)
        if size and min(size) > 0 and about.get("size_mode", "all") == "all":
            return {"size": tuple(int(n) for n in reversed(size)), "least": 1}
        notes.append("Resize has a size that is not plain: declare size")
        return {}
    if name == "Spacing":
        spacing = numbers_of(_listed(about.get("pixdim")), axes)
        if spacing and min(spacing) > 0:
            return {"spacing_mm": tuple(reversed(spacing))}
        notes.append("Spacing has values that are not plain: resample images to it, and declare spacing_mm")
        return {}
    if name == "Orientation":
        notes.append(f"it was trained on volumes turned to {about.get('axcodes')}: give such volumes")
    elif name not in PASSED:
        notes.append(f"the transform {name} of its preprocessing is not followed: prepare images so before")
    return {}


def _range(about: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """Return the window of a range a_min..a_max that is mapped to b_min..b_max."""
    ends = numbers_of([about.get(key) for key in ("a_min", "a_max")])
    low, high = about.get("b_min", 0.0), about.get("b_max", 1.0)
    low, high = 0.0 if low is None else low, 1.0 if high is None else high
    if ends is None or not ends[0] < ends[1] or numbers_of([low, high]) is None or not low < high:
        notes.append("ScaleIntensityRange has values that are not plain: declare the window")
        return {}
    fields: dict[str, Any] = {"window": ends, "clip": about.get("clip") is True}
    if (low, high) != (0, 1):
        fields |= {"mean": (-low / (high - low),), "std": (1 / (high - low),)}
    return fields


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, (int, float)) else value
