"""Kinds of targets, and what follows from the kind: how a goal is said, and which place it is about.

Every target maps raw outputs to one number per image (`Target`). What else it can do, its class says by having
the members of one of these protocols.
"""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any, Protocol, runtime_checkable

from contrafact.core.protocols import Predictor, Target


@runtime_checkable
class OddsTarget(Target, Protocol):
    """A target whose number is a log-odds: its sign is the decision, and a goal is a probability."""

    def score_of(self, goal: float) -> float:
        """Return the log-odds of a probability. Raise InputError for one that is not between 0 and 1."""


@runtime_checkable
class OneClassTarget(Target, Protocol):
    """A target that is about one class, or output."""

    @property
    def index(self) -> int:
        """Its number."""


@runtime_checkable
class TwoClassTarget(OneClassTarget, Protocol):
    """A target that compares its class with another."""

    @property
    def against(self) -> int:
        """The other's number."""


@runtime_checkable
class PlaceTarget(Target, Protocol):
    """A place in a segmenter's prediction, which is determined for one image before anything is changed."""

    def freeze(self, predictor: Predictor, images: Any) -> FrozenPlace:
        """Return the place in the prediction for `images` (1, C, *S). Raise InputError for an empty one."""


@runtime_checkable
class FrozenPlace(Target, Protocol):
    """A place that is determined: its voxels stay the same, whatever becomes of the image."""

    @property
    def target(self) -> Any:
        """The `PlaceTarget` that it was determined for; `index`: its class."""

    def of(self, second: Predictor, first: Predictor) -> FrozenPlace:
        """Return the same voxels, determined by `first`, as a target of another segmenter. Raise InputError
        where it has no such class."""


@runtime_checkable
class GoalTarget(OddsTarget, Protocol):
    """A target that says itself which probability its counterfactual reaches."""

    @property
    def default_goal(self) -> float | None:
        """The probability; None: the other side of the decision."""


def frozen_target(target: Target, predictor: Predictor, images: Any) -> Target:
    """Return a target as it is for `images` (1, C, *S): a place is determined, others are the same for all."""
    return target.freeze(predictor, images) if isinstance(target, PlaceTarget) else target


def target_of_second(target: Target, second: Predictor, first: Predictor) -> Target:
    """Return a target of `first` as a target of a second model: the same voxels of a place that is determined,
    else the target of the same text. Raise InputError where the second model has none."""
    return target.of(second, first) if isinstance(target, FrozenPlace) else second.target(str(target))


def as_named(target: Target) -> Target:
    """Return a target as the user names it: of a place that is determined, the place itself."""
    own: Target = target.target if isinstance(target, FrozenPlace) else target
    return own


def class_of(target: Target) -> int | None:
    """Return the class, or output, that a target is about; None where it is about no single one."""
    own = as_named(target)
    return int(own.index) if isinstance(own, OneClassTarget) and isinstance(own.index, Integral) else None


def compared_class(target: Target) -> int | None:
    """Return the class that a target compares its own with; None where it compares with none."""
    own = as_named(target)
    return own.against if isinstance(own, TwoClassTarget) else None


def score_of_goal(target: Target, goal: float) -> float:
    """Return a goal, or a level, in units of the target's number: the log-odds of a probability, or the value.
    Raise InputError for a probability that is not between 0 and 1."""
    return target.score_of(float(goal)) if isinstance(target, OddsTarget) else float(goal)


def goal_of_score(target: Target, score: float) -> float:
    """Return the goal that has a score: the probability of log-odds, between 1e-6 and 1 - 1e-6, or the
    value."""
    if not isinstance(target, OddsTarget):
        return float(score)
    probability = 1 / (1 + math.exp(-min(max(float(score), -700.0), 700.0)))
    return min(max(probability, 1e-6), 1 - 1e-6)
