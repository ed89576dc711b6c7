"""Which change the search of a finding keeps."""

from __future__ import annotations

import torch

from contrafact.counterfactual.finding_search import improves


def test_the_goal_comes_before_the_size_of_the_change_and_the_size_decides_between_equals() -> None:
    #                     nearer, larger  equal, smaller  equal, larger  farther, smaller  as it was
    found = torch.tensor([[0.0999, 0.0, 0.0, 0.1001, 0.0], [2.0, 0.1, 0.3, 0.0, 0.2]])
    least = torch.tensor([[0.1, 0.0, 0.0, 0.1, 0.0], [0.001, 0.2, 0.2, 0.2, 0.2]])
    assert improves(found, least).tolist() == [True, True, False, False, False]
    assert improves(found, torch.full_like(found, torch.inf)).all()
