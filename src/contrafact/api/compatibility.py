"""Every method tried on one model: exact, approximate or unsupported, and why."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from contrafact.api import explanation as face
from contrafact.core import EXPLAINERS, ContrafactError, ContrafactWarning, Image, InputRangeWarning, Record
from contrafact.models import TorchPredictor, inspect_network, steadiness

# What makes a method quick: whether it works does not hang on it.
SMALL = {"samples": 4, "masks": 64, "steps": 8, "count": 2, "iterations": 4, "octaves": 1}
RECTIFIED = ("guided-backprop", "deconvolution", "guided-gradcam", "filter-guided-backprop")


def check_methods(predictor: Any, image: Image, bundle: Any = None) -> Iterator[dict[str, Any]]:
    """A row per method: name, works, status (exact, approximate, unsupported), why."""
    target = face.parse(predictor, None, image)
    for name in EXPLAINERS.names():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ContrafactWarning)  # said once, by `findings_of` and the row
                result = face.explain(
                    _small(name), predictor, image, target=target, bundle=bundle, background=[image, image]
                )
        except Exception as error:  # whatever a library raises: the other methods still get their row
            kind = "" if isinstance(error, ContrafactError) else f"{type(error).__name__}: "
            why = kind + " ".join(str(error).split())
            yield {"name": name, "works": False, "status": "unsupported", "why": why}
            continue
        status, why = _verdict(name, result.record)
        if "layer" in result.record.details:
            cells = " x ".join(map(str, result.record.details["cells"]))
            why = f"{why}; " * bool(why) + f"layer {result.record.details['layer']}, {cells} cells"
        cost = f"{result.record.forward_passes:.0f} passes, {result.record.seconds:.2f} s an image in small"
        yield {"name": name, "works": True, "status": status, "why": f"{why}; {cost}" if why else cost}


def findings_of(predictor: Any, image: Image) -> list[str]:
    """What the network does that methods might miss, in lines; first what makes every answer doubtful."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", ContrafactWarning)
        found = steadiness(predictor, image.values[None]).lines() + _layers(predictor, image)
    return [str(one.message) for one in heard if issubclass(one.category, InputRangeWarning)] + found


def _layers(predictor: Any, image: Image) -> list[str]:
    if not isinstance(predictor, TorchPredictor):
        return ["a black box, or a model that takes patches: its layers are not looked into"]
    if not predictor.watchable:
        return ["a TorchScript model hides its layers; it is code, and was opened because it is trusted"]
    with predictor.frozen():
        return inspect_network(predictor, image.values[None]).lines()


def _verdict(name: str, record: Record) -> tuple[str, str]:
    if getattr(_small(name), "sampled", False):
        return "approximate", "an estimate from samples or a search"
    if "conservation" in record.notes:
        share = record.notes["conservation"]
        if abs(share - 1) > 0.05:
            return (
                "approximate",
                f"{share:.0%} of the relevance arrives (biases and normalisation keep the rest)",
            )
        return "exact", f"{share:.0%} of the relevance arrives"
    if "windows" in record.notes:
        layers = f"{record.notes['windows']:.0f} layer(s) of attention within windows"
        return "approximate", f"{layers} followed; convolutions, merging and skip connections are not"
    if "completeness" in record.notes:
        gap = record.notes["completeness"]
        return ("exact" if gap <= 0.02 else "approximate"), f"the map sums to the change within {gap:.2%}"
    if name in RECTIFIED:
        return _of_rectifiers(record)
    return "exact", ""


def _of_rectifiers(record: Record) -> tuple[str, str]:
    changed, left = record.details["rectifiers"], record.details["unchanged"]
    if not left:
        return "exact", f"all {changed} rectifier(s) changed"
    names = ", ".join(f"{count} {what}" for what, count in left.items())
    return "approximate", f"{changed} rectifier(s) changed, {names} left as they are"


def _small(name: str) -> Any:
    fields = EXPLAINERS.fields_of(name)
    walks = getattr(EXPLAINERS.get(name), "needs_bundle", False)  # its steps are no count
    counts = {k: v for k, v in SMALL.items() if k in fields and not walks}
    if name == "integrated-gradients":
        counts.pop("steps")  # adaptive, which says how complete it is
    return EXPLAINERS.make(name, **counts)


def noise_for(predictor: Any) -> Image:
    """Noise of the size and range the model takes."""
    wanted = predictor.preprocessing
    size = wanted.size or (64, 64)
    low, high = wanted.window or (0.0, 1.0)
    values = np.random.default_rng(0).uniform(low, high, (wanted.channels or 1, *size))
    return Image(values.astype(np.float32), source="noise")
