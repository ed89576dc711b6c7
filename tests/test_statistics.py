"""Statistics of a study against closed forms and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from contrafact.study.statistics import (
    area_under_curve,
    compare,
    holm,
    interval,
    ranks,
    signed_rank,
    summarise,
)


def rows(**methods: Any) -> list[dict[str, Any]]:
    return [
        {"model": "m", "image": f"{p}-{i}", "patient": f"p{p}", "target": "class:1", "method": method}
        | {"metric": "x", "value": value}
        for method, values in methods.items()
        for p, value in enumerate(values)
        for i in range(1 + p % 2)  # every second patient has two images
    ]


def test_a_patient_counts_once_however_many_images() -> None:
    (row,) = summarise(rows(a=[0.0, 1.0, 0.0, 1.0]))
    assert row["mean"] == 0.5
    assert row["patients"] == 4
    assert row["low"] < 0.5 < row["high"]


def test_the_interval_is_the_textbooks_for_many_patients() -> None:
    values = np.random.default_rng(0).normal(size=400)
    low, high = interval(values, "a")
    error = values.std() / 20
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.02)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.02)
    assert interval(values, "a") == (low, high)
    assert interval(values[:1]) == (None, None)


def test_what_failed_is_counted_and_ranks_last() -> None:
    some = rows(a=[0.1, 0.2, 0.3], b=[0.5, np.nan, 0.6], c=[0.2, 0.3, 0.4])
    table = {r["method"]: r for r in summarise(some)}
    assert table["b"]["failed"] == 2 and table["b"]["patients"] == 2  # the second patient has two images
    places = {r["method"]: r["rank"] for r in ranks(some, {"x": "higher"})}
    assert places == {"a": pytest.approx((3 + 2 + 3) / 3), "b": pytest.approx((1 + 3 + 1) / 3),
                      "c": pytest.approx((2 + 1 + 2) / 3)}  # fmt: skip
    assert {r["method"]: r["rank"] for r in ranks(some, {"x": "lower"})}["a"] == 1


def test_pairs_are_tested_as_scipy_does_and_corrected() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=30)
    table = compare(rows(a=base, b=base + rng.normal(0.3, 0.2, 30), c=base + rng.normal(0, 0.2, 30)), "method")
    assert [(r["first"], r["second"]) for r in table] == [("a", "b"), ("a", "c"), ("b", "c")]
    raw = [r["p"] for r in table]
    assert table[0]["difference"] == pytest.approx(-0.3, abs=0.1)
    assert table[0]["differs"] and not table[1]["differs"]
    assert holm(raw) == [r["holm"] for r in table]
    apart = rng.normal(0.1, 1, 20)
    assert signed_rank(apart) == stats.wilcoxon(apart).pvalue
    assert signed_rank(apart * 0) == 1
    assert signed_rank(apart[:5]) is None


def test_holm_is_the_textbooks() -> None:
    assert holm([0.01, 0.04, None, 0.03]) == [
        pytest.approx(0.03),
        pytest.approx(0.06),
        None,
        pytest.approx(0.06),
    ]


def test_models_are_compared_on_the_same_patients() -> None:
    first = rows(a=np.arange(8.0))
    second = [dict(r, model="n", value=r["value"] + 1) for r in rows(a=np.arange(7.0))]
    (row,) = compare(first + second, "model")
    assert (row["first"], row["second"], row["patients"]) == ("m", "n", 7)
    assert row["difference"] == -1
    assert row["differs"]


def test_one_class_only_is_said() -> None:
    scores, labels = np.linspace(0, 1, 20), np.arange(20) > 9
    patients = [str(i) for i in range(20)]
    assert area_under_curve(scores, labels, patients)["auc"] == 1
    assert "one class only" in area_under_curve(scores, labels | True, patients)["reason"]
