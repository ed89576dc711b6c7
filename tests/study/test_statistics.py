"""Statistics of a study against closed forms and scipy."""

from __future__ import annotations

import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from contrafact.study.statistics import (
    area_under_curve,
    bootstrap,
    compare,
    disagreement,
    family_ranks,
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


def test_the_value_of_a_patient_is_the_mean_of_all_its_images() -> None:
    some = [
        {"model": "m", "image": str(i), "patient": "one", "method": "a", "metric": "x", "value": value}
        for i, value in enumerate([0.0, 1.0, 5.0])
    ]
    (row,) = summarise(some)
    assert (row["mean"], row["median"], row["patients"]) == (2, 2, 1)


def test_the_median_stands_beside_the_mean_and_notes_are_counted() -> None:
    some = rows(a=[0.0, 0.1, 0.2, 0.3, 100.0])
    some[0]["note"] = "inverted: so"
    (row,) = summarise(some)
    assert row["median"] == 0.2 and row["mean"] == pytest.approx(20.12) and row["noted"] == 1


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_all_or_none_has_wilsons_interval(share: float) -> None:
    values = np.full(12, share)
    expected = stats.binomtest(int(values.sum()), 12).proportion_ci(method="wilson")
    assert interval(values) == (pytest.approx(expected.low), pytest.approx(expected.high))
    (row,) = summarise(rows(a=list(values)))
    assert row["high"] - row["low"] == pytest.approx(expected.high - expected.low)
    assert bootstrap(values) == (share, share)
    (amount,) = summarise(rows(a=list(values)), shares={"another"})  # a number that happens to be 0 or 1
    assert (amount["low"], amount["high"]) == (share, share)
    equal = compare(rows(a=list(values), b=list(values)), "method")[0]
    assert (equal["low"], equal["high"]) == (0, 0)  # a difference is no share
    assert {(r["low"], r["high"]) for r in ranks(rows(a=list(values)), {})} == {(1, 1)}  # nor is a rank


def test_families_count_once_however_many_metrics_they_have() -> None:
    given = {"r1": (1, 2, 3), "r2": (1, 2, 3), "r3": (1, 3, 2), "p": (3, 2, 1), "s": (3, 1, 2)}
    table = [
        {"model": "", "metric": metric, "method": method, "rank": rank}
        for metric, placed in given.items()
        for method, rank in zip("abc", placed, strict=True)
    ]
    families = {"r1": "removal", "r2": "removal", "r3": "removal", "p": "place", "s": "shape"}
    found = {r["method"]: r for r in family_ranks(table, families, counted={"shape": False})}
    assert found["a"]["families"] == {"removal": 1, "place": 3, "shape": 3}
    assert {m: r["rank"] for m, r in found.items()} == {
        "a": 2, "b": pytest.approx((7 / 3 + 2) / 2), "c": pytest.approx((8 / 3 + 1) / 2)
    }  # fmt: skip
    assert found["a"]["apart"] == 2 and found["b"]["apart"] == pytest.approx(1 / 3)
    assert family_ranks(table, families)[0]["rank"] == pytest.approx((7 / 3 + 2 + 1) / 3)  # all three count
    only = family_ranks([r for r in table if r["metric"] == "s"], families, counted={"shape": False})
    assert [r["rank"] for r in only] == [1, 2, 3]  # nothing else is there
    pairs = {(r["first"], r["second"]): r["correlation"] for r in disagreement(list(found.values()))}
    assert pairs == {("removal", "place"): -1, ("removal", "shape"): -0.5, ("place", "shape"): 0.5}
    two = [r for r in found.values() if r["method"] != "c"]
    assert all(r["correlation"] is None for r in disagreement(two))
    level = [{**r, "families": {**r["families"], "place": 2.0}} for r in found.values()]  # ranks all equally
    flat = {(r["first"], r["second"]): r["correlation"] for r in disagreement(level)}
    assert flat == {("removal", "place"): None, ("removal", "shape"): -0.5, ("place", "shape"): None}


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
    some[next(i for i, r in enumerate(some) if r["method"] == "b" and np.isnan(r["value"]))]["value"] = 9.0
    assert {r["method"]: r["rank"] for r in ranks(some, {"x": "higher"})} == places  # one image of two failed


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
    assert signed_rank(apart[:6]) == stats.wilcoxon(apart[:6]).pvalue
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
    found = area_under_curve(scores, labels, patients)
    assert found["auc"] == 1 and found["high"] == 1
    assert found["low"] == pytest.approx(stats.binomtest(10, 10).proportion_ci(method="wilson").low)
    assert "one class only" in area_under_curve(scores, labels | True, patients)["reason"]


def test_an_auc_of_1_is_as_sure_as_the_smaller_class_is_large() -> None:
    scores, labels = np.linspace(0, 1, 20), np.arange(20) > 15
    found = area_under_curve(scores, labels, [str(i) for i in range(20)])
    assert found["low"] == pytest.approx(stats.binomtest(4, 4).proportion_ci(method="wilson").low)


def test_copies_of_a_patients_images_make_no_auc_surer() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(30) < 0.5
    scores = labels + rng.normal(0, 1, 30)
    patients = [f"{i:02}" for i in range(30)]
    once = area_under_curve(scores, labels, patients)
    often = area_under_curve(np.tile(scores, 5), np.tile(labels, 5), patients * 5)
    assert 0.5 < once["low"] < once["auc"] < once["high"] < 1
    assert often == pytest.approx({**once, "cases": 150})


@pytest.mark.parametrize("count", [2, 9, 700])
def test_the_interval_is_that_of_resamples_drawn_one_by_one(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    rng = np.random.default_rng(zlib.crc32(b"name"))
    means = [values[rng.integers(count, size=count)].mean() for _ in range(2000)]
    assert bootstrap(values, "name") == tuple(np.percentile(means, [2.5, 97.5]))


def test_intervals_of_many_patients_hold_a_few_resamples_at_a_time() -> None:
    values = np.random.default_rng(0).random(20_000)
    labels, patients = values + np.arange(20_000) % 3 > 1, [f"{number}" for number in range(20_000)]
    for job, most in (
        (lambda: bootstrap(values), 8e6),
        (lambda: area_under_curve(values, labels, patients), 5e7),
    ):
        tracemalloc.start()
        job()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < most  # all at once are 320 MB; 64 of an area, which is drawn 400 times


@pytest.mark.parametrize("digits", [1, 9])
def test_the_auc_and_its_interval_are_those_of_scikit_learn_resample_by_resample(digits: int) -> None:
    draw = np.random.default_rng(digits)
    labels = draw.random(90) < 0.2
    scores, patients = (
        (draw.random(90) + labels / 3).round(digits),
        [f"{n}" for n in draw.integers(40, size=90)],
    )
    names, rng, areas = sorted(set(patients)), np.random.default_rng(0), []
    rows = [np.flatnonzero(np.array(patients) == name) for name in names]
    for _ in range(400):
        chosen = np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])
        if 0 < labels[chosen].sum() < len(chosen):
            areas.append(roc_auc_score(labels[chosen], scores[chosen]))
    found = area_under_curve(scores, labels, patients)
    assert found["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.percentile(areas, [2.5, 97.5])), abs=1e-12)
    assert (found["cases"], found["patients"]) == (90, len(names))


def test_an_auc_of_few_cases_leaves_out_resamples_of_one_class() -> None:
    found = area_under_curve(np.array([0.1, 0.4, 0.3, 0.8]), np.array([0, 0, 0, 1], bool), list("abcd"))
    assert found["auc"] == 1.0 and found["high"] == 1.0 and 0 < found["low"] < 1
    few = area_under_curve(np.array([0.9, 0.1, 0.3, 0.8]), np.array([0, 0, 1, 1], bool), list("abcd"))
    assert few["auc"] == 0.5 and few["low"] == 0.0 and few["high"] == 1.0


def test_an_output_that_is_no_number_has_no_rank() -> None:
    """Sorted, it would be the greatest of all."""
    labels = np.array([True, False, True, False])
    found = area_under_curve(np.array([0.9, 0.1, np.nan, 0.2]), labels, list("abcd"))
    assert found == {"auc": None, "reason": "1 of 4 outputs are not finite: the AUC is undefined"}
