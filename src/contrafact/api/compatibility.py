"""The compatibility of every method with a model: exact, approximate or unsupported, and why."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from contrafact.api import explanation
from contrafact.api.spacing import spacing_line
from contrafact.core import (
    EXPLAINERS,
    ContrafactError,
    ContrafactWarning,
    Image,
    InputRangeWarning,
    Record,
    traits_of,
)
from contrafact.models import TorchPredictor, inspect_network, steadiness
from contrafact.models.loading import notes_of

# Small hyper-parameters for a quick trial; they do not change whether a method works.
QUICK = {"samples": 4, "masks": 64, "steps": 8, "count": 2, "iterations": 4, "octaves": 1}


def check_methods(
    predictor: Any, image: Image, bundle: Any = None, *, results: dict[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Run every method on one image, and yield a row for each: name, works, status (exact, approximate or
    unsupported), why. The results are put into `results` by the method's name."""
    target = explanation.parse(predictor, None, image)
    for name in EXPLAINERS.names():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ContrafactWarning)  # reported by `findings_of` and the row
                result = explanation.explain(
                    _quick(name), predictor, image, target=target, bundle=bundle, background=[image, image]
                )
        except Exception as error:  # any library error becomes the row of this method
            kind = "" if isinstance(error, ContrafactError) else f"{type(error).__name__}: "
            reason = kind + " ".join(str(error).split())
            yield {"name": name, "works": False, "status": "unsupported", "why": reason}
            continue
        if results is not None:
            results[name] = result
        status, reason = _verdict(name, result.record)
        if "layer" in result.record.details:
            cells = " x ".join(map(str, result.record.details["cells"]))
            reason = f"{reason}; " * bool(reason) + f"layer {result.record.details['layer']}, {cells} cells"
        passes, seconds = result.record.forward_passes, result.record.seconds
        cost = f"{passes:.0f} passes, {seconds:.2f} s per image with small settings"
        yield {"name": name, "works": True, "status": status, "why": f"{reason}; {cost}" if reason else cost}


def findings_of(predictor: Any, image: Image) -> list[str]:
    """Return properties of the network that limit explanations, one line each: input range, outputs that are
    not deterministic, and layers that methods do not follow; first, what its format says of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ContrafactWarning)
        findings = steadiness(predictor, image.values[None]).lines() + _layers(predictor, image)
    ranges = [str(warning.message) for warning in caught if issubclass(warning.category, InputRangeWarning)]
    spacing = spacing_line(predictor, image)
    return [*notes_of(predictor), *([spacing] if spacing else []), *ranges, *findings]


def _layers(predictor: Any, image: Image) -> list[str]:
    """Return findings on the network's layers, or why they are not inspected."""
    if not isinstance(predictor, TorchPredictor):
        return ["a black box, or a model that takes patches: its layers are not inspected"]
    if not predictor.watchable:
        return ["a TorchScript model hides its layers; it is code, which is loaded because it is trusted"]
    with predictor.frozen():
        return inspect_network(predictor, image.values[None]).lines()


def _verdict(name: str, record: Record) -> tuple[str, str]:
    """Return status and reason of a method from the record of its result."""
    if traits_of(_quick(name)).sampled:
        return "approximate", "an estimate from samples or a search"
    if "conservation" in record.notes:
        share = record.notes["conservation"]
        if abs(share - 1) > 0.05:
            return (
                "approximate",
                f"{share:.0%} of the relevance reaches the input (biases and normalisation absorb the rest)",
            )
        return "exact", f"{share:.0%} of the relevance reaches the input"
    if "windows" in record.notes:
        layers = f"{record.notes['windows']:.0f} layer(s) of attention within windows"
        return "approximate", f"{layers} followed; convolutions, merging and skip connections are not"
    if "completeness" in record.notes:
        gap = record.notes["completeness"]
        return ("exact" if gap <= 0.02 else "approximate"), f"the map sums to the change within {gap:.2%}"
    if "rectifiers" in record.details:
        return _of_rectifiers(record)
    return "exact", ""


def _of_rectifiers(record: Record) -> tuple[str, str]:
    """Return status and reason of a method that changes the gradient of rectifiers."""
    changed, unchanged = record.details["rectifiers"], record.details["unchanged"]
    if not unchanged:
        return "exact", f"all {changed} rectifier(s) changed"
    names = ", ".join(f"{count} {what}" for what, count in unchanged.items())
    return "approximate", f"{changed} rectifier(s) changed, {names} unchanged"


def _quick(name: str) -> Any:
    """Return a method with small hyper-parameters."""
    fields = EXPLAINERS.fields_of(name)
    counterfactual = traits_of(name).needs_bundle  # whose steps are not a number
    counts = {k: v for k, v in QUICK.items() if k in fields and not counterfactual}
    if name == "integrated-gradients":
        counts.pop("steps")  # the adaptive form measures completeness
    return EXPLAINERS.make(name, **counts)


def noise_for(predictor: Any) -> Image:
    """Return an image of noise in the size and range that the model takes."""
    preprocessing = predictor.preprocessing
    size = preprocessing.size or (64, 64)
    low, high = preprocessing.window or (0.0, 1.0)
    values = np.random.default_rng(0).uniform(low, high, (preprocessing.channels or 1, *size))
    return Image(values.astype(np.float32), source="noise")
