"""A description of a model to edit: what its format states, and what one pass through it shows."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from contrafact.core import InputError
from contrafact.core.reading import one_line
from contrafact.models.declaration_checks import ROUNDED, within_unit
from contrafact.models.detections import boxes_in, is_detection, rows_of
from contrafact.models.loading import predictor_of
from contrafact.models.opened import Opened, merged
from contrafact.models.predictor_info import MAIN
from contrafact.models.predictors import TorchPredictor
from contrafact.models.preprocessing import Preprocessing

SIDES = (64, 224, 32, 96)
LAYERS = 4
FEW = 3  # boxes that are told


@dataclass(frozen=True, slots=True)
class Head:
    """One output of a model: its name, shape (K, *S) for one image, least and greatest value, its number where
    it has no name, and the greatest sum over K."""

    name: str
    shape: tuple[int, ...]
    low: float
    high: float
    number: int | None = None
    total: float = 1.0

    @property
    def key(self) -> int | str:
        """What `head` names it by: the name, or of outputs without names the number."""
        return self.name if self.number is None else self.number

    def __str__(self) -> str:
        return f"{self.name} ({' x '.join(map(str, self.shape))}, from {self.low:.3g} to {self.high:.3g})"


@dataclass(frozen=True, slots=True)
class Pass:
    """What one image showed: its shape (C, *S), the outputs in words and those that are arrays (none of a
    detector), and layers by name."""

    image: tuple[int, ...]
    outputs: tuple[str, ...]
    heads: tuple[Head, ...]
    layers: tuple[str, ...]


ABOUT = {
    "classes": ("names of the outputs, in their order", "numbers until you name them"),
    "output": (
        "logits (exclusive), sigmoid (a logit for each), probabilities (exclusive), multilabel (a probability "
        "for each), regression, ordinal, survival, detection",
        "",
    ),
    "preprocessing": (
        "from the image's units to the network's: size, channels, window (its ends become 0 and 1), mean, std, "
        "clip, normalise",
        "none is stated: declare that of its training",
    ),
}
LABELS = "names of the labels by their number, from 0 (detectors of torchvision keep 0 for the background)"


def drafted(opened: Opened, given: Mapping[str, Any], image: NDArray[Any] | None) -> dict[str, Any]:
    """Return a description with comments: keys that begin with `//`, which are not read. `model` or `factory`
    are the caller's to add.

    given   what the user declared, as in `load_predictor`
    image   (C, *S) that the network takes; None: noise of sizes that networks take often
    raises  InputError where no image could be passed through
    """
    declared = merged(opened.declared, given)
    preprocessing: Preprocessing = declared.get("preprocessing") or Preprocessing()
    seen = _passed(opened, preprocessing, image)
    main = _main(seen.heads, declared.get("head")) if seen.heads else None
    numbers = [str(k) for k in range(main.shape[0])] if main else []
    size = " x ".join(map(str, seen.image))
    table: dict[str, Any] = {"// outputs": f"of an image {size}: {'; '.join(seen.outputs)}"}
    table |= {f"// note {k + 1}": note for k, note in enumerate(opened.notes)}
    values: dict[str, Any] = {
        "classes": list(declared.get("classes") or numbers),
        "output": declared.get("output", _kind(main) if main else "detection"),
        "preprocessing": _written(preprocessing),
    }
    for key, value in values.items():
        text, missing = ABOUT[key]
        text = text if main or key != "classes" else LABELS
        missing = f"{value}: guessed from the values above" if key == "output" else missing
        table |= {f"// {key}": text if declared.get(key) else f"{text}; {missing}", key: value}
    if main and len(seen.heads) > 1:
        table |= {"// head": "which of the outputs above", "head": main.key}
    if seen.layers:
        table["// layers"] = f"with a map, for --set gradcam.layer=NAME: {', '.join(seen.layers)}"
    return table


def _main(heads: tuple[Head, ...], head: Any) -> Head:
    """Return the output that is used; None: the main one by its name, as a predictor takes it, or the first."""
    names = [one.name for one in heads]
    if head is None:
        return next((one for name in MAIN for one in heads if one.name == name), heads[0])
    number = names.index(head) if head in names else head
    if not isinstance(number, int) or not 0 <= number < len(heads):
        raise InputError(f"this model's outputs are {', '.join(names)}; got head {head!r}")
    return heads[number]


def _written(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the fields of a preprocessing that are not as without it."""
    plain = Preprocessing()
    values = {field.name: getattr(preprocessing, field.name) for field in dataclasses.fields(preprocessing)}
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in values.items()
        if value != getattr(plain, key)
    }


def _passed(opened: Opened, preprocessing: Preprocessing, image: NDArray[Any] | None) -> Pass:
    """Return what the first image that the network takes shows."""
    errors: list[str] = []
    if image is not None and opened.patch:
        image = image[(slice(None), *(slice(0, side) for side in opened.patch))]
    for values in [image] if image is not None else _noise(opened, preprocessing):
        try:
            raw = _raw(opened, preprocessing, values)
            heads = tuple(_heads(raw))
            found = tuple(map(str, heads)) if heads else _boxes(raw)
        except Exception as error:  # a network of any kind, with an image that may not fit it
            errors.append(f"{' x '.join(map(str, values.shape))}: {one_line(error)}")
            continue
        if found:
            kind = _kind(heads[0]) if heads else "detection"
            return Pass(values.shape, found, heads, _layers(opened, preprocessing, values, kind))
        errors.append("no output is an array of numbers")
    raise InputError(f"no image could be passed through the model ({'; '.join(errors[:3])}): give --image FILE")


def _noise(opened: Opened, preprocessing: Preprocessing) -> Iterator[NDArray[np.float32]]:
    """Yield images of noise that the network may take."""
    channels = preprocessing.channels
    axes: tuple[int, ...] = (2, 3)
    if isinstance(opened.network, nn.Module):
        kinds = (nn.Conv2d, nn.Conv3d)
        first = next((part for part in opened.network.modules() if isinstance(part, kinds)), None)
        if first is not None:
            channels = channels or first.in_channels
            axes = (2,) if isinstance(first, nn.Conv2d) else (3,)
    low, high = preprocessing.window or (0.0, 1.0)
    sizes = [preprocessing.size or opened.patch] if preprocessing.size or opened.patch else []
    sizes = sizes or [(side,) * count for count in axes for side in SIDES[: 4 if count == 2 else 1]]
    for count in (channels,) if channels else (1, 3):
        for size in sizes:
            noise = np.random.default_rng(0).uniform(low, high, (count, *size))
            yield noise.astype(np.float32)


@torch.no_grad()
def _raw(opened: Opened, preprocessing: Preprocessing, values: NDArray[Any]) -> Any:
    """Return all that a network answers one image with."""
    images = preprocessing(torch.as_tensor(values, dtype=torch.float32)[None])
    if not isinstance(opened.network, nn.Module):
        return opened.network(images.numpy())
    with contextlib.suppress(NotImplementedError):  # exported programs have no modes
        opened.network.eval()
    return opened.network(images)


def _heads(raw: Any) -> Iterator[Head]:
    """Yield the outputs that are arrays of one image, by their names or numbers."""
    pairs = list(raw.items()) if isinstance(raw, Mapping) else None
    if pairs is None:
        pairs = list(enumerate(raw)) if isinstance(raw, (tuple, list)) else [("output", raw)]
    for name, value in pairs:
        if isinstance(value, (Tensor, np.ndarray)) and value.ndim >= 1 and value.shape[0] == 1:
            tensor = torch.as_tensor(value).float()
            shape = tuple(tensor.shape[1:]) or (1,)
            number = name if isinstance(raw, (tuple, list)) else None
            total = float(tensor.sum(dim=1).max()) if tensor.ndim > 1 else float(tensor.max())
            yield Head(str(name), shape, float(tensor.min()), float(tensor.max()), number, total)


def _boxes(raw: Any) -> tuple[str, ...]:
    """Return what a detector finds in one image in words; nothing of other outputs."""
    if not is_detection(raw):
        return ()
    found = [row for row in boxes_in(rows_of(raw))[0].tolist() if row[5] > 0]
    told = ", ".join(f"label {int(label)} with score {score:.2g}" for *_, label, score in found[:FEW])
    return (f"{len(found)} box(es){f', the first: {told}' if found else ''}",)


def _kind(head: Head) -> str:
    """Return the kind of output that a shape and its values suggest."""
    if head.shape[0] == 1:
        return "sigmoid" if len(head.shape) > 1 or -30 < head.low < 30 else "regression"
    if not within_unit(torch.tensor([head.low, head.high])):
        return "logits"
    return "probabilities" if abs(head.total - 1) < ROUNDED else "multilabel"


def _layers(opened: Opened, preprocessing: Preprocessing, values: NDArray[Any], kind: str) -> tuple[str, ...]:
    """Return the default layer of a network with its cells, and the last others; empty where none is read."""
    try:
        predictor = predictor_of(dataclasses.replace(opened, patch=()), {"output": kind})
        if not isinstance(predictor, TorchPredictor) or not predictor.watchable:
            return ()
        predictor.preprocessing = preprocessing
        layer = predictor.feature_layer(torch.as_tensor(values)[None])
    except Exception:  # a network without such a layer
        return ()
    names = [
        name for name, part in predictor.module.named_modules() if isinstance(part, (nn.Conv2d, nn.Conv3d))
    ]
    cells = " x ".join(map(str, layer.cells))
    return (
        f"{layer.name} ({cells} cells, the default)",
        *[n for n in names if n != layer.name][-LAYERS:][::-1],
    )
