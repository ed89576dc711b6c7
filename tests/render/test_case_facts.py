"""Labels, predictions and subgroups of a run: counted as they were planted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from browsing import heatmap, ramp
from contrafact.core import Image, InputError
from contrafact.core.intervals import mean_interval
from contrafact.io import Run
from contrafact.io.run_cohort import CohortTable, stored_cohort
from contrafact.render.case_facts import CaseFilter, RunFacts, class_of_label, run_facts
from contrafact.render.cohort_summary import cohort_summary
from contrafact.render.run_index import RunIndex
from contrafact.render.subgroups import MISSING, grouping
from labelled import labelled_run


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> RunFacts:
    run = labelled_run(tmp_path_factory.mktemp("facts") / "run")
    return run_facts(RunIndex(run), stored_cohort(run))


def names(facts: RunFacts, **wanted: str) -> list[str]:
    chosen = CaseFilter(**wanted)
    return [one.case.name for one in facts.cases.values() if chosen.keeps(one)]


def test_cells_of_the_grid_hold_what_was_planted(facts: RunFacts) -> None:
    [model] = facts.models()
    grid = cohort_summary(facts, model)["grid"]
    assert grid["predicted"] == ["wide", "narrow"]
    counts = {row["truth"]: [cell["count"] for cell in row["cells"]] for row in grid["rows"]}
    assert counts == {"wide": [20, 9], "narrow": [0, 10]}
    assert [[cell["right"] for cell in row["cells"]] for row in grid["rows"]] == [[True, False], [None, True]]
    assert (grid["right"], grid["compared"], grid["unlabelled"], grid["unknown"]) == (30, 39, 1, "")
    assert (grid["patients"], grid["share"]) == (20, pytest.approx((10 * 1 + 9 * 0.5 + 1) / 20))


def test_figures_of_subgroups_are_means_over_patients(facts: RunFacts) -> None:
    about = cohort_summary(facts, facts.models()[0])
    titles = [figure["title"] for figure in about["figures"]]
    assert titles[1] == "mean probability of narrow" and len(titles) == 4
    site, age = about["columns"]
    assert [site["name"], age["name"]] == ["site", "age"]
    a, b = (group["values"] for group in site["groups"])
    assert [group["cases"] for group in site["groups"]] == [20, 19]
    assert (a["right"]["value"], a["right"]["count"]) == (pytest.approx(0.75), 5)
    assert (a["confirmed"]["value"], b["confirmed"]["value"]) == (1, 0)
    assert b["confirmed"]["count"] == 19 and b["confirmed"]["behind"] == {"change": "unconfirmed"}
    assert (a["flipped"]["value"], a["flipped"]["patients"], a["flipped"]["few"]) == (1, 10, False)
    assert a["probability"]["value"] == pytest.approx(0.5, abs=0.01)  # 12 % and 88 % of every patient
    assert [group["name"] for group in age["groups"]] == ["30 to 34", "35 to 39", "40 to 44", "45 to 49"]
    assert all(group["values"]["right"]["few"] for group in age["groups"])
    assert all(group["values"]["right"]["interval"] is None for group in age["groups"])
    assert about["unused"] == "note (39 different values), reader (one value)"


def test_subgroups_that_lie_apart_are_named_and_others_are_not(facts: RunFacts) -> None:
    found = cohort_summary(facts, facts.models()[0])["differing"]
    assert [(one["filters"]["group"], one["figure"], one["share"], one["others"]) for one in found] == [
        ("A", "flips confirmed by a second model", 1, 0),
        ("B", "flips confirmed by a second model", 0, 1),
    ]


def test_flips_outside_the_anatomy_are_counted(facts: RunFacts) -> None:
    assert cohort_summary(facts, facts.models()[0])["outside"] == {"outside": 19, "of": 39}
    outside = names(facts, change="outside")
    assert len(outside) == 19 and set(outside) == {f"Case {n}" for n in range(1, 40) if (n - 1) // 2 % 2}


def test_filters_keep_the_cases_that_a_figure_counts(facts: RunFacts) -> None:
    assert names(facts, truth="wide", predicted="narrow") == [f"Case {4 * n}" for n in range(1, 10)]
    assert names(facts, answer="wrong") == names(facts, truth="wide", predicted="narrow")
    assert names(facts, answer="unlabelled") == ["Case 40"]
    assert len(names(facts, column="site", group="B", change="unconfirmed")) == 19
    assert names(facts, column="age", group="30 to 34", answer="wrong") == ["Case 4", "Case 8"]
    assert len(names(facts, change="any")) == 39 and names(facts, change="unflipped") == []
    assert len(names(facts)) == 40 and names(facts, model="other") == []
    with pytest.raises(InputError, match="change must be one of any, flipped.*got 'flippped'; did you mean"):
        CaseFilter(change="flippped")


def test_a_run_without_labels_has_no_grid_and_no_subgroups(tmp_path: Path) -> None:
    run = labelled_run(tmp_path / "run", 2)
    about = cohort_summary(run_facts(RunIndex(run), CohortTable.of_cases(())), "m")
    assert (about["grid"], about["columns"], about["differing"], about["unused"]) == (None, [], [], "")
    assert about["labelled"] == 0 and about["changes"] == 3
    empty = run_facts(RunIndex(Run.create(tmp_path / "empty", about={})), CohortTable.of_cases(()))
    assert cohort_summary(empty, "")["grid"] is None


@pytest.mark.parametrize(
    ("label", "classes", "labels", "found"),
    [
        ("Narrow ", ("wide", "narrow"), ("narrow", "wide"), "narrow"),
        ("1", ("wide", "narrow"), ("0", "1"), "narrow"),
        ("1", ("KL 0-1", "KL 2-4"), ("0", "1", "2", "3"), ""),  # grades are no numbers of these classes
        ("yes", ("not narrow", "narrow"), ("yes", "no"), "narrow"),
        ("no narrow", ("not narrow", "narrow"), ("narrow", "no narrow"), "not narrow"),
        ("yes", ("wide", "narrow"), ("yes", "no"), ""),
        ("", ("wide", "narrow"), ("",), ""),
    ],
)
def test_a_label_means_a_class_by_name_or_number(
    label: str, classes: tuple[str, ...], labels: tuple[str, ...], found: str
) -> None:
    assert class_of_label(label, classes, labels) == found


def test_columns_are_categories_quarters_or_nothing() -> None:
    found = grouping(["m", "f", "", "f "])
    assert not isinstance(found, str)
    assert found.names == ("f", "m", MISSING) and found.of(" f") == "f" and found.of("") == MISSING
    numbers = grouping([str(n) for n in range(100)])
    assert not isinstance(numbers, str)
    assert numbers.names == ("0 to 24", "25 to 49", "50 to 74", "75 to 99")
    assert [numbers.of(str(n)) for n in (0, 24, 25, 99)] == ["0 to 24", "0 to 24", "25 to 49", "75 to 99"]
    assert grouping(["a"] * 9) == "one value" and grouping([""]) == "empty"
    assert grouping([f"id {n}" for n in range(13)]) == "13 different values"
    assert grouping([*map(str, range(13)), "nan"]) == "14 different values"
    ten = grouping(["10", "9", "1"])
    assert not isinstance(ten, str) and ten.names == ("1", "9", "10")
    dates = grouping([str(20230100 + day) for day in range(1, 29)])  # as they are written, not 2.02301e+07
    assert not isinstance(dates, str)
    assert dates.names[0] == "20230101 to 20230107" and len(set(dates.names)) == 4
    said = grouping(["a", MISSING, ""])
    assert not isinstance(said, str) and said.names == ("a", MISSING)


def test_a_mean_probability_says_whose_it_is(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    for name, target, share in (("a", "narrow", 10), ("b", "cyst", 80)):
        image = Image(ramp(), window=(0.0, 200.0), source=f"/data/{name}.png")
        run.add(name, image, heatmap(name), case=name, answers=[f"{target} {share} %"], target_name=target)
    run.add("c", Image(ramp(1, 1.0), source="/data/c.png"), heatmap("c"), case="c")  # without a prediction
    found = run_facts(RunIndex(run), CohortTable.of_cases(()))
    [shown] = cohort_summary(found, "m")["figures"]
    assert shown["title"] == "mean probability of the predicted class"
    line = cohort_summary(found, "m")["all"]["values"]["probability"]
    assert line["value"] == pytest.approx((0.9 + 0.8) / 2)  # not narrow, and cyst
    one = Run.create(tmp_path / "one", about={})
    one.add("a", image, heatmap("a"), case="a", answers=["narrow 49.7 %"], target_name="narrow")
    one.add("c", Image(ramp(1, 1.0), source="/data/c.png"), heatmap("c"), case="c")
    found = run_facts(RunIndex(one), CohortTable.of_cases(()))
    assert cohort_summary(found, "m")["figures"][0]["title"] == "mean probability of narrow"
    assert next(iter(found.cases.values())).predicted == "not narrow"


@pytest.mark.parametrize("count", [10, 40])
def test_the_interval_of_a_mean_is_students(count: int) -> None:
    values = np.random.default_rng(0).normal(size=count)
    expected = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=stats.sem(values))
    assert mean_interval(list(values)) == pytest.approx(expected, rel=3e-3, abs=3e-3)
    assert mean_interval([1.0]) is None
