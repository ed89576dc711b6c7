"""One damaged row, array or table of a run: it is named, and everything else goes on."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browsing import planted_run
from contrafact.core import ContrafactWarning, InputError
from contrafact.export.run_files import export_run
from contrafact.io import Run, open_run
from contrafact.render.case import case_page
from contrafact.render.run_index import RunIndex
from contrafact.report.page import environment, write_report
from contrafact.report.study import study_section

BAD: tuple[Any, ...] = (None, "text", -7, [], {}, [None], float("nan"), "missing")


def lines_of(run: Run, name: str = "results.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.folder / name).read_text().splitlines()]


def rewrite(run: Run, lines: list[dict[str, Any]], name: str = "results.jsonl") -> None:
    (run.folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))


def damaged(row: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the row with every field, and every field of its record, taken out or replaced."""
    places = [(name,) for name in row if name != "key"] + [("record", name) for name in row["record"]]
    for place in places:
        for bad in BAD:
            changed = copy.deepcopy(row)
            table = changed if len(place) == 1 else changed["record"]
            if bad == "missing":
                del table[place[-1]]
            else:
                table[place[-1]] = bad
            yield f"{'.'.join(place)}={bad}", changed


@pytest.mark.parametrize("number", [0, 1], ids=["heatmap", "counterfactual"])
def test_no_field_of_a_row_stops_index_and_pages(tmp_path: Path, number: int) -> None:
    run = planted_run(tmp_path / "run")
    lines = lines_of(run)
    for place, row in damaged(lines[number]):
        rewrite(run, [*lines[:number], row, *lines[number + 1 :]])
        cohort = RunIndex(run)
        pages = [case_page(cohort, case) for case in cohort.cases().values()]
        assert sum(len(page["maps"]) + len(page["strips"]) for page in pages) >= len(lines) - 1, place
        [case.line() for case in cohort.chosen(words="a", show="all")]


@pytest.mark.parametrize("form", ["html", "nifti", "npz", "png", "animation", "dicom"])
def test_no_field_of_a_row_stops_an_export(tmp_path: Path, form: str) -> None:
    if form == "dicom":
        pytest.importorskip("highdicom")
    run = planted_run(tmp_path / "run")
    rows = lines_of(run)[:2]
    worse = [bad for row in rows for _, bad in damaged(row)]
    chosen = worse if form != "dicom" else worse[::7]
    for n, row in enumerate(chosen):
        row["key"] = f"bad {n}"
    rewrite(run, [*rows, *chosen])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ContrafactWarning)
        assert len(list(export_run(open_run(run.folder), form, tmp_path / form))) >= 1


def test_a_damaged_array_is_named_and_the_rest_is_shown_and_exported(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run")
    names = [row["array"] for row in run.rows()]
    content = (run.folder / "arrays" / names[0]).read_bytes()
    (run.folder / "arrays" / names[0]).write_bytes(content[: len(content) // 2])
    whole = bytearray((run.folder / "arrays" / names[2]).read_bytes())
    whole[60:90] = bytes(30)
    (run.folder / "arrays" / names[2]).write_bytes(bytes(whole))
    (run.folder / "arrays" / names[3]).unlink()
    np.savez(
        run.folder / "arrays" / names[4], image=np.zeros((1, 4, 4)), values=np.zeros((3, 3)), affine=np.eye(4)
    )
    for name in (names[0], names[2], names[3], names[4]):
        with pytest.raises(InputError, match=name):
            run.arrays(run.rows()[names.index(name)])
    page = write_report(run).read_text()
    for name in (names[0], names[2], names[3], names[4]):
        assert name in page
    with pytest.warns(ContrafactWarning) as said:
        paths = list(export_run(run, "npz", tmp_path / "out"))
    assert len(paths) == 2 and {n for n in names for w in said if n in str(w.message)} == set(names) - {
        names[1],
        names[5],
    }


def test_a_run_of_which_nothing_can_be_read_says_so(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run", cases=1)
    rewrite(run, [{**row, "record": None} for row in lines_of(run)])
    with pytest.raises(InputError, match="none of its 2"):
        write_report(run)
    with pytest.raises(InputError, match="none of its 2"), pytest.warns(ContrafactWarning):
        list(export_run(run, "npz", tmp_path / "out"))


def test_a_failure_without_fields_is_a_failure(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run")
    rewrite(
        run,
        [{"key": "a"}, {"key": "b", "error": None, "seconds": "x", "source": 3}, {"key": [1]}],
        "failures.jsonl",
    )
    found = run.failures()
    assert [row["key"] for row in found] == ["a", "b"]
    assert all("has no reason" in row["error"] and row["seconds"] is None for row in found)
    assert "has no reason" in write_report(run).read_text()
    assert sum(len(case.failures) for case in RunIndex(run).cases().values()) == 2


SUMMARY: dict[str, Any] = {
    "better": {"auc": "higher"},
    "words": {"auc": ""},
    "by_construction": [],
    "keys": [],
    "performance": [{"model": "m", "class": 1, "auc": 0.8, "low": 0.7, "high": 0.9, "cases": 4, "patients": 4}],
    "summary": [
        {"model": "m", "method": name, "metric": "auc", "mean": 0.5, "low": 0.4, "high": 0.6, "median": 0.5}
        | {"patients": 4, "failed": 0, "noted": 0}
        for name in ("kept", "damaged")
    ],
    "ranks": [
        {"model": "m", "method": name, "metric": "auc", "rank": 1.5, "low": 1, "high": 2, "patients": 4}
        for name in ("kept", "damaged")
    ],
    "families": [
        {"model": "m", "method": name, "families": {"faithfulness": 1.5}, "rank": 1.5, "apart": 0.0}
        for name in ("kept", "damaged")
    ],
    "disagreement": [{"model": "m", "first": "a", "second": "b", "correlation": 0.5, "methods": 3}],
    "methods": [
        {"model": "m", "metric": "auc", "first": "kept", "second": name, "difference": 0.1, "low": 0, "high": 1}
        | {"p": 0.01, "holm": 0.02, "differs": True, "patients": 8}
        for name in ("kept", "damaged")
    ],
    "models": [
        {"method": "kept", "metric": "auc", "first": "a", "second": "b", "difference": 0.1, "low": 0, "high": 1}
        | {"p": 0.01, "holm": 0.02, "differs": True, "patients": 8}
    ],
    "subgroups": [
        {"subgroup": "sex", "of": "f", "model": "m", "method": "kept", "metric": "auc", "mean": 0.5}
        | {"low": 0.4, "high": 0.6, "median": 0.5, "patients": 2, "failed": 0, "noted": 0}
    ],
}


def with_summary(run: Run, summary: Any) -> str:
    (run.folder / "summary.json").write_text(json.dumps(summary))
    return environment().get_template("study.html").render(study=study_section(run))


def test_no_field_of_a_summary_stops_the_report(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run", cases=1)
    assert "cannot be read" not in with_summary(run, SUMMARY)
    for name, table in SUMMARY.items():
        for bad in BAD:
            with_summary(
                run, {k: (bad if k == name else v) for k, v in SUMMARY.items() if (k, bad) != (name, "missing")}
            )
        for field in table[-1] if table and isinstance(table, list) else ():
            for bad in BAD:
                changed = copy.deepcopy(SUMMARY)
                changed[name][-1][field] = bad
                if bad == "missing":
                    del changed[name][-1][field]
                with_summary(run, changed)
    for text in ("", "[]", "null", "{", "7"):
        (run.folder / "summary.json").write_text(text)
        assert "cannot be read" in write_report(run).read_text()


def test_a_null_in_a_summary_costs_its_row_alone(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run", cases=1)
    changed = copy.deepcopy(SUMMARY)
    changed["ranks"][1]["rank"] = None
    with_summary(run, changed)
    page = write_report(run).read_text()
    assert "1 rows of summary.json cannot be read" in page and "m: kept" in page


def test_a_figure_that_is_not_finite_is_no_damage(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run")
    lines = lines_of(run)
    strip = lines[1]
    strip["reconstruction_error"], strip["second"] = float("nan"), [float("inf")] * len(strip["scores"])
    rewrite(run, lines)
    assert [run.flaw(row) for row in run.rows()] == [""] * len(lines)
    assert len(list(run.results())) == len(lines)
    assert write_report(run).stat().st_size > 10_000
