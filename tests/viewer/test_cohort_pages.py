"""What the cohort page asks for: filters that neighbours keep, means a little at a time, labels that change."""

from __future__ import annotations

import dataclasses
import io
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image as Picture

pytest.importorskip("starlette", reason="the pages need contrafact[view]")

from browsing import HOSTILE, Site, entered, many, planted_run, ramp, serving, strip
from contrafact.core import Image
from contrafact.io import Case, Run
from contrafact.io.run_cohort import store_cohort
from contrafact.render.mean_changes import MeanChanges
from contrafact.viewer import make_app
from labelled import labelled_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return labelled_run(tmp_path_factory.mktemp("pages") / "run")


@pytest.fixture(scope="module")
def site(run: Run) -> Iterator[Site]:
    with serving(entered(make_app(run))) as site:
        yield site


def test_neighbours_of_a_case_are_those_of_the_filter(site: Site) -> None:
    asked = "truth=wide&predicted=narrow&sort=name"
    lines = site.ask(f"/api/cases?{asked}").json()
    assert (lines["found"], lines["all"]) == (9, 40)
    assert [line["name"] for line in lines["cases"]] == [f"Case {4 * n}" for n in range(1, 10)]
    about = site.ask(f"/api/case/{lines['cases'][3]['id']}?{asked}").json()
    assert (about["number"], about["of"]) == (4, 9)
    assert (about["previous"], about["next"]) == (lines["cases"][2]["id"], lines["cases"][4]["id"])
    assert site.ask("/api/cases?answer=maybe").status == 400


def test_means_come_once_all_is_summed_and_pictures_by_their_name(site: Site) -> None:
    assert site.ask("/api/cohort").json()["ways"] == ["truth and prediction", "site", "age", "all cases"]
    for _ in range(40):
        found = site.ask(f"/api/means?by={quote('truth and prediction')}").json()
        if found["done"] == found["of"]:
            break
    assert [(tile["words"], tile["towards"], tile["count"]) for tile in found["tiles"]] == [
        ("false positives: labelled wide, predicted narrow", "towards wide", 9),
        ("true negatives: labelled wide, predicted wide", "towards narrow", 20),
        ("true positives: labelled narrow, predicted narrow", "towards wide", 10),
    ]
    for tile in found["tiles"]:
        asked = "&".join(f"{name}={value}" for name, value in tile["filters"].items())
        assert site.ask(f"/api/cases?change=any&{asked}").json()["found"] == tile["count"]
        assert site.ask(f"/mean/{tile['picture']}.png").body.startswith(b"\x89PNG")
    assert site.ask("/mean/0123.png").status == 404
    assert site.ask("/api/means?by=height").status == 400
    assert site.ask("/api/cohort?model=x").status == 400


def test_other_requests_do_not_wait_while_changes_are_summed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go, real = threading.Event(), threading.Event(), MeanChanges.measure

    def slow(changes: MeanChanges, *, seconds: float) -> None:
        begun.set()
        assert go.wait(60)
        real(changes, seconds=seconds)

    monkeypatch.setattr(MeanChanges, "measure", slow)
    found: list[int] = []
    asked = threading.Thread(target=lambda: found.append(site.ask("/api/means?by=site").status))
    asked.start()
    try:
        assert begun.wait(60)
        for path, status in (("/api/cohort", 200), ("/api/cases", 200), ("/mean/0123.png", 404)):
            assert site.ask(path).status == status  # times out if it waits
    finally:
        go.set()
        asked.join()
    assert found == [200]


def test_a_flip_that_misses_its_goal_is_not_called_not_found(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run", 1)
    for outcome, scores in (("search", np.linspace(-2, 1, 5)), ("search", np.linspace(-2, -1, 5))):
        made = strip("s", outcome=outcome, scores=scores)
        run.add(f"{scores[-1]}", Image(ramp(), source=f"s{scores[-1]}.png"), made, case=f"s{scores[-1]}")
    with serving(entered(make_app(run))) as site:
        lines = {line["name"]: line["ends"] for line in site.ask("/api/cases").json()["cases"]}
    assert lines == {"Case 1": ["reached"], "s1.0": ["flips"], "s-1.0": ["search"]}


def test_two_models_have_a_picture_each(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    for model, rows in (("first", slice(0, 4)), ("second", slice(12, 16))):
        for name in ("a", "b"):
            frames = np.stack([ramp()] * 5)
            frames[4, :, rows] += 40
            about = {"case": name, "answers": ["narrow 12 %"], "target_name": "narrow", "model_name": model}
            record = dataclasses.replace(strip(name).record, model=model)
            made = strip(name, frames=frames, goal=None, record=record)
            run.add(f"{model}/{name}", Image(ramp(), window=(0.0, 200.0), source=name), made, **about)
    with serving(entered(make_app(run))) as site:
        [first], [second] = (site.ask(f"/api/means?model={m}").json()["tiles"] for m in ("first", "second"))
        assert first["words"] == second["words"]
        shown = [site.ask(f"/mean/{tile['picture']}.png").body for tile in (first, second)]
    top, bottom = (np.asarray(Picture.open(io.BytesIO(png)).convert("RGB")).astype(int) for png in shown)
    for picture, changed in ((top, slice(0, 60)), (bottom, slice(-60, None))):
        coloured = np.abs(picture[..., 0] - picture[..., 2])
        assert coloured[changed].mean() > 50 and coloured.mean() < 50


def test_a_line_has_the_change_of_its_counterfactual(site: Site) -> None:
    [line] = site.ask("/api/cases?q=knee40.png").json()["cases"]
    assert line["change"] is None
    [line] = site.ask("/api/cases?q=knee39.png").json()["cases"]
    assert site.ask(f"/change/{line['change']}.png").body.startswith(b"\x89PNG")
    assert site.ask(f"/change/{line['thumbnail']}.png").status == 400  # a heatmap


def test_labels_that_change_are_read_again(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run")
    with serving(entered(make_app(run))) as site:
        assert site.ask("/api/cohort").json()["grid"] is None
        sources = [f"/data/knee{n}.png" for n in (1, 2)]
        store_cohort(run, {s: Case(path=Path(s), patient=s, label="1") for s in sources})
        grid = site.ask("/api/cohort").json()["grid"]
        assert grid["predicted"] == ["not narrow", "narrow"] and grid["rows"][0]["cells"][0]["count"] == 2
        assert (grid["right"], grid["compared"], grid["unlabelled"]) == (0, 2, 1)


def test_facts_of_two_thousand_cases_open_no_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = many(planted_run(tmp_path / "run"), 2000)
    opened: list[object] = []
    real = zipfile.ZipFile.__init__

    def counted(self: zipfile.ZipFile, file: object, *args: object, **more: object) -> None:
        opened.append(file)
        real(self, file, *args, **more)  # type: ignore[arg-type]

    with serving(entered(make_app(run))) as site:
        monkeypatch.setattr(zipfile.ZipFile, "__init__", counted)
        assert site.ask("/api/cohort").json()["total"] == 2000
        assert site.ask("/api/cases?change=flipped").json()["found"] == 2000
        assert opened == []
        assert site.ask("/api/means").json()["done"] >= 1
        assert opened  # what opens an array is counted


def test_hostile_labels_and_columns_stay_words(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run")
    source = "/data/knee1.png"
    case = Case(path=Path(source), patient=HOSTILE, label=HOSTILE, extra={HOSTILE: HOSTILE, "\ud800": "x"})
    store_cohort(run, {source: case})
    with serving(entered(make_app(run))) as site:
        assert site.ask("/api/cohort").json()["grid"]["rows"][0]["truth"] == HOSTILE
        assert site.ask(f"/api/cases?truth={quote(HOSTILE)}").json()["found"] == 1
