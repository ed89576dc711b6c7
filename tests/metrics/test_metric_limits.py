"""Metrics and reliability checks at their limits: closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from contrafact.metrics.faithfulness.monotonicity import in_order
from contrafact.metrics.trust import counterfactual_card
from contrafact.metrics.trust.card import Thresholds
from contrafact.metrics.trust.engine_agreement import EngineAgreement, OtherEngine
from linear_walk import toy


def test_the_order_of_a_curve_counts_every_pair_of_steps() -> None:
    assert in_order(np.array([0.0, 2.0, 1.0]), 1.0) == pytest.approx(1 / 3)  # two pairs rise, one falls
    assert in_order(np.array([2.0, 1.0]), 1.0) == -1
    assert in_order(np.array([1.0, 2.0, 2.0]), 1.0) == 1  # equal steps count for neither
    assert math.isnan(in_order(np.array([1.0, 1.0]), 1.0))
    assert in_order(np.array([0.0, 0.9e-6, 3.0]), 1.0) == in_order(np.array([0.0, 0.0, 3.0]), 1.0)


def test_engines_must_agree_better_than_chance_and_not_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    strip = toy().strip([0.0, 1.0, 4.0])
    other = OtherEngine(strip=strip, others=np.zeros((19, *strip.frames.shape[2:])), by="walk")
    passed = []
    for value in (0.5, 0.5001):
        found = EngineAgreement(value=value, null=(0.5, *(0.1,) * 18))
        monkeypatch.setattr(counterfactual_card, "agreement", lambda _one, _other, found=found: found)
        check: Any = counterfactual_card.trust_card_of_strip(strip, other_engine=other)[0]
        passed.append(check.passed)
    assert passed == [False, True]


def test_the_limit_of_agreement_is_the_value_that_so_many_others_reach() -> None:
    others = EngineAgreement(value=0.0, null=tuple(np.arange(19) / 20))
    assert others.limit(Thresholds().engines) == 18 / 20
    assert others.limit(0.1) == 17 / 20
    assert others.limit(0.049) == math.inf
    assert others.limit(1.0) == -math.inf
