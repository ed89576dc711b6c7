"""From raw outputs to one number per case.

The target of a class is its **log-odds**, in logits: the raw output of a sigmoid network, and
z_k - logsumexp(other z) of a softmax network, whose raw outputs mean something only up to a
common constant. So one unit means the same for every network (docs/decisions/0002).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from contrafact.core import InputError, nearest

OUTPUTS = ("logits", "sigmoid", "probabilities", "regression", "ordinal")


def log_odds(outputs: Tensor, kind: str) -> Tensor:
    """(N, K) raw outputs to (N, classes) log-odds, exact also where probabilities round to 1.

    ordinal: K cumulative logits P(grade > k) become K + 1 grades.
    """
    if kind == "sigmoid":
        return outputs
    if kind == "probabilities":
        tiny = torch.finfo(outputs.dtype).eps
        return torch.logit(outputs.clamp(tiny, 1 - tiny))
    if kind == "ordinal":
        return torch.logit(grade_probabilities(outputs).clamp(1e-6, 1 - 1e-6))
    others = outputs[:, None, :].expand(-1, outputs.shape[1], -1)
    mask = torch.eye(outputs.shape[1], dtype=torch.bool, device=outputs.device)
    return outputs - torch.logsumexp(others.masked_fill(mask, -torch.inf), dim=2)


def grade_probabilities(outputs: Tensor) -> Tensor:
    """Cumulative logits (N, K) to grade probabilities (N, K + 1), made monotone first."""
    above = torch.sigmoid(outputs).cummin(dim=1).values
    ends = [torch.ones_like(above[:, :1]), above, torch.zeros_like(above[:, :1])]
    return -torch.diff(torch.cat(ends, dim=1), dim=1)


def probabilities(outputs: Tensor, kind: str) -> Tensor:
    """(N, K) raw outputs to (N, classes) probabilities; regression has none and is refused."""
    if kind == "regression":
        raise InputError("a regression model has no class probabilities; use target 'value:0'")
    if kind == "logits":
        return outputs.softmax(dim=1)
    if kind == "sigmoid":
        return outputs.sigmoid()
    return grade_probabilities(outputs) if kind == "ordinal" else outputs


def _logit(goal: float) -> float:
    if not 0 < goal < 1:
        raise InputError(f"goal must be a probability above 0 and below 1; got {goal}")
    return math.log(goal / (1 - goal))


@dataclass(frozen=True, slots=True)
class ClassTarget:
    """Log-odds of one class."""

    index: int
    kind: str = "logits"

    def __call__(self, outputs: Tensor) -> Tensor:
        return log_odds(outputs, self.kind)[:, self.index]

    def score_of(self, goal: float) -> float:
        """The log-odds of a probability."""
        return _logit(goal)

    def __str__(self) -> str:
        return f"class:{self.index}"


@dataclass(frozen=True, slots=True)
class ProbabilityTarget:
    """Probability of one class. Saturates: prefer the log-odds for gradients."""

    index: int
    kind: str = "logits"

    def __call__(self, outputs: Tensor) -> Tensor:
        return probabilities(outputs, self.kind)[:, self.index]

    def __str__(self) -> str:
        return f"probability:{self.index}"


@dataclass(frozen=True, slots=True)
class ValueTarget:
    """One raw output: the regression value, or the raw logit of a class."""

    index: int

    def __call__(self, outputs: Tensor) -> Tensor:
        return outputs[:, self.index]

    def __str__(self) -> str:
        return f"value:{self.index}"


@dataclass(frozen=True, slots=True)
class MarginTarget:
    """Log-odds of one class against one other: z_a - z_b."""

    index: int
    against: int
    kind: str = "logits"

    def __call__(self, outputs: Tensor) -> Tensor:
        if self.kind in ("probabilities", "ordinal"):
            logs = probabilities(outputs, self.kind).clamp_min(1e-12).log()
            return logs[:, self.index] - logs[:, self.against]
        return outputs[:, self.index] - outputs[:, self.against]

    def score_of(self, goal: float) -> float:
        """The margin of a probability of one class among the two."""
        return _logit(goal)

    def __str__(self) -> str:
        return f"margin:{self.index},{self.against}"


@dataclass(frozen=True, slots=True)
class GradeTarget:
    """Expected grade of an ordinal model: the sum of P(grade > k)."""

    def __call__(self, outputs: Tensor) -> Tensor:
        return torch.sigmoid(outputs).sum(dim=1)

    def __str__(self) -> str:
        return "grade"


AnyTarget = ClassTarget | ProbabilityTarget | ValueTarget | MarginTarget | GradeTarget
FORMS = ("class:K", "margin:A,B", "probability:K", "value:K", "grade")


def parse_target(text: str, *, kind: str, classes: Sequence[str]) -> AnyTarget:
    """`class:1`, `class:pneumonia`, `margin:3,1`, `probability:1`, `value:0` or `grade`.

    kind     what the model gives, one of OUTPUTS
    classes  names of its outputs; an index outside them is refused
    """
    word, _, rest = text.partition(":")
    makers: dict[str, Callable[[list[int]], AnyTarget]] = {
        "class": lambda at: ClassTarget(at[0], kind),
        "margin": lambda at: MarginTarget(at[0], at[1], kind),
        "probability": lambda at: ProbabilityTarget(at[0], kind),
        "value": lambda at: ValueTarget(at[0]),
        "grade": lambda _: GradeTarget(),
    }
    if word not in makers:
        raise InputError(f"target must be {', '.join(FORMS)}; got '{text}'{nearest(word, makers)}")
    if word == "grade" and kind != "ordinal":
        raise InputError(f"target 'grade' needs an ordinal model; this one gives {kind}")
    if word in ("class", "margin", "probability") and kind == "regression":
        raise InputError(f"target '{text}' needs classes; this model gives regression: use value:0")
    if word == "value" and kind == "ordinal":
        # K grades have K - 1 cumulative logits, which have no names of their own.
        classes = [f"above {name}" for name in classes[:-1]]
    names = [part.strip() for part in rest.split(",")] if rest else []
    wanted = {"margin": 2, "grade": 0}.get(word, 1)
    if len(names) != wanted:
        raise InputError(f"target '{word}' takes {wanted} class(es); got '{text}'")
    return makers[word]([_index(name, classes) for name in names])


def _index(name: str, classes: Sequence[str]) -> int:
    if name in classes:
        return list(classes).index(name)
    if not name.lstrip("-").isdigit():
        raise InputError(
            f"expected a class index or one of {', '.join(classes)}; got '{name}'{nearest(name, classes)}"
        )
    index = int(name)
    if not classes and index >= 0:  # a model without names is checked when it answers
        return index
    if not 0 <= index < len(classes):
        raise InputError(f"class index must be 0 to {len(classes) - 1}; got {index}")
    return index
