"""Each metric against a closed form, on a linear model whose every voxel's worth is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from contrafact.attribution import GradCAM, Gradient
from contrafact.metrics import Deletion, Infidelity, MaxSensitivity, evaluate
from linear_panel import linear_panel


def test_infidelity_of_a_linear_model_is_zero_for_its_worth_and_one_for_nothing() -> None:
    panel = linear_panel()
    truth, chance, opposite = Infidelity(fill=0.0, scaled=False)(panel)
    assert truth == pytest.approx(0, abs=1e-8)
    assert opposite == pytest.approx(4, rel=1e-5)  # (-a - a)^2 / a^2
    assert chance > 0.3
    scaled = Infidelity(fill=0.0)(panel)
    assert scaled[0] == pytest.approx(0, abs=1e-8)
    assert scaled[2] == pytest.approx(1)  # no scale turns a map round: the opposite is worth what nothing is


def test_infidelity_of_a_model_that_does_not_answer_is_not_defined() -> None:
    panel = linear_panel()
    with torch.no_grad():
        panel.question.predictor.module.weights.zero_()  # type: ignore[attr-defined]
    assert np.isnan(Infidelity()(panel)).all()
    assert (Infidelity(relative=False)(panel) == 0).all()


def test_deletion_of_a_linear_model_has_a_closed_form() -> None:
    panel = linear_panel()
    found = Deletion(fill=0.0, steps=144)(panel)
    worth = np.sort(panel.maps[0].ravel())[::-1]
    left = worth.sum() - np.concatenate([[0], np.cumsum(worth)])
    expected = (left[1:] + left[:-1]).mean() / 2 - worth.sum() / 2
    assert found[0] == pytest.approx(expected, rel=1e-4)
    assert found[2] == pytest.approx(-expected, rel=1e-4)  # the same steps from the other end


def test_passes_are_shared_and_counted() -> None:
    panel = linear_panel()
    metrics = [
        Deletion(steps=10),
        Deletion(steps=10),
        Infidelity(samples=16),
        Infidelity(samples=16, scaled=False),
    ]
    scores = list(evaluate(panel, metrics, ["a", "b", "c"]))
    assert [s.passes for s in scores[::3]] == [3 * 9 + 2, 0, 16, 0]


def test_an_explainer_that_fails_among_others_is_a_reason_for_its_map_alone() -> None:
    panel = linear_panel()
    nowhere = GradCAM(layer="nowhere")
    panel.explainers = (Gradient(), nowhere, Gradient())
    scores = list(evaluate(panel, [MaxSensitivity(samples=2)], ["a", "b", "c"]))
    assert [bool(s.reason) for s in scores] == [False, True, False]
    assert "got 'nowhere'" in scores[1].reason
    panel.explainers = (nowhere,) * 3
    assert all("got 'nowhere'" in s.reason for s in evaluate(panel, [MaxSensitivity(samples=2)], list("abc")))
