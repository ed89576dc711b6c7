"""What a model is declared to be, checked against what it is shown and what it gives."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from contrafact.core import InputError, InputRangeWarning
from contrafact.models.preprocessing import Preprocessing

RAW = ("logits", "sigmoid", "ordinal")  # kinds of output that are no probabilities yet
FAR = 16.0  # networks are trained on values of a few units; 0 to 255, or Hounsfield units, lie beyond
SHAPED = (
    "View", "Reshape", "Squeeze", "Unsqueeze", "Alias", "Clone", "ToCopy", "Select", "Slice", "Index", "Stack",
    "Cat", "Transpose", "Permute", "T",
)  # fmt: skip


def check_kind(outputs: Tensor, kind: str) -> None:
    """Refuse outputs (N, K, *S) whose values contradict the kind that is declared.

    logits         every row is positive and adds up to 1: a softmax was taken already
    probabilities  a value below 0 or above 1
    """
    values = outputs.detach()
    if not values.numel():
        return
    least, slack = float(values.min()), 1e-4 if values.dtype in (torch.float32, torch.float64) else 1e-2
    if kind == "probabilities" and (least < -slack or float(values.max()) > 1 + slack):
        raise InputError(
            f"expected probabilities, as declared; got values from {least:.3g} to {float(values.max()):.3g}: "
            'write output="logits", or "sigmoid" for classes that do not exclude each other (--output logits)'
        )
    if kind == "logits" and least >= 0 and bool((values.float().sum(dim=1) - 1).abs().max() < slack):
        raise InputError(
            "expected logits, as declared; got probabilities (every row is positive and adds up to 1): write "
            'output="probabilities", in a model\'s description "output": "probabilities", or '
            "--output probabilities, and their log-odds are taken"
        )


def within_unit(outputs: Tensor) -> bool:
    """Whether every value lies from 0 to 1, as probabilities do and logits hardly ever."""
    values = outputs.detach()
    return bool(values.numel()) and float(values.min()) >= 0 and float(values.max()) <= 1


def check_last_step(outputs: Tensor, kind: str) -> None:
    """Refuse logits whose last step was a sigmoid or a softmax, where the steps are known."""
    step = outputs.grad_fn
    while step is not None and step.name().removesuffix("Backward0").endswith(SHAPED) and step.next_functions:
        step = step.next_functions[0][0]
    name = "" if step is None else step.name().removesuffix("Backward0").lstrip("_")
    if name not in ("Sigmoid", "Softmax", "Hardsigmoid"):
        return
    instead = (
        'write output="probabilities", or --output probabilities, or give' if outputs.shape[1] > 1 else "give"
    )
    raise InputError(
        f"expected raw outputs, declared as {kind}; got those of a {name.lower()} (its last step): {instead} "
        "the network without that step"
    )


def warn_of_range(images: Tensor, preprocessing: Preprocessing) -> bool:
    """Warn of images far from what networks are trained on where no preprocessing is declared; return whether
    it did."""
    declared = preprocessing.window is not None or preprocessing.mean is not None
    if declared or type(preprocessing) is not Preprocessing:
        return False
    low, high = float(images.min()), float(images.max())
    if max(abs(low), abs(high)) <= FAR:
        return False
    warnings.warn(range_line(low, high), InputRangeWarning, stacklevel=4)
    return True


def range_line(low: float, high: float) -> str:
    """What to write where a network is shown values from `low` to `high`."""
    return (
        f"the network is shown values from {low:g} to {high:g} and no preprocessing is declared; networks are "
        "trained on values around 0 to 1: declare what it was trained with, such as "
        f"preprocessing=cf.Preprocessing(window=({min(low, 0):g}, {_round(high):g})), or window=(0, 1) if it "
        "takes them as they are"
    )


def _round(high: float) -> float:
    """255 for what is probably an 8-bit image."""
    return 255.0 if 128 < high <= 255 else high
