"""Metadata and output checks shared by all predictors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from contrafact.core import InputError, Predictor, nearest
from contrafact.models.declaration_checks import RAW, UnitRange, check_kind
from contrafact.models.detections import is_detection, rows_of
from contrafact.models.identity import digest_of_use
from contrafact.models.preprocessing import Preprocessing
from contrafact.models.target_syntax import ParsedTarget, parse_target
from contrafact.models.targets import OUTPUTS, log_odds, probabilities

MAIN = ("logits", "out")  # names of the main output, as transformers and torchvision have them


class Described:
    """Base of all predictors: class names, output kind, preprocessing, head, and targets by text.

    notes     sentences of the model's format that a user should read (`Opened`)
    output    kind of the outputs of a call; `converts`: the model's own are probabilities of several findings
              (`multilabel`), of which a call returns the log-odds
    """

    notes: tuple[str, ...] = ()
    _unit_range: UnitRange | None = None  # of a black box

    def __init__(
        self,
        *,
        classes: Sequence[str],
        output: str,
        preprocessing: Preprocessing | None,
        head: int | str | None = None,
    ) -> None:
        if output not in OUTPUTS:
            raise InputError(
                f"output must be one of {', '.join(OUTPUTS)}; got '{output}'{nearest(output, OUTPUTS)}"
            )
        self.classes = tuple(classes)
        twice = next((name for name in self.classes if self.classes.count(name) > 1), None)
        if twice is not None:
            raise InputError(
                f"expected a name of its own for each class; got '{twice}' {self.classes.count(twice)} times: "
                "give other names (classes=, --classes)"
            )
        self.output = "sigmoid" if output == "multilabel" else output  # what `_checked` converts to
        self.converts = output == "multilabel"
        self.preprocessing = preprocessing or Preprocessing()
        self.head = head
        self._count = 0

    @property
    def class_count(self) -> int:
        """Return the number of classes: as declared, else as the last outputs had; 0 before the first."""
        return len(self.classes) or self._count

    @property
    def _raw(self) -> bool:
        """Whether the model's outputs are declared as those before a sigmoid or softmax."""
        return self.output in RAW and not self.converts

    def _used(self, content: str) -> str:
        """Return the digest of a model's content with its present declarations."""
        declared: dict[str, Any] = {"head": self.head, "output": self.output, "classes": self.classes}
        declared |= {"output": "multilabel"} if self.converts else {}
        return digest_of_use(content, preprocessing=self.preprocessing, **declared)

    def target(self, text: str) -> ParsedTarget:
        """Return the target of a text; raise InputError if it does not fit this model's classes."""
        return parse_target(text, kind=self.output, classes=_names(self.classes, self.class_count))

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Convert raw outputs (N, K) to class probabilities (N, classes)."""
        return probabilities(outputs, self.output)

    def _checked(self, outputs: Any, count: int) -> Tensor:
        """Return the outputs of the head as a tensor (N, K, ...); raise InputError if they contradict the
        declarations."""
        if is_detection(outputs) != (self.output == "detection"):
            raise InputError(_other_than_declared(self.output))
        outputs = torch.as_tensor(pick(outputs, self.head))
        if self.output == "detection":
            return outputs
        if outputs.ndim == 1 and len(outputs) == count:
            outputs = outputs[:, None]
        alone = outputs.ndim > 1 and outputs.shape[1] == 1 and len(self.classes) == 2
        given, kind = outputs, "multilabel" if self.converts else self.output
        outputs = two_classes(outputs, kind) if alone else outputs
        if outputs.ndim not in (2, 4, 5) or len(outputs) != count:
            raise InputError(
                f"expected one row of outputs per image, ({count}, K), or maps, ({count}, K, *S); got "
                f"{tuple(outputs.shape)}"
            )
        if self.output in ("logits", "probabilities") and outputs.shape[1] == 1:
            raise InputError(
                f"{self.output} of exclusive classes need 2 outputs or more; got 1: name both classes "
                "(classes=['without', 'with'], --classes without,with), or declare output='sigmoid' or "
                "output='regression' (--output)"
            )
        expected = len(self.classes) - (1 if self.output == "ordinal" else 0)
        if self.classes and outputs.shape[1] != expected:
            raise InputError(
                f"expected {expected} output(s) for {len(self.classes)} {self.output} classes; "
                f"got {outputs.shape[1]}"
            )
        if not bool(torch.isfinite(outputs.detach()).all()):
            raise InputError("the model returned NaN or infinite outputs for this image")
        if not alone or self.output != "logits":  # (0, 1) of a logit of 1 sums to 1
            check_kind(outputs, kind)
        self._count = outputs.shape[1] + (self.output == "ordinal")
        if self.converts:
            return log_odds(outputs, "probabilities")
        if self._unit_range is not None and (given.shape[1] > 1 or alone):
            self._unit_range.look(given, self.output)
        return outputs


def class_names(predictor: Predictor) -> tuple[str, ...]:
    """Return the class names as declared, else the class numbers; empty if none were declared and the model was
    never called."""
    return _names(predictor.classes, predictor.class_count)


def _names(declared: Sequence[str], count: int) -> tuple[str, ...]:
    return tuple(declared) or tuple(str(k) for k in range(count))


def two_classes(outputs: Tensor, kind: str) -> Tensor:
    """Return outputs (N, 2, *S) of the absence and the presence of a finding, from one logit or probability of
    its presence (N, 1, *S). Raise InputError for kinds whose outputs have no opposite."""
    if kind == "logits":
        return torch.cat([torch.zeros_like(outputs), outputs], dim=1)
    if kind == "sigmoid":
        return torch.cat([-outputs, outputs], dim=1)
    if kind in ("probabilities", "multilabel"):
        return torch.cat([1 - outputs, outputs], dim=1)
    return outputs


def _other_than_declared(kind: str) -> str:
    if kind == "detection":
        return (
            "a detector must answer with a list of tables with 'boxes', 'labels' and 'scores', one for each "
            "image, as those of torchvision in evaluation mode; got something else: remove output='detection' "
            "(--output detection)"
        )
    return (
        f"this model finds boxes, and {kind} is declared: write output='detection' (--output detection), and a "
        "target, such as box:1, the box with the greatest score"
    )


def _check_heads(outputs: Any) -> None:
    """Raise InputError for several outputs that are no deep supervision, none of which is the main one."""
    if isinstance(outputs, dict):
        if any(name in outputs for name in MAIN):
            return
        heads = {str(name): value for name, value in outputs.items() if _is_array(value, 1)}
    elif isinstance(outputs, (tuple, list)):
        heads = {str(number): value for number, value in enumerate(outputs) if _is_array(value)}
        rows = {tuple(value.shape[1:]) for value in heads.values()}
        if any(len(shape) != 1 for shape in rows) or len(rows) < 2:
            return  # maps of deep supervision, hidden states, or votes of one shape
    else:
        return
    if len(heads) > 1:
        known = ", ".join(
            f"{name} ({' x '.join(map(str, value.shape[1:])) or 1})" for name, value in heads.items()
        )
        raise InputError(
            f"this model has several outputs: {known}; say which one: head='{next(iter(heads))}' "
            f"(--head {next(iter(heads))})"
        )


def _is_array(value: Any, axes: int = 2) -> bool:
    return isinstance(value, (Tensor, np.ndarray)) and value.ndim >= axes


def pick(outputs: Any, head: int | str | None) -> Any:
    """Return one of several outputs (a tuple, list or dict); None: the only one, the first of deep supervision,
    or the main one by its name (`MAIN`).

    raises  InputError for an unknown head, and for several outputs of which none is named
    """
    if is_detection(outputs):
        return rows_of(outputs)
    if head is None:
        _check_heads(outputs)
    if isinstance(head, bool) and isinstance(outputs, (dict, tuple, list)):
        raise InputError(f"head must be the index or the name of an output; got {head!r}")
    if isinstance(outputs, dict):
        known = list(outputs)
        if isinstance(head, int) and head not in outputs and 0 <= head < len(known):
            head = known[head]
        if head is not None and head not in outputs:
            raise InputError(f"this model's outputs are {', '.join(map(str, known))}; got head '{head}'")
        main = next((name for name in MAIN if name in outputs), known[0])
        return outputs[main if head is None else head]
    if isinstance(outputs, (tuple, list)):
        index = int(head) if isinstance(head, str) and head.isdecimal() else 0 if head is None else head
        if not isinstance(index, int) or not 0 <= index < len(outputs):
            raise InputError(f"this model has outputs 0 to {len(outputs) - 1}; got head {head!r}")
        return outputs[index]
    if head not in (None, 0) or isinstance(head, bool):
        raise InputError(f"this model has one output; got head {head!r}: omit head")
    return outputs
