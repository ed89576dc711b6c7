"""Kinds of targets: whose goal is a probability, which is a place, which class it is about."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from contrafact.core.target_kinds import (
    FrozenPlace,
    GoalTarget,
    OddsTarget,
    PlaceTarget,
    as_named,
    class_of,
    compared_class,
    frozen_target,
    goal_of_score,
    score_of_goal,
    target_of_second,
)
from contrafact.models import load_predictor
from contrafact.models.region_targets import RegionTarget
from contrafact.models.targets import ClassTarget, GradeTarget, MarginTarget, ProbabilityTarget, ValueTarget


class Two(torch.nn.Module):
    """Two classes of each voxel: the second where the image is above 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([-x, x], dim=1)


IMAGE = np.array([[[[1.0, 2.0, -1.0], [3.0, -2.0, -3.0]]]], dtype=np.float32)
PREDICTOR = load_predictor(Two(), classes=["none", "lesion"])


def plain(outputs: torch.Tensor) -> torch.Tensor:
    """A function as a target."""
    return outputs[:, 0]


@pytest.mark.parametrize(
    ("target", "odds", "index", "against"),
    [
        (ClassTarget(2), True, 2, None),
        (MarginTarget(3, 1), True, 3, 1),
        (ProbabilityTarget(1), False, 1, None),
        (ValueTarget(0), False, 0, None),
        (GradeTarget(), False, None, None),
        (RegionTarget(index=1), False, 1, None),
        (ValueTarget(np.int64(3)), False, 3, None),
        (plain, False, None, None),
        ("class:1", False, None, None),  # text and tuples have a method `index`
        (("a", "b"), False, None, None),
    ],
)
def test_a_target_says_by_its_class_what_it_is_about(
    target: object, odds: bool, index: int | None, against: int | None
) -> None:
    assert isinstance(target, OddsTarget) == odds
    assert class_of(target) == index  # type: ignore[arg-type]
    assert compared_class(target) == against  # type: ignore[arg-type]
    assert isinstance(target, PlaceTarget) == isinstance(target, RegionTarget)


def test_a_place_is_determined_once_and_knows_its_goal() -> None:
    place = RegionTarget(index=1)
    frozen = frozen_target(place, PREDICTOR, IMAGE)
    assert isinstance(frozen, FrozenPlace)
    assert as_named(frozen) is place and as_named(place) is place
    assert class_of(frozen) == 1
    assert isinstance(frozen, GoalTarget) and frozen.default_goal == 0.1
    total = frozen_target(RegionTarget(index=1, total=True), PREDICTOR, IMAGE)
    assert isinstance(total, FrozenPlace) and not isinstance(total, OddsTarget)
    assert frozen_target(ClassTarget(1), PREDICTOR, IMAGE) == ClassTarget(1)


def test_a_second_model_is_asked_about_the_same_voxels_or_by_the_same_text() -> None:
    second = load_predictor(Two(), classes=["lesion", "none"])
    frozen = frozen_target(RegionTarget(index=1), PREDICTOR, IMAGE)
    other = target_of_second(frozen, second, PREDICTOR)
    assert class_of(other) == 0  # the class of that name
    outputs = torch.tensor(IMAGE).repeat(1, 2, 1, 1) * torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    assert float(other(outputs)) == pytest.approx(2.0)  # the mean of 1, 2 and 3
    assert target_of_second(ClassTarget(1), second, PREDICTOR) == second.target("class:1")


@pytest.mark.parametrize("goal", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_goal_and_its_score_are_each_others_inverse(goal: float) -> None:
    assert score_of_goal(ClassTarget(0), goal) == pytest.approx(math.log(goal / (1 - goal)))
    assert goal_of_score(ClassTarget(0), score_of_goal(ClassTarget(0), goal)) == pytest.approx(goal)
    assert score_of_goal(ValueTarget(0), goal) == goal == goal_of_score(ValueTarget(0), goal)


@pytest.mark.parametrize(("score", "goal"), [(800.0, 1 - 1e-6), (-800.0, 1e-6), (0.0, 0.5)])
def test_a_score_without_a_probability_between_0_and_1_has_the_nearest_goal(score: float, goal: float) -> None:
    assert goal_of_score(ClassTarget(0), score) == pytest.approx(goal, abs=1e-12)
    assert goal_of_score(ValueTarget(0), score) == score
