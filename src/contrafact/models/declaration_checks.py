"""Check the declared output kind and preprocessing of a model against its outputs and inputs."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from contrafact.core import ContrafactWarning, InputError, InputRangeWarning
from contrafact.models.preprocessing import Preprocessing

RAW = ("logits", "sigmoid", "ordinal", "survival")  # output kinds before a sigmoid or softmax
SEEN = 32  # passes after which the range of an output is told; a logit of one image may lie from 0 to 1
FAR = 16.0  # networks are trained on values of a few units; 8-bit values or Hounsfield units are greater
SHAPED = (
    "View", "Reshape", "Squeeze", "Unsqueeze", "Alias", "Clone", "ToCopy", "Select", "Slice", "Index", "Stack",
    "Cat", "Transpose", "Permute", "T",
)  # fmt: skip


def check_kind(outputs: Tensor, kind: str) -> None:
    """Raise InputError for outputs (N, K, *S) that contradict the declared kind.

    logits         all rows are non-negative and sum to 1: they are probabilities after a softmax
    probabilities  a value is below 0 or above 1
    """
    values = outputs.detach()
    if not values.numel():
        return
    least, slack = float(values.min()), 1e-4 if values.dtype in (torch.float32, torch.float64) else 1e-2
    if kind == "probabilities" and (least < -slack or float(values.max()) > 1 + slack):
        raise InputError(
            f"expected probabilities, as declared; got values from {least:.3g} to {float(values.max()):.3g}: "
            'write output="logits", or "sigmoid" for classes that are not exclusive (--output logits)'
        )
    if kind == "logits" and least >= 0 and bool((values.float().sum(dim=1) - 1).abs().max() < slack):
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
    """Watches the single output of a black box that is declared as a logit: values that all lie from 0 to 1
    are probably of a sigmoid, which no graph tells here."""

    def __init__(self) -> None:
        self._seen: int | None = 0  # None: it needs no more watching

    def look(self, outputs: Tensor, kind: str) -> None:
        """Warn, once, after `SEEN` values of which none is outside."""
        if self._seen is None or kind not in RAW:
            return
        self._seen = self._seen + len(outputs) if within_unit(outputs) else None
        if self._seen is not None and self._seen >= SEEN:
            self._seen = None
            warnings.warn(
                f"the model's one output was from 0 to 1 in {SEEN} passes, and is declared as {kind}: if it is "
                'a probability, write output="probabilities" (--output probabilities)',
                ContrafactWarning,
                stacklevel=4,
            )


def check_last_step(outputs: Tensor, kind: str) -> None:
    """Raise InputError for raw outputs whose last operation, read from the graph, is a sigmoid or softmax."""
    step = outputs.grad_fn
    while step is not None and step.name().removesuffix("Backward0").endswith(SHAPED) and step.next_functions:
        step = next((before for before, _ in step.next_functions if before is not None), None)
    name = "" if step is None else step.name().removesuffix("Backward0").lstrip("_")
    if name not in ("Sigmoid", "Softmax", "Hardsigmoid"):
        return
    instead = (
        'write output="probabilities", or --output probabilities, or use' if outputs.shape[1] > 1 else "use"
    )
    raise InputError(
        f"expected raw outputs, declared as {kind}; got those of a {name.lower()} (the last step): "
        f"{instead} the network without it"
    )


def warn_of_range(images: Tensor, preprocessing: Preprocessing) -> bool:
    """Warn (`InputRangeWarning`) of values far from those networks are trained on if no preprocessing is
    declared; return whether it warned."""
    declared = preprocessing.window is not None or preprocessing.mean is not None
    if declared or type(preprocessing) is not Preprocessing:
        return False
    low, high = float(images.min()), float(images.max())
    if max(abs(low), abs(high)) <= FAR:
        return False
    warnings.warn(range_line(low, high), InputRangeWarning, stacklevel=4)
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
