"""Labels of images: matched by path, name or stem, stored with the run, and damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from contrafact.io import Case, Run
from contrafact.io.run_cohort import CohortTable, store_cohort, stored_cohort, stored_shares, unmatched_line


def case(path: str, label: str, **columns: str) -> Case:
    return Case(path=Path(path), patient=path, label=label, extra=columns)


def test_an_image_is_found_by_path_name_or_stem_and_not_where_two_differ() -> None:
    table = CohortTable.of_cases(
        [case("a/1.png", "ill"), case("b/1.png", "well"), case("2.nii.gz", "ill"), case("3", "well")]
    )
    labels = {name: (found.label if (found := table.find(name)) else None) for name in (
        "a/1.png", "b/1.png", "c/1.png", "/data/2.nii.gz", "2.npy", "x/3.png", "4.png"
    )}  # fmt: skip
    assert labels == {
        "a/1.png": "ill", "b/1.png": "well", "c/1.png": None, "/data/2.nii.gz": "ill", "2.npy": "ill",
        "x/3.png": "well", "4.png": None,
    }  # fmt: skip
    both = CohortTable.of_cases([case("a/1.png", "ill", sex="f"), case("b/1.png", "ill", sex="f")])
    assert both.find("c/1.png") is not None  # both say the same


def test_names_without_a_row_are_one_line() -> None:
    table = CohortTable.of_cases([case("1.png", "ill")])
    assert unmatched_line(table, "l.csv", ["/d/1.png"]) == ""
    line = unmatched_line(table, "l.csv", [f"/d/{n}.png" for n in range(1, 10)])
    assert line.startswith("'l.csv' has no row for 8 of 9 images (2.png, 3.png, 4.png, 5.png, 6.png and 3 more")
    assert line.endswith("the first is '1.png'") and "\n" not in line


def test_a_run_keeps_labels_of_earlier_calls_and_replaces_those_of_the_same_image(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    assert not stored_cohort(run)
    store_cohort(run, {"/d/1.png": case("1.png", "ill", sex="f"), "/d/2.png": case("2.png", "well")})
    store_cohort(run, {"/d/2.png": case("2.png", "ill"), "/d/3.png": case("3.png", "well", sex="m")})
    table = stored_cohort(run)
    assert {path: (c.label, c.extra, c.patient) for path, c in table.paths.items()} == {
        "/d/1.png": ("ill", {"sex": "f"}, "1.png"),
        "/d/2.png": ("ill", {}, "2.png"),
        "/d/3.png": ("well", {"sex": "m"}, "3.png"),
    }


def test_a_study_of_earlier_versions_has_its_labels_in_its_scores(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    about = {"source": "/d/1.png", "label": "ill", "patient": "p", "columns": {"sex": "f"}}
    run.add_scores("x", scores=[], failed=[], outputs=None, **about)
    assert stored_cohort(run).paths == {
        "/d/1.png": Case(path=Path("/d/1.png"), patient="p", label="ill", extra={"sex": "f"})
    }


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"images": 3}', '{"images": [3, {"source": 1, "label": "a"}, {"source": "b"}]}']
)
def test_a_damaged_file_of_labels_is_no_labels(tmp_path: Path, text: str) -> None:
    run = Run.create(tmp_path / "run", about={})
    (run.folder / "cohort.json").write_text(text)
    assert not stored_cohort(run)


def test_shares_of_the_change_come_from_the_scores_of_a_study(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    assert stored_shares(run) == {}
    scores = [
        {"metric": "change-share", "method": "walk", "value": 0.25},
        {"metric": "change-share", "method": "jump", "value": None},
        {"metric": "sparsity", "method": "walk", "value": 0.5},
    ]
    about = {"source": "/d/1.png", "label": "", "patient": "p", "model": "m", "target": "class:1"}
    run.add_scores("x", scores=scores, failed=[], outputs=None, columns={}, **about)
    assert stored_shares(run) == {("/d/1.png", "m", "walk", "class:1"): 0.25}
