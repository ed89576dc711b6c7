"""Figures of a study of decisions against closed forms and independent computations."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, binomtest, f, mannwhitneyu, t
from sklearn.metrics import roc_auc_score

from contrafact.core.power import mcnemar_power, pairs_needed, power, wilson
from contrafact.viewer.reader_study.decide_results import decide_results, summary_csv
from contrafact.viewer.reader_study.decisions import (
    Decisions,
    Weights,
    area,
    changes,
    decisions_of,
    figure,
    mcnemar,
    once,
    reliance,
    roc,
)
from contrafact.viewer.reader_study.many_readers import (
    analysis,
    areas_without,
    difference,
    figures_of,
    obuchowski_rockette,
    resampled,
    whole,
    with_interval,
)

ARMS = ("none", "ai", "explained")


def drawn(
    seed: int,
    *,
    readers: int = 4,
    cases: int = 30,
    gain: tuple[float, ...] = (0.5, 1.0, 1.5),
    noise: float = 1.0,
) -> Decisions:
    """Answers of readers who see a finding better from arm to arm."""
    rng = np.random.default_rng(seed)
    truth = np.arange(cases) % 2 == 0
    predicted = truth ^ (rng.uniform(size=cases) < 0.3)
    hard, mine = rng.normal(size=cases), rng.normal(size=(len(gain), readers, 1)) * 0.3 * noise
    seen = (2 * truth - 1) * (np.array(gain)[:, None, None] + mine) + hard
    seen = seen + noise * rng.normal(size=(len(gain), readers, cases))
    rating = np.clip(np.round(seen), -4, 4) + np.where(seen > 0, 0.5, -0.5)
    rating = np.where(np.abs(rating) > 4.5, np.sign(rating) * 4.5, rating)
    return Decisions(
        arms=ARMS[: len(gain)],
        readers=tuple("ABCDEFGH"[:readers]),
        items=tuple(map(str, range(cases))),
        truth=truth,
        predicted=predicted,
        yes=(rating > 0).astype(float),
        rating=rating,
        seconds=np.full(rating.shape, 2.0),
    )


def anova(values: NDArray[Any]) -> dict[str, float]:
    """Mean squares of a three-way layout (A, R, K) without replication, by the textbook."""
    grand, squares = values.mean(), {}
    means = {
        axes: values.mean(axis=axes, keepdims=True)
        for n in (1, 2)
        for axes in itertools.combinations(range(3), n)
    }
    arms, readers, cases = values.shape
    of = {"T": means[1, 2], "R": means[0, 2], "C": means[0, 1], "TR": means[2,], "TC": means[1,]}
    squares["T"] = readers * cases * ((of["T"] - grand) ** 2).sum() / (arms - 1)
    tr = of["TR"] - of["T"] - of["R"] + grand
    tc = of["TC"] - of["T"] - of["C"] + grand
    rc = means[0,] - of["R"] - of["C"] + grand
    squares["TR"] = cases * (tr**2).sum() / ((arms - 1) * (readers - 1))
    squares["TC"] = readers * (tc**2).sum() / ((arms - 1) * (cases - 1))
    rest = values - grand - (of["T"] - grand) - (of["R"] - grand) - (of["C"] - grand) - tr - tc - rc
    squares["TRC"] = (rest**2).sum() / ((arms - 1) * (readers - 1) * (cases - 1))
    return squares


@pytest.mark.parametrize("name", ["AUC", "accuracy"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_obuchowski_rockette_is_the_analysis_of_pseudovalues(name: str, seed: int) -> None:
    """With covariances of the jackknife it equals the analysis of variance of pseudovalues of Dorfman, Berbaum
    and Metz, with the degrees of freedom of Hillis (Hillis et al. 2005)."""
    found = drawn(seed)
    figures, without = figures_of(found, name)
    made = obuchowski_rockette(figures, without)
    count = len(found.items)
    pseudo = np.moveaxis(count * figures - (count - 1) * without, 0, -1)
    squares = anova(pseudo)
    error = squares["TR"] + max(squares["TC"] - squares["TRC"], 0)
    assert made.f == pytest.approx(squares["T"] / error)
    freedom = error**2 / (squares["TR"] ** 2 / ((3 - 1) * (4 - 1)))
    assert made.freedom == pytest.approx(freedom)
    assert made.p == pytest.approx(f.sf(squares["T"] / error, 2, freedom))
    first, second = pseudo.mean(axis=(1, 2))[:2]
    said = made.of_difference(second - first)
    half = t.ppf(0.975, freedom) * np.sqrt(2 * error / (4 * count))
    assert (said["low"], said["high"]) == pytest.approx((second - first - half, second - first + half))


def test_covariances_of_accuracy_are_those_of_means() -> None:
    """The jackknife of a mean gives the sample covariance over images, divided by their number."""
    found = drawn(5)
    made = obuchowski_rockette(*figures_of(found, "accuracy"))
    count = len(found.items)
    of = np.cov(found.correct.reshape(12, count)).reshape(3, 4, 3, 4) / count
    cov1 = [of[a, r, b, r] for a in range(3) for b in range(3) for r in range(4) if a != b]
    cov2 = [of[a, r, a, s] for a in range(3) for r in range(4) for s in range(4) if r != s]
    pairs = itertools.product(range(3), range(4), range(3), range(4))
    cov3 = [of[a, r, b, s] for a, r, b, s in pairs if a != b and r != s]
    assert (made.cov1, made.cov2, made.cov3) == pytest.approx([np.mean(c) for c in (cov1, cov2, cov3)])


def test_an_effect_that_is_there_is_found_and_none_where_there_is_none() -> None:
    """Of 300 studies without an effect about 5 % say that there is one; of those with a large one most."""
    false = true = 0
    for seed in range(300):
        none = analysis(drawn(seed, gain=(1.0, 1.0), cases=40), "AUC")
        false += none is not None and none["p"] is not None and none["p"] < 0.05
    for seed in range(40):
        large = analysis(drawn(seed, gain=(0.2, 2.0), cases=40, noise=0.7), "AUC")
        true += large is not None and large["p"] is not None and large["p"] < 0.05
    assert binom.sf(false - 1, 300, 0.05) > 0.001 and true >= 36, (false, true)


def test_the_area_is_that_of_independent_computations() -> None:
    found = drawn(3)
    for rating in found.rating[0]:
        mine = area(rating, found.truth, once(found).cases)[0]
        assert mine == pytest.approx(roc_auc_score(found.truth, rating))
        u = mannwhitneyu(rating[found.truth], rating[~found.truth]).statistic
        assert mine == pytest.approx(u / (found.truth.sum() * (~found.truth).sum()))
        left = areas_without(rating, found.truth)
        for k in (0, 1, 7):
            kept = np.arange(len(rating)) != k
            assert left[k] == pytest.approx(roc_auc_score(found.truth[kept], rating[kept]))
    weights = np.random.default_rng(0).integers(0, 4, (3, 30)).astype(float)
    repeated = [
        roc_auc_score(np.repeat(found.truth, w), np.repeat(found.rating[1, 2], w)) for w in weights.astype(int)
    ]
    assert area(found.rating[1, 2], found.truth, weights) == pytest.approx(repeated)


def test_figures_are_means_over_readers_and_survive_missing_answers() -> None:
    found = drawn(4)
    found.yes[0, 1, :10] = found.rating[0, 1, :10] = np.nan
    found.yes[0, 2] = found.rating[0, 2] = np.nan  # has not begun this arm
    correct, there = found.yes[0] == found.truth, ~np.isnan(found.yes[0])
    for name, among in (
        ("sensitivity", found.truth),
        ("specificity", ~found.truth),
        ("accuracy", found.truth | True),
    ):
        by_reader = [correct[r, among & there[r]].mean() for r in (0, 1, 3)]
        assert figure(found, name, 0, once(found))[0] == pytest.approx(np.mean(by_reader))
    areas = [roc_auc_score(found.truth[there[r]], found.rating[0, r, there[r]]) for r in (0, 1, 3)]
    assert figure(found, "AUC", 0, once(found))[0] == pytest.approx(np.mean(areas))
    weights = Weights(np.array([[2.0, 0, 0, 1]]), np.ones((1, 30)))
    assert figure(found, "AUC", 0, weights)[0] == pytest.approx((2 * areas[0] + areas[2]) / 3)
    assert whole(found) is not None and whole(found).readers == ("A", "D")  # type: ignore[union-attr]


def test_the_bootstrap_of_one_reader_is_that_of_a_mean() -> None:
    """One reader: the spread of resampled accuracy is that of the mean over images drawn in two groups."""
    found = drawn(6, readers=1, cases=200)
    weights = resampled(found, np.random.default_rng(0))
    spread = figure(found, "accuracy", 0, weights).std()
    groups = [found.correct[0, 0, side] for side in (found.truth, ~found.truth)]
    expected = np.sqrt(sum(g.var() / len(g) / 4 for g in groups))
    assert spread == pytest.approx(expected, rel=0.06)
    assert weights.cases[:, found.truth].sum(axis=1) == pytest.approx(100)
    many = drawn(6, readers=8, cases=200)
    rng = np.random.default_rng(0)
    said = with_interval(many, "accuracy", 1, resampled(many, rng))
    assert said["low"] < said["value"] < said["high"]  # type: ignore[operator]
    moved = difference(many, "accuracy", (0, 0), resampled(many, rng))
    assert moved == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_a_share_without_an_error_has_an_interval_of_some_width() -> None:
    """Every resample of right answers is right: Wilson's interval for the number of images stands instead."""
    found = drawn(1, readers=3, cases=20)
    found.yes[:], found.rating[:] = found.truth, np.where(found.truth, 4.5, -4.5)
    weights = resampled(found, np.random.default_rng(0))
    for name, count in (("sensitivity", 10), ("accuracy", 20), ("AUC", 10)):
        said = with_interval(found, name, 0, weights)
        assert (said["value"], said["low"], said["high"]) == (1.0, pytest.approx(wilson(count, count)[0]), 1.0)


@pytest.mark.parametrize(("gained", "lost"), [(0, 1), (5, 5), (9, 1), (0, 8), (13, 30), (3, 4)])
def test_mcnemar_is_the_exact_test(gained: int, lost: int) -> None:
    assert mcnemar(gained, lost) == pytest.approx(binomtest(gained, gained + lost).pvalue)
    assert mcnemar(0, 0) is None


def test_the_power_of_pairs_is_that_of_a_simulation() -> None:
    rng = np.random.default_rng(1)
    counts = rng.multinomial(80, [0.2, 0.05, 0.75], size=4000)
    seen = np.mean([(mcnemar(int(a), int(b)) or 1) <= 0.05 for a, b, _ in counts])
    assert mcnemar_power(80, 0.2, 0.05) == pytest.approx(seen, abs=0.03)
    assert mcnemar_power(40, 0.6, 0.4) == pytest.approx(power(40, 0.6))  # every pair differs
    needed = pairs_needed(0.15, 0.05)
    assert mcnemar_power(needed, 0.15, 0.05) >= 0.8 > mcnemar_power(needed - 1, 0.15, 0.05)
    assert 140 < needed < 190  # by the normal approximation: 155
    with pytest.raises(ValueError, match="tell apart"):
        pairs_needed(0.1, 0.1)


def lines_of(answers: list[tuple[str, str, str, str, str, int]]) -> list[dict[str, Any]]:
    """Lines of arm, reader, item (truth and prediction: `yn1`), answer, at, confidence."""
    return [
        {
            "task": "decide", "reader": reader, "item": item, "arm": arm, "answer": answer,
            "truth": {"y": "yes", "n": "no"}[item[0]], "predicted": {"y": "yes", "n": "no"}[item[1]],
            "confidence": confidence, "seconds": 1.0,
        }
        for arm, reader, item, answer, _, confidence in answers
    ]  # fmt: skip


def test_over_reliance_counts_wrong_predictions_that_were_followed() -> None:
    """Six images of one reader, known by construction."""
    before = {"yn1": "yes", "yn2": "yes", "yn3": "no", "ny1": "no", "yy1": "no", "nn1": "yes"}
    after = {"yn1": "no", "yn2": "yes", "yn3": "no", "ny1": "yes", "yy1": "yes", "nn1": "yes"}
    told = [
        (arm, "A", item, answer, "", 3)
        for arm, of in (("none", before), ("ai", after))
        for item, answer in of.items()
    ]
    found = decisions_of(lines_of(told), ("none", "ai"))
    relied = reliance(found, 0, 1)
    assert (relied["over"]["count"], relied["over"]["of"]) == (2, 3)  # yn1 and ny1 of yn1, yn2, ny1
    assert (relied["under"]["count"], relied["under"]["of"]) == (1, 2)  # nn1 of yy1, nn1
    assert changes(found, 0, 1) == {"pairs": 6, "changed": 3, "towards": 1, "away": 2, "p": 1.0}
    results = decide_results(lines_of(told), ("none", "ai"), rng=np.random.default_rng(0))
    assert results is not None
    [pair] = results["pairs"]
    assert pair["reliance"]["over"]["share"] == pytest.approx(2 / 3) and not pair["analysis"]
    by_arm = {arm["arm"]: arm for arm in results["arms"]}
    assert by_arm["without AI"]["right where the model is wrong"]["value"] == pytest.approx(3 / 4)
    assert by_arm["with AI"]["right where the model is right"]["value"] == pytest.approx(1 / 2)


def test_confidence_is_in_the_prediction_before_and_after() -> None:
    told = [
        ("ai", "A", "yy1", "yes", "", 2), ("explained", "A", "yy1", "yes", "", 4),  # +2
        ("ai", "A", "ny1", "yes", "", 3), ("explained", "A", "ny1", "no", "", 1),  # from 2.5 to -0.5
        ("ai", "B", "yy1", "no", "", 1), ("explained", "B", "yy1", "yes", "", 1),  # +1
    ]  # fmt: skip
    results = decide_results(lines_of(told), ("ai", "explained"), rng=np.random.default_rng(0))
    assert results is not None
    true, false = results["confidence"]
    assert (true["predictions"], true["n"], true["change"]["value"]) == (
        "true positives",
        2,
        pytest.approx(1.5),
    )
    assert true["sd"] == pytest.approx(np.std([2, 1], ddof=1))
    assert (false["before"], false["after"], false["change"]["value"]) == (2.5, -0.5, pytest.approx(-3))
    assert "false positives" in summary_csv(results)


def test_nothing_is_said_before_the_first_answer() -> None:
    assert decide_results([], ARMS, rng=np.random.default_rng(0)) is None
    [line] = lines_of([("ai", "A", "yy1", "yes", "", 2)])
    assert (
        decide_results([{**line, "answer": None, "confidence": None}], ARMS, rng=np.random.default_rng(0))
        is None
    )
    alone = decide_results([line], ARMS, rng=np.random.default_rng(0))
    assert alone is not None and alone["arms"][0]["figures"]["AUC"]["value"] is None and summary_csv(alone)


def test_the_roc_curve_has_the_area_of_all_ratings_together() -> None:
    rng = np.random.default_rng(3)
    truth = rng.uniform(size=30) < 0.5
    rating = np.round(rng.normal(size=(4, 30)) + truth) + 0.5
    rating[1, 7] = np.nan
    false, true = np.transpose(roc(rating, truth))
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1) and (np.diff(true) >= 0).all()
    there = ~np.isnan(rating)
    expected = roc_auc_score(np.broadcast_to(truth, rating.shape)[there], rating[there])
    assert np.trapezoid(true, false) == pytest.approx(expected)
    assert roc(rating, np.ones_like(truth)) == []
