"""The page of the reader study in a browser: decisions by mouse and by keyboard, zoom, window, results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the reader study needs contrafact[view]")
pytest.importorskip("playwright", reason="a browser test needs playwright")

from test_controls import looks_like_a_page, move_all

from browsing import record, serving
from contrafact.core import Grid, Heatmap, Image
from contrafact.io import Run
from contrafact.viewer.reader_study.answers import Answers
from contrafact.viewer.reader_study.app import Reading, make_reading_app
from contrafact.viewer.reader_study.sessions import Design
from deciding import labelled_run
from visiting import PROGRESS, WIDTHS, Visit

SEEN = "document.querySelector('.holder img').src"


def reading_of(folder: Path, **design: Any) -> Reading:
    run, labels = labelled_run(folder / "run", cases=4, wrong=2)
    return Reading(run, tasks=("decide",), design=Design(labels=labels, **{"washout": 0.0, **design}))


def begin(visit: Visit, name: str = "Ada") -> None:
    visit.go("/?token=r", "#name")
    visit.page.fill("#name", name)
    visit.page.click("#name-form button")
    visit.page.wait_for_selector("#pictures img")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_reader_decides_in_every_arm_and_the_results_are_a_page(
    browser: Any, tmp_path: Path, width: int
) -> None:
    reading = reading_of(tmp_path)
    with serving(make_reading_app(reading, reader="r", owner="o")) as site:
        with Visit(browser, site, width) as visit:
            visit.go("/?token=r", "#name")
            looks_like_a_page(visit)
            begin(visit)
            said = []
            for done in range(12):
                visit.until(f"{PROGRESS}.startsWith('{done} of 12')")
                said.append((visit.page.locator("#pictures img").count(), visit.page.is_visible("#said")))
                if done % 4 == 0:
                    looks_like_a_page(visit)
                if done % 2:  # by keyboard, in either order
                    visit.page.keyboard.press("y")
                    visit.page.keyboard.press("4")
                else:
                    visit.page.locator("#confidence label").nth(1).click()
                    visit.page.click("#choices button >> nth=0")
            visit.page.wait_for_selector("#finished:not([hidden])")
        assert sorted(said) == [(1, False)] * 4 + [(1, True)] * 4 + [(4, True)] * 4
        lines = Answers(reading.run.folder / "reading.sqlite").lines()
        given = [(line["answer"], line["confidence"]) for line in lines]
        assert given == [("no", 2), ("yes", 4)] * 6
        with Visit(browser, site, width) as visit:
            visit.go("/results?token=o", "table")
            looks_like_a_page(visit)
            assert "over-reliance" in visit.page.inner_text("main").lower()
            link = visit.page.get_attribute("a[href='/summary.csv']", "href")
            assert visit.context.request.get(site.link + link).status == 200


@pytest.mark.parametrize("width", WIDTHS)
def test_every_control_of_a_decision_moves(browser: Any, tmp_path: Path, width: int) -> None:
    reading = reading_of(tmp_path, arms=("explained",))
    with (
        serving(make_reading_app(reading, reader="r", owner="o")) as site,
        Visit(browser, site, width) as visit,
    ):
        begin(visit)
        moved = move_all(visit, leave="#choices button")
        assert moved["range"] == 2 and moved["button"] == 5 and moved["radio"] == 5 and moved["checkbox"] == 1


def test_window_and_zoom_by_key_slider_and_drag(browser: Any, tmp_path: Path) -> None:
    reading = reading_of(tmp_path, arms=("explained",))
    with serving(make_reading_app(reading, reader="r", owner="o")) as site, Visit(browser, site) as visit:
        begin(visit)
        assert "low" not in visit.page.evaluate(SEEN)
        visit.page.keyboard.press("w")
        visit.until(f"{SEEN}.includes('low=20&high=180')")  # of 0 to 200: 0.8 times as wide
        visit.page.keyboard.press("d")
        visit.until(f"{SEEN}.includes('low=10&high=170')")
        visit.slide("Window", 100)
        visit.until(f"{SEEN}.includes('low=40&high=140')")
        drawn = visit.page.locator(".holder img").first.screenshot()
        assert len(np.frombuffer(drawn, np.uint8)) > 100
        zoom = "document.querySelector('.holder').dataset.zoom"
        visit.page.keyboard.press("+")
        assert visit.page.evaluate(zoom) == "1.25"
        moved = "document.querySelectorAll('.holder img')[3].style.transform"
        visit.page.keyboard.press("ArrowRight")
        assert visit.page.evaluate(moved).startswith("translate(-10%")  # all pictures together
        box = visit.page.locator(".holder").first.bounding_box()
        visit.page.mouse.move(box["x"] + 10, box["y"] + 10)
        visit.page.mouse.down()
        visit.page.mouse.move(box["x"] + 10 + box["width"] / 10, box["y"] + 10, steps=3)
        visit.page.mouse.up()
        visit.until(f"Math.abs(parseFloat({moved}.slice(10))) < 1")  # enlarged: a drag moves the image
        visit.page.keyboard.press("0")
        visit.until(f"!{SEEN}.includes('low') && {zoom} === '1'")
        visit.page.uncheck("#keys")
        visit.page.keyboard.press("w")
        visit.page.keyboard.press("y")
        visit.page.keyboard.press("3")
        visit.page.wait_for_timeout(200)
        assert "low" not in visit.page.evaluate(SEEN) and visit.page.text_content("#progress").startswith(
            "0 of"
        )


def test_a_reader_who_comes_too_early_is_told_when_to_come_back(browser: Any, tmp_path: Path) -> None:
    reading = reading_of(tmp_path, washout=28.0)
    with serving(make_reading_app(reading, reader="r", owner="o")) as site, Visit(browser, site, 390) as visit:
        begin(visit)
        for done in range(4):
            visit.until(f"{PROGRESS}.startsWith('{done} of 12 answered, session 1 of 3')")
            visit.page.keyboard.press("n")
            visit.page.keyboard.press("1")
        visit.page.wait_for_selector("#waiting:not([hidden])")
        assert visit.page.text_content("#begins")
        looks_like_a_page(visit)


def test_slices_of_a_volume_move_by_key(browser: Any, tmp_path: Path) -> None:
    run, labels = Run.create(tmp_path / "deep", about={}), tmp_path / "labels.csv"
    grid, lines = Grid((5, 6, 6)), ["path,label"]
    for name, label, share in (("a", "narrow", 90), ("b", "wide", 80)):
        values = np.arange(5, dtype=np.float32)[None, :, None, None] * np.ones((1, 5, 6, 6), np.float32)
        made = Heatmap(values=values[0], grid=grid, record=record("gradcam", name))
        about = {"target_name": "narrow", "answers": [f"narrow {share} %"], "case": name}
        run.add(name, Image(values, grid, (0, 4), source=f"{name}.nii.gz"), made, **about)
        lines.append(f"{name}.nii.gz,{label}")
    labels.write_text("\n".join(lines))
    reading = Reading(run, tasks=("decide",), design=Design(labels=labels, arms=("none",)))
    with serving(make_reading_app(reading, reader="r", owner="o")) as site, Visit(browser, site) as visit:
        begin(visit)
        visit.until(f"{SEEN}.includes('slice=2')")
        visit.page.keyboard.press("PageUp")
        visit.until(f"{SEEN}.includes('slice=3')")
        assert visit.page.locator("label.slider", has_text="Slice").locator("output").text_content() == "4 of 5"
