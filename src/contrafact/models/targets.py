"""Targets: from raw outputs to one number per image.

The target of a class is its **log-odds** in logits: the raw output of a sigmoid network, and
z_k - logsumexp(other z) of a softmax network, whose raw outputs are defined only up to a common
constant. So one unit means the same for every network (docs/decisions/0002).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from contrafact.core import InputError

OUTPUTS = ("logits", "sigmoid", "probabilities", "multilabel", "regression", "ordinal", "survival", "detection")


def log_odds(outputs: Tensor, kind: str) -> Tensor:
    """Convert raw outputs (N, K) to log-odds (N, classes), accurate also where probabilities round to 1.

    ordinal: K cumulative logits P(grade > k) become K + 1 grades.
    survival: K logits of the hazard in successive intervals become the log-odds of no event up to their ends.
    """
    if kind == "survival":
        logs = survival_logs(outputs)
        return logs - torch.log(-torch.expm1(logs.clamp_max(-1e-7)))
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


def log_odds_of(outputs: Tensor, kind: str, index: int) -> Tensor:
    """Return the log-odds (N, *S) of one class from raw outputs (N, K, *S)."""
    if kind != "logits":
        return log_odds(outputs, kind)[:, index]
    others = torch.cat([outputs[:, :index], outputs[:, index + 1 :]], dim=1)
    return outputs[:, index] - torch.logsumexp(others, dim=1)


def _rows(outputs: Tensor, target: object) -> Tensor:
    """Return outputs (N, K) of a classifier; raise InputError for the maps of a segmenter."""
    if outputs.ndim != 2:
        raise InputError(
            f"target {target} is for a classifier; this model returns maps {tuple(outputs.shape)}: "
            "use region:K, lesion:K, boundary:K, volume:K"
        )
    return outputs


def grade_probabilities(outputs: Tensor) -> Tensor:
    """Convert cumulative logits (N, K) to grade probabilities (N, K + 1), after making them monotone."""
    above = torch.sigmoid(outputs).cummin(dim=1).values
    ends = torch.cat([torch.ones_like(above[:, :1]), above, torch.zeros_like(above[:, :1])], dim=1)
    return ends[:, :-1] - ends[:, 1:]  # not minus their difference, in which no probability is -0


def survival_logs(outputs: Tensor) -> Tensor:
    """Convert logits of hazards (N, K) to the logarithms of the probability of no event up to the end of each
    interval."""
    return torch.nn.functional.logsigmoid(-outputs).cumsum(dim=1)


def probabilities(outputs: Tensor, kind: str) -> Tensor:
    """Convert raw outputs (N, K) to probabilities (N, classes); raise InputError for regression."""
    if kind == "regression":
        raise InputError("a regression model has no class probabilities; use target 'value:0'")
    if kind == "detection":
        raise InputError("a detector has no class probabilities; use target 'box:1'")
    if kind == "logits":
        return outputs.softmax(dim=1)
    if kind == "sigmoid":
        return outputs.sigmoid()
    if kind == "survival":
        return survival_logs(outputs).exp()
    return grade_probabilities(outputs) if kind == "ordinal" else outputs


def logit(goal: float) -> float:
    if not 0 < goal < 1:
        raise InputError(f"goal must be a probability above 0 and below 1; got {goal}")
    return math.log(goal / (1 - goal))


@dataclass(frozen=True, slots=True)
class ClassTarget:
    """Log-odds of one class."""

    index: int
    kind: str = "logits"

    def __call__(self, outputs: Tensor) -> Tensor:
        return log_odds_of(_rows(outputs, self), self.kind, self.index)

    def score_of(self, goal: float) -> float:
        """Return the log-odds of a probability."""
        return logit(goal)

    def __str__(self) -> str:
        return f"class:{self.index}"


@dataclass(frozen=True, slots=True)
class ProbabilityTarget:
    """Probability of one class. Saturates: prefer the log-odds for gradients."""

    index: int
    kind: str = "logits"

    def __call__(self, outputs: Tensor) -> Tensor:
        return probabilities(_rows(outputs, self), self.kind)[:, self.index]

    def __str__(self) -> str:
        return f"probability:{self.index}"


@dataclass(frozen=True, slots=True)
class ValueTarget:
    """One raw output: a regression value, or the logit of a class."""

    index: int

    def __call__(self, outputs: Tensor) -> Tensor:
        return _rows(outputs, self)[:, self.index]

    def __str__(self) -> str:
        return f"value:{self.index}"


@dataclass(frozen=True, slots=True)
class MarginTarget:
    """Log-odds of one class against another: z_a - z_b."""

    index: int
    against: int
    kind: str = "logits"

    def __call__(self, outputs: Tensor) -> Tensor:
        outputs = _rows(outputs, self)
        if self.kind in ("probabilities", "ordinal"):
            logs = probabilities(outputs, self.kind).clamp_min(1e-12).log()
            return logs[:, self.index] - logs[:, self.against]
        return outputs[:, self.index] - outputs[:, self.against]

    def score_of(self, goal: float) -> float:
        """Return the margin at which the class has the given probability among the two."""
        return logit(goal)

    def __str__(self) -> str:
        return f"margin:{self.index},{self.against}"


@dataclass(frozen=True, slots=True)
class GradeTarget:
    """Expected grade of an ordinal model: the sum of P(grade > k)."""

    def __call__(self, outputs: Tensor) -> Tensor:
        return torch.sigmoid(_rows(outputs, self)).sum(dim=1)

    def __str__(self) -> str:
        return "grade"


@dataclass(frozen=True, slots=True)
class RiskTarget:
    """Risk of a survival model: minus the expected number of intervals without an event.

    Source: Gensheimer & Narasimhan 2019 (logits of hazards); the risk as in Chen et al. 2022 (PORPOISE).
    """

    def __call__(self, outputs: Tensor) -> Tensor:
        return -survival_logs(_rows(outputs, self)).exp().sum(dim=1)

    def __str__(self) -> str:
        return "risk"


AnyTarget = RiskTarget | ClassTarget | ProbabilityTarget | ValueTarget | MarginTarget | GradeTarget
