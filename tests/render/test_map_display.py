"""Heatmaps in colour: which scale, what orange means, and what is said of maps that show nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from browsing import SIDE, heatmap, ramp
from contrafact.core import Grid, Heatmap, Image, Record
from contrafact.export.paper_files import STRIP
from contrafact.export.run_files import export_run
from contrafact.io import Run, open_run
from contrafact.render.case import case_page
from contrafact.render.map_display import colour_names, display_sign, finding_of, map_flaw, scale_for
from contrafact.render.pixels import AGAINST, FOR, signed_scale
from contrafact.render.run_index import RunIndex
from contrafact.report.page import write_report

TWO = ["wide", "narrow"]


def row(target: str, *, classes: list[str] | None = None, name: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"record": {"target": target, "model": "m", "method": "gradcam"}}
    found |= {"exclusive_classes": classes} if classes else {}
    return found | ({"target_name": name} if name else {})


def add(
    run: Run, key: str, strength: float, *, model: str = "m", target: str = "class:1", **extra: Any
) -> None:
    values = heatmap(key, strength).values
    about = Record(method="gradcam", parameters={}, target=target, model=model, image=key, versions={"a": "1"})
    image = Image(ramp(), window=(0, 200), source=f"{key}.png")
    run.add(key, image, Heatmap(values=values, grid=Grid((SIDE, SIDE)), record=about), case=key, **extra)


def maps(run: Run) -> list[dict[str, Any]]:
    cohort = RunIndex(run)
    return [one for case in cohort.cases().values() for one in case_page(cohort, case)["maps"]]


def test_models_and_kinds_of_targets_do_not_share_a_scale(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    for key, strength, where in (
        ("strong", 50.0, {"model": "honest"}),
        ("weak", 1.0, {"model": "cheat"}),
        ("grade", 5.0, {"model": "honest", "target": "grade"}),
    ):
        add(run, key, strength, **where)
    found = maps(run)
    assert [one["scale"] for one in found] == [50.0, 1.0, 5.0]
    assert all(one["scale_words"] == "" and one["scale_from"] == [1, 1] for one in found)


def test_a_map_under_15_percent_of_the_shared_scale_gets_its_own_and_the_factor_is_said(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    for key, strength in (("strong", 48.0), ("faint", 1.0), ("fair", 8.0)):
        add(run, key, strength)
    strong, faint, fair = maps(run)
    assert strong["scale"] == fair["scale"] == faint["shared"] == 48
    assert faint["scale"] == faint["own"] == 1 and faint["scale_words"].startswith("×48:")
    page = write_report(run).read_text()
    assert page.count("×48: per-image scale of a faint map") == 1
    paths = {
        path.name.split("-")[2]: path for path in export_run(run, "png", tmp_path / "png", keep_names=True)
    }
    assert paths["faint"].stem.endswith("_x48") and not paths["fair"].stem.endswith("_x48")
    with Picture.open(paths["faint"]) as picture:
        assert "×48" in picture.text["Description"]  # type: ignore[attr-defined]
        drawn = np.asarray(picture)[5, 5]
    with Picture.open(paths["strong"]) as picture:
        np.testing.assert_array_equal(np.asarray(picture)[5, 5], drawn)  # as strong in colour


def test_the_scale_is_the_same_in_viewer_and_exports_by_closed_form() -> None:
    values = np.zeros(1000)
    values[0] = 3.0
    assert signed_scale([values]) == 3.0  # one voxel in a thousand: its percentile is zero
    assert scale_for(values, 20.0).drawn == 20.0 and scale_for(values, 20.1).drawn == 3.0
    assert scale_for(values * 0, 20.0).drawn == 20.0
    assert scale_for(values, 144.0).words.startswith("×48:")
    assert scale_for(values, 25.2).words.startswith("×8.4:")


@pytest.mark.parametrize(
    ("target", "classes", "name", "sign", "names"),
    [
        ("class:1", TWO, "narrow", 1, ("for narrow", "for wide")),
        ("class:0", TWO, "wide", -1, ("for narrow", "for wide")),
        ("margin:0,1", TWO, "", -1, ("for narrow", "for wide")),
        ("class:0", ["a", "b", "c"], "a", 1, ("for a", "against a")),
        ("class:0", None, "one of many labels", 1, ("for one of many labels", "against one of many labels")),
        ("region:0", TWO, "region of wide", 1, ("for region of wide", "against region of wide")),
        ("class:10", [*map(str, range(11))], "10", 1, ("for 10", "against 10")),
    ],
)
def test_of_two_classes_orange_is_always_for_the_last(
    target: str, classes: list[str] | None, name: str, sign: int, names: tuple[str, str]
) -> None:
    one = row(target, classes=classes, name=name)
    assert display_sign(one) == sign and colour_names(one) == names
    assert names[0] == f"for {finding_of(one)}"


def test_orange_means_the_same_finding_in_every_case_and_values_stay(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    add(run, "narrow", 1.0, target="class:1", exclusive_classes=TWO, target_name="narrow")
    add(run, "wide", 1.0, target="class:0", exclusive_classes=TWO, target_name="wide")
    narrow, wide = maps(run)
    assert narrow["orange"] == wide["orange"] == "for narrow" and [narrow["sign"], wide["sign"]] == [1, -1]
    pixels = {}
    for path in export_run(run, "png", tmp_path / "png", keep_names=True):
        with Picture.open(path) as picture:
            drawn, at = np.asarray(picture)[STRIP:-STRIP], int(5.5 * picture.width / SIDE)
            pixels[path.name.split("-")[2]] = drawn[at, at].astype(int)
            assert "orange: evidence for narrow" in picture.text["Description"]  # type: ignore[attr-defined]
    assert np.abs(pixels["narrow"] - FOR).max() < 60 < np.abs(pixels["narrow"] - AGAINST).max()
    assert np.abs(pixels["wide"] - AGAINST).max() < 60 < np.abs(pixels["wide"] - FOR).max()
    again = open_run(run.folder)
    for line in again.rows():
        assert again.arrays(line)["values"][5, 5] == 1.0
    text = write_report(run).read_text()
    assert text.count("Orange: evidence for narrow; blue: for wide.") == 2


@pytest.mark.parametrize(
    ("values", "scale", "said"),
    [
        (np.zeros((4, 4)), 1.0, "zero everywhere"),
        (np.full((4, 4), 0.3), 1.0, "same value everywhere (0.3)"),
        (np.linspace(-9, 9, 100), 1.0, "Saturated: 88 % of the map"),
        (np.linspace(-9, 9, 100), 9.0, ""),
    ],
)
def test_a_map_that_shows_no_places_is_said_to(values: np.ndarray, scale: float, said: str) -> None:
    flaw = map_flaw(values, scale)
    assert said in flaw and bool(said) == bool(flaw)


def test_an_empty_map_is_said_to_be_empty_in_the_report_and_in_its_png(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    add(run, "empty", 0.0)
    assert '<span class="doubt">The map is zero everywhere' in write_report(run).read_text()
    (path,) = export_run(run, "png", tmp_path / "png", keep_names=True)
    with Picture.open(path) as picture:
        assert "zero everywhere" in picture.text["Description"]  # type: ignore[attr-defined]
