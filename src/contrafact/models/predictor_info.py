"""What every predictor says of itself, and how its outputs are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from contrafact.core import InputError, nearest
from contrafact.models.declaration_checks import check_kind
from contrafact.models.identity import digest_of_use
from contrafact.models.preprocessing import Preprocessing
from contrafact.models.region_targets import RegionTarget
from contrafact.models.target_syntax import parse_target
from contrafact.models.targets import OUTPUTS, AnyTarget, probabilities


class Described:
    """What every predictor says of itself: class names, kind of output, targets by text."""

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
        self.output = output
        self.preprocessing = preprocessing or Preprocessing()
        self.head = head

    def _used(self, content: str) -> str:
        """Digest of a model's content, used as it is declared at this moment."""
        said: dict[str, Any] = {"head": self.head, "output": self.output, "classes": self.classes}
        return digest_of_use(content, preprocessing=self.preprocessing, **said)

    def target(self, text: str) -> AnyTarget | RegionTarget:
        """The target a text names, checked against this model's classes."""
        return parse_target(text, kind=self.output, classes=self.classes)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Raw outputs (N, K) to class probabilities (N, classes)."""
        return probabilities(outputs, self.output)

    def _checked(self, outputs: Any, count: int) -> Tensor:
        outputs = torch.as_tensor(pick(outputs, self.head))
        if outputs.ndim == 1 and len(outputs) == count:
            outputs = outputs[:, None]
        if outputs.ndim not in (2, 4, 5) or len(outputs) != count:
            raise InputError(
                f"expected one row of outputs per image, ({count}, K), or maps, ({count}, K, *S); got "
                f"{tuple(outputs.shape)}"
            )
        if self.output in ("logits", "probabilities") and outputs.shape[1] == 1:
            raise InputError(
                f"{self.output} of exclusive classes need 2 outputs or more; got 1: declare "
                "output='sigmoid' or output='regression'"
            )
        expected = len(self.classes) - (1 if self.output == "ordinal" else 0)
        if self.classes and outputs.shape[1] != expected:
            raise InputError(
                f"expected {expected} output(s) for {len(self.classes)} {self.output} classes; "
                f"got {outputs.shape[1]}"
            )
        if not bool(torch.isfinite(outputs.detach()).all()):
            raise InputError("the model gave NaN or infinite outputs for this image")
        check_kind(outputs, self.output)
        return outputs


def pick(outputs: Any, head: int | str | None) -> Any:
    """One of several outputs (a tuple, list or dict, as deep supervision gives); None: the first."""
    if isinstance(head, bool) and isinstance(outputs, (dict, tuple, list)):
        raise InputError(f"head must be the number or the name of an output; got {head!r}")
    if isinstance(outputs, dict):
        known = list(outputs)
        if head is not None and head not in outputs:
            raise InputError(f"this model's outputs are {', '.join(map(str, known))}; got head '{head}'")
        return outputs[known[0] if head is None else head]
    if isinstance(outputs, (tuple, list)):
        number = 0 if head is None else head
        if not isinstance(number, int) or not 0 <= number < len(outputs):
            raise InputError(f"this model has outputs 0 to {len(outputs) - 1}; got head {head!r}")
        return outputs[number]
    if head not in (None, 0) or isinstance(head, bool):
        raise InputError(f"this model gives one output; got head {head!r}: leave head out")
    return outputs
