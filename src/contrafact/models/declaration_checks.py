"""Check the declared output kind and preprocessing of a model against its outputs and inputs."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from contrafact.core import ContrafactWarning, InputError, InputRangeWarning
from contrafact.models.preprocessing import Preprocessing

RAW = ("logits", "sigmoid", "ordinal", "survival")  # output kinds before a sigmoid or softmax
SEEN = 32  # values after which the range of outputs is told; a logit of one image may lie from 0 to 1
ROUNDED = 0.1  # what a row of probabilities may lack to 1: a server may round them
MULTILABEL = 'output="multilabel" (--output multilabel)'
EDGE = 1 / 32  # share of a window at its ends: 8-bit numbers as 0 to 1 lie within 1 / 255 of one
FAR = 16.0  # networks are trained on values of a few units; 8-bit values or Hounsfield units are greater
SHAPED = (
    "View", "Reshape", "Squeeze", "Unsqueeze", "Alias", "Clone", "ToCopy", "Select", "Slice", "Index", "Stack",
    "Cat", "Transpose", "Permute", "T",
)  # fmt: skip


def check_kind(outputs: Tensor, kind: str) -> None:
    """Raise InputError for outputs (N, K, *S) that contradict the declared kind.

    logits         all rows are non-negative and sum to 1: they are probabilities after a softmax
    probabilities  a value is below 0 or above 1, or a row does not sum to 1
    multilabel     a value is below 0 or above 1
    """
    values = outputs.detach()
    if not values.numel():
        return
    least, slack = float(values.min()), 1e-4 if values.dtype in (torch.float32, torch.float64) else 1e-2
    if kind in ("probabilities", "multilabel") and (least < -slack or float(values.max()) > 1 + slack):
        raise InputError(
            f"expected probabilities, as declared; got values from {least:.3g} to {float(values.max()):.3g}: "
            'write output="logits", or "sigmoid" for classes that are not exclusive (--output logits)'
        )
    sums = values.float().sum(dim=1)
    if kind == "probabilities" and bool((sums - 1).abs().max() > ROUNDED):
        raise InputError(
            "expected probabilities of exclusive classes, as declared; got rows that sum to "
            f"{float(sums.min()):.3g} to {float(sums.max()):.3g}: for several findings write {MULTILABEL}"
        )
    if kind == "logits" and least >= 0 and bool((sums - 1).abs().max() < slack):
        raise InputError(
            "expected logits, as declared; got probabilities (every row sums to 1): write "
            'output="probabilities", in a model\'s description "output": "probabilities", or '
            "--output probabilities, to use their log-odds"
        )


def within_unit(outputs: Tensor) -> bool:
    """Whether every value is from 0 to 1, as for probabilities and hardly ever for logits."""
    values = outputs.detach()
    return bool(values.numel()) and float(values.min()) >= 0 and float(values.max()) <= 1


class UnitRange:
    """Watches the outputs of a black box that are declared as logits: values that all lie from 0 to 1 are
    probably of a sigmoid, which no graph tells here."""

    def __init__(self) -> None:
        self._seen: int | None = 0  # None: it needs no more watching

    def look(self, outputs: Tensor, kind: str) -> None:
        """Warn, once, after `SEEN` values of which none is outside; values that are all one tell nothing."""
        several = outputs.shape[1] > 1
        if self._seen is not None and bool(outputs.min() == outputs.max()):
            return
        if self._seen is None or kind not in (("logits", "sigmoid") if several else RAW):
            return
        self._seen = self._seen + outputs.numel() if within_unit(outputs) else None
        if self._seen is not None and self._seen >= SEEN:
            self._seen = None
            warnings.warn(_range_of_outputs(outputs.shape[1], kind), ContrafactWarning, stacklevel=4)


def _range_of_outputs(count: int, kind: str) -> str:
    """Return the text of the warning for outputs that all were from 0 to 1."""
    if count == 1:
        return (
            f"the model's one output was from 0 to 1 in {SEEN} passes, and is declared as {kind}: if it is a "
            'probability, write output="probabilities" (--output probabilities)'
        )
    declared, other = kind, ""
    if kind == "logits":
        declared = "logits of exclusive classes"
        other = ', and if it is a logit, output="sigmoid" (--output sigmoid)'
    return (
        f"all outputs of the model were from 0 to 1 and do not sum to 1, and are declared as {declared}: if "
        f"each of the {count} is the probability of a finding of its own, write {MULTILABEL}{other}"
    )


def check_last_step(outputs: Tensor, kind: str) -> None:
    """Raise InputError for raw outputs whose last operation, read from the graph, is a sigmoid or softmax."""
    step = outputs.grad_fn
    while step is not None and step.name().removesuffix("Backward0").endswith(SHAPED) and step.next_functions:
        step = next((before for before, _ in step.next_functions if before is not None), None)
    name = "" if step is None else step.name().removesuffix("Backward0").lstrip("_")
    if name not in ("Sigmoid", "Softmax", "Hardsigmoid"):
        return
    instead = "use"
    if outputs.shape[1] > 1:
        fits = MULTILABEL if name != "Softmax" else 'output="probabilities" (--output probabilities)'
        instead = f"write {fits}, or use"
    raise InputError(
        f"expected raw outputs, declared as {kind}; got those of a {name.lower()} (the last step): "
        f"{instead} the network without it"
    )


class InputRange:
    """Warns once of values that the network was probably not trained on."""

    def __init__(self) -> None:
        self._warned = self._seen = False

    def look(self, images: Tensor, prepared: Tensor, preprocessing: Preprocessing) -> None:
        """Look at images (N, C, *S) as they are given, and as the network receives them. The first of more than
        one value decides whether a declared window fits."""
        if not self._warned:
            self._warned = warn_of_range(prepared, preprocessing)
        if not self._seen and type(preprocessing) is Preprocessing and preprocessing.window is not None:
            self._seen = bool(images.min() < images.max())
            warn_of_window(images, preprocessing)


def warn_of_range(images: Tensor, preprocessing: Preprocessing) -> bool:
    """Warn (`InputRangeWarning`) of values far from those networks are trained on if no preprocessing is
    declared; return whether it warned."""
    declared = preprocessing.window is not None or preprocessing.mean is not None
    if declared or type(preprocessing) is not Preprocessing:
        return False
    low, high = float(images.min()), float(images.max())
    if max(abs(low), abs(high)) <= FAR:
        return False
    warnings.warn(range_line(low, high), InputRangeWarning, stacklevel=5)
    return True


def warn_of_window(images: Tensor, preprocessing: Preprocessing) -> bool:
    """Warn (`InputRangeWarning`) of images (N, C, *S), as they are given, whose values do not fit the declared
    window: all lie at one end of it, or far outside; return whether it warned."""
    if type(preprocessing) is not Preprocessing or preprocessing.normalise:
        return False
    low, high = preprocessing.window or (0.0, 1.0)
    if (low, high) == (0.0, 1.0):  # values as they are, which is how a user says so
        return False
    least, most = float(images.min()), float(images.max())
    edge = EDGE * (high - low)
    faint = most < low + edge or least > high - edge
    far = max(abs(least - low), abs(most - low)) / (high - low) > FAR
    inside = 1.0 if not preprocessing.clip else float(((images > low) & (images < high)).float().mean())
    if least == most or not (faint or (far and not preprocessing.clip) or inside < 0.01):
        return False
    line = f"the image has values from {least:g} to {most:g}, and the declared window is {low:g} to {high:g}"
    warnings.warn(
        f"{line}: the network receives {(least - low) / (high - low):.3g} to {(most - low) / (high - low):.3g}"
        f"{', clipped' if preprocessing.clip else ''}; give images in the units of the window, or declare the "
        "window of these",
        InputRangeWarning,
        stacklevel=5,
    )
    return True


def range_line(low: float, high: float) -> str:
    """Return the text of the warning for values from `low` to `high`."""
    return (
        f"the network receives values from {low:g} to {high:g} and no preprocessing is declared; networks are "
        "trained on values around 0 to 1: declare the preprocessing of its training, such as "
        f"preprocessing=cf.Preprocessing(window=({min(low, 0):g}, {_round(high):g})), or window=(0, 1) if it "
        "was trained on such values"
    )


def _round(high: float) -> float:
    """Return 255 for a value that is probably of an 8-bit image, else the value."""
    return 255.0 if 128 < high <= 255 else high
