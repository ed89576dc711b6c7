"""Figures of result pages: intervals against closed forms, and what is drawn together."""

from __future__ import annotations

import numpy as np
import pytest

from contrafact.core.intervals import wilson
from experiments.tables import cell, interval, mean, ratio, share, table


def test_the_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    values = np.random.default_rng(3).normal(5.0, 2.0, 400)
    value, low, high = interval(lambda rows: float(values[rows].mean()), len(values), rounds=4000)
    error = values.std() / np.sqrt(len(values))
    assert value == pytest.approx(values.mean())
    assert [low, high] == pytest.approx([value - 1.96 * error, value + 1.96 * error], abs=0.1 * error)


def test_a_patient_is_drawn_with_all_images() -> None:
    """Four copies of every patient's image tell as much as one, and are no four patients."""
    values = np.random.default_rng(4).normal(size=50)
    one = interval(lambda rows: float(values[rows].mean()), len(values))
    copies, patients = np.repeat(values, 4), [f"{k:02d}" for k in range(50) for _ in range(4)]
    together = interval(lambda rows: float(copies[rows].mean()), patients)
    apart = interval(lambda rows: float(copies[rows].mean()), len(copies))
    assert together == pytest.approx(one)
    assert apart[2] - apart[1] < 0.7 * (one[2] - one[1])


def test_a_share_that_is_all_or_nothing_has_wilsons_interval_over_the_patients_who_count() -> None:
    patients, ones = ["a", "a", "b", "c", "d"], np.ones(5)
    some = np.array([True, True, True, False, False])

    def among_some(rows: np.ndarray) -> float:
        return float(ones[rows][some[rows]].mean()) if some[rows].any() else float("nan")

    assert interval(lambda rows: float(ones[rows].mean()), patients, share=True) == (1.0, *wilson(4, 4))
    assert interval(among_some, patients, share=True, among=some) == (1.0, *wilson(2, 2))
    assert interval(lambda rows: 0.0 * len(rows), 7, share=True) == (0.0, *wilson(0, 7))
    assert interval(lambda rows: float(ones[rows].mean()), patients) == (1.0, 1.0, 1.0)
    assert mean([1.0] * 8) == cell((1.0, *wilson(8, 8))) == share([True] * 8)
    assert mean([0.0] * 8, "+.2f") == "+0.00 (+0.00 to +0.00)", "a difference is no share"


def test_draws_without_a_figure_are_left_out() -> None:
    labels = np.array([0, 0, 0, 1])

    def needs_both(rows: np.ndarray) -> float:
        if len(set(labels[rows])) < 2:
            raise ValueError("one class")
        return float(labels[rows].mean())

    _, low, high = interval(needs_both, 4)
    assert 0 < low < high < 1
    assert np.isnan(interval(lambda rows: float("nan") * len(rows), 4)).all()
    assert mean([np.nan, 2.0, 2.0]) == "2.00 (2.00 to 2.00)"
    assert mean([np.nan]) == share([]) == ratio(np.zeros(0), np.zeros(0)) == "–"


def test_a_ratio_is_of_the_sums_and_a_table_is_markdown() -> None:
    assert ratio(np.array([1.0, 3.0]), np.array([2.0, 6.0])) == "0.50 (0.50 to 0.50)"
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
