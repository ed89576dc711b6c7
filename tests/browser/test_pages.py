"""Every control of the pages, in a real browser: what is drawn is what the run holds; nothing leaves."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the pages need contrafact[view]")
pytest.importorskip("playwright.sync_api", reason="tests in a browser need playwright")


from browsing import HOSTILE, Site, entered, heatmap, many, planted_run, ramp, record, serving, strip
from contrafact.core import Grid, Heatmap, Image
from contrafact.io import Run
from contrafact.viewer import make_app
from contrafact.viewer.reader_study.app import Reading, make_reading_app
from visiting import (
    AXE,
    BLUE,
    ORANGE,
    PALE,
    PROGRESS,
    UNNAMED,
    WEB,
    WIDTHS,
    Visit,
    looks_like_a_page,
    near,
    open_case,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return planted_run(tmp_path_factory.mktemp("pages") / "run")


@pytest.fixture(scope="module")
def site(run: Run) -> Iterator[Site]:
    with serving(entered(make_app(run))) as site:
        yield site


@pytest.mark.parametrize("width", WIDTHS)
def test_the_table_can_be_filtered_sorted_and_entered_by_keyboard(browser: Any, site: Site, width: int) -> None:
    with Visit(browser, site, width) as visit:
        visit.go("/", "#lines tr")
        first = "#lines tr:first-child th a"
        assert visit.page.text_content(first) == "Case 3" and visit.fits()
        visit.page.select_option("#sort", "name")
        visit.until(f"document.querySelector('{first}').textContent === 'Case 1'")
        visit.page.select_option("#show", "failures")
        visit.until("document.querySelectorAll('#lines tr').length === 1")
        assert "show=failures" in visit.page.url and "sort=name" in visit.page.url
        visit.page.select_option("#show", "all")
        visit.page.evaluate("document.activeElement.blur()")
        visit.page.keyboard.press("/")
        visit.page.keyboard.type("knee2")
        visit.until(f"document.querySelector('{first}').textContent === 'Case 2'")
        assert "1 of 3 cases" in visit.page.text_content("#status")
        for _ in range(3):
            visit.page.keyboard.press("Tab")
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_selector(".film")
        assert visit.page.text_content("h1") == "Case 2" and visit.fits()
        assert "Noise moves it." in visit.page.text_content(".viewing.one .trust")
        visit.page.click("#back")
        visit.until(f"document.querySelector('{first}')?.textContent === 'Case 2'")
        visit.page.wait_for_load_state("networkidle")


def test_maps_lie_where_they_point(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        open_case(visit, "Case 3")
        visit.slide("Opacity", 100)
        visit.slide("Contour", 100)
        drawn = visit.pixels("map")
        size = drawn.shape[0] / 16
        for (row, column), colour in {(6, 6): ORANGE, (11, 11): BLUE}.items():
            at = drawn[round(row * size), round(column * size)]
            share = 1.0 if colour == ORANGE else 0.5  # half as strong on the run's scale
            grey = (10 * (column - 0.5) + 3) / 200 * 255
            np.testing.assert_allclose(at, share * np.array(colour) + (1 - share) * grey, atol=12)
        assert near(drawn[100:160], drawn[100:160].mean(axis=-1, keepdims=True), 1).all()  # no colour elsewhere
        visit.page.focus(".viewing.one")
        visit.page.keyboard.press("h")
        hidden = visit.pixels("map")
        assert near(hidden, hidden.mean(axis=-1, keepdims=True), 1).all()
        visit.page.keyboard.press("h")
        visit.slide("Opacity", 0)
        visit.slide("Contour", 7)
        lined = visit.pixels("map")
        white = near(lined, (255, 255, 255), 2)
        rows, columns = np.nonzero(white)
        assert white.sum() > 100  # around the planted block, nowhere else
        assert rows.min() / size > 3 and rows.max() / size < 12.5 and columns.min() / size > 3
        visit.slide("Contour", 100)
        visit.slide("Opacity", 100)
        before = visit.pixels("map")
        visit.choose("per image")
        visit.until("document.querySelector('.one .legend').textContent.includes('not comparable')")
        assert before.shape == visit.pixels("map").shape


def test_scale_is_the_runs_so_weak_maps_look_weak(browser: Any, site: Site) -> None:
    strengths = {}
    with Visit(browser, site) as visit:
        for name in ("Case 1", "Case 3"):
            open_case(visit, name)
            visit.slide("Opacity", 100)
            drawn = visit.pixels("map")
            at = drawn[round(6 * drawn.shape[0] / 16), round(6 * drawn.shape[1] / 16)]
            strengths[name] = at[0] - at[2]
    assert strengths["Case 1"] == pytest.approx(strengths["Case 3"] / 3, abs=12)


def test_window_and_level_move_the_greys(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        open_case(visit, "Case 1")
        visit.page.get_by_label("Hide the map").check()
        column = slice(500, 524)  # between the 8th and 9th of 16: 75 grey levels and 1
        assert visit.pixels("map")[100, column].mean() == pytest.approx(76 / 200 * 255, abs=4)
        visit.slide("Level", 76)
        assert visit.pixels("map")[100, column].mean() == pytest.approx(127, abs=4)
        visit.slide("Window", 10)
        sharp = visit.pixels("map")[100, :, 0]
        assert sharp[:400].max() == 0 and sharp[660:].min() == 255
        visit.page.get_by_role("button", name="Reset window").first.click()
        assert visit.pixels("map")[100, column].mean() == pytest.approx(76 / 200 * 255, abs=4)
        visit.page.locator(".viewing.one .stage").scroll_into_view_if_needed()
        box = visit.page.locator(".viewing.one .stage").bounding_box()
        visit.page.mouse.move(box["x"] + 100, box["y"] + 100)
        visit.page.mouse.down()
        visit.page.mouse.move(box["x"] + 100, box["y"] + 250, steps=4)
        visit.page.mouse.up()
        assert visit.pixels("map")[100, column].mean() < 60  # a higher level is darker
        visit.until("document.querySelector('.under').textContent.includes('image')")


def test_the_slider_morphs_wipes_and_subtracts(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        open_case(visit, "Case 1")
        lead = visit.page.text_content("p.lead").replace("\u00a0", " ")
        assert lead.startswith(
            "Prediction narrow: 12 % → 83 %, not checked by a second model. Half of the change"
        )
        assert visit.page.text_content(".beside p.verdict").startswith(
            "Not checked by a second model. The goal"
        )
        level = {k: (75 + 10 * k) / 200 * 255 for k in (0, 1, 2.5, 4)}
        shares = [100 / (1 + math.exp(2 - 0.9 * n)) for n in range(5)]
        for k, grey in level.items():
            visit.slide("Frame", k)
            assert visit.pixels("changed")[100, 500:524].mean() == pytest.approx(grey, abs=4), k
            assert visit.pixels("original")[100, 500:524].mean() == pytest.approx(level[0], abs=4), k
            share = shares[k] if k != 2.5 else (shares[2] + shares[3]) / 2
            assert f"12 % → {'≈ ' if k == 2.5 else ''}{share:.0f} %" in visit.page.text_content(".read")
            tag = visit.page.locator(".panel .tag").nth(1).text_content()
            assert tag == ("original" if k == 0 else "synthetic, not for diagnosis")
        assert visit.page.locator(".point").last.is_visible()
        labels = visit.page.locator(".chart text").all_text_contents()
        assert {"0 %", "50 %", "100 %", "the prediction flips", "probability of narrow"} <= set(labels)
        assert visit.page.get_attribute(".now", "cx") == visit.page.locator(".point").last.get_attribute("cx")
        visit.page.locator("details.details summary").click()
        assert "achieved" in visit.page.text_content("details.details")
        visit.page.focus(".frames input")
        visit.page.keyboard.press("ArrowLeft")
        assert visit.pixels("changed")[100, 500:524].mean() == pytest.approx(105 / 200 * 255, abs=4)
        visit.slide("Frame", 4)
        visit.choose("wipe")
        visit.slide("Wipe", 50)
        wiped = visit.pixels("changed")[400]
        assert wiped[200].mean() == pytest.approx((10 * (200 / 64 - 0.5)) / 200 * 255, abs=5)
        assert wiped[800].mean() == pytest.approx((40 + 10 * (800 / 64 - 0.5)) / 200 * 255, abs=5)
        for name in ("side by side", "wipe"):
            visit.page.keyboard.press("m")
            assert visit.page.get_by_role("radio", name=name).first.is_checked()
        changed = visit.pixels("difference")
        assert (changed[..., 0] > changed[..., 2]).all()  # brighter everywhere: orange
        legend = visit.page.text_content(".legend >> nth=0").replace("\xa0", " ")
        assert "brighter by 50" in legend and "±50, 25 % of the display window" in legend  # of 0 to 200
        assert "Largest change: 40." in legend
        visit.slide("Frame", 0)
        changed = visit.pixels("difference")
        assert near(changed, changed.mean(axis=-1, keepdims=True), 1).all()  # no change
        visit.page.locator(".film button").nth(2).click()
        said = visit.page.get_attribute(".frames input", "aria-valuetext")
        assert said == "45 %, frame 2 of 4: synthetic"
        visit.page.get_by_role("button", name="Play").click()
        visit.until(f"document.querySelector('.frames input').getAttribute('aria-valuetext') !== '{said}'")
        visit.page.get_by_role("button", name="Stop").click()


def test_failures_and_later_images_are_on_the_page(browser: Any, site: Site) -> None:
    with Visit(browser, site, 390) as visit:
        open_case(visit, "Case 3")
        text = visit.page.text_content("main")
        assert "The same patient later" in text and "narrow 80 %" in text
        assert "What failed: 1 result" in text and "memory was short" in text
        assert visit.fits()


def test_slices_of_a_volume_stand_upright_in_true_proportions(browser: Any, tmp_path: Path) -> None:
    """A bright front of the patient, in slice 3 of 6 only, is drawn at the top, in that slice alone."""
    affine = np.array([[0, 0, -1.0, 0], [0, 2.0, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]])
    grid = Grid((6, 10, 10), affine=affine)  # rows run towards the front, two millimetres each
    values = np.zeros(grid.shape, dtype=np.float32)
    values[2, 8:] = 1
    run = Run.create(tmp_path / "run", about={})
    image = Image(200 * values[None], grid=grid, window=(0.0, 200.0))
    run.add("v", image, Heatmap(values=values, grid=grid, record=record("gradcam", "v")), case="Volume")
    with serving(entered(make_app(run))) as site, Visit(browser, site) as visit:
        visit.go("/", "#lines tr a")
        visit.page.click("#lines tr a")
        visit.page.wait_for_selector("#where")
        drawn = visit.pixels("map")
        assert drawn.shape[0] == 2 * drawn.shape[1]
        assert drawn[:300].mean() > 100 > 1 > drawn[800:].mean()
        visit.slide("Slice", 4)
        for _ in range(60):  # both arrays of the slice have to arrive
            if visit.pixels("map").mean() < 1:
                break
        assert visit.pixels("map").mean() < 1  # letters and ruler alone


def test_the_built_file_is_that_of_the_source(tmp_path: Path) -> None:
    build = WEB / "node_modules/.bin/esbuild"
    if not build.exists():
        pytest.skip("esbuild comes with `npm ci` in render/web")
    about = json.loads((WEB / "package.json").read_text())["scripts"]["build"]
    words = about.split("&&")[1].replace("--outdir=dist", f"--outdir={tmp_path}").split()
    subprocess.run([str(build), *words[1:]], cwd=WEB, check=True, capture_output=True)
    for name in ("pages.js", "report.js", "pages.css"):
        assert (tmp_path / name).read_bytes() == (WEB / "dist" / name).read_bytes()


def test_words_of_a_hostile_run_do_nothing(browser: Any, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={"title": HOSTILE})
    about = {"case": HOSTILE, "answers": [HOSTILE], "target_name": HOSTILE, "label": HOSTILE}
    run.add(HOSTILE, Image(ramp(), source=HOSTILE), heatmap("h"), **about)
    run.add_failure("x", method=HOSTILE, error=HOSTILE, source=HOSTILE)
    with serving(entered(make_app(run))) as site, Visit(browser, site) as visit:
        visit.go("/", "#lines tr a")
        visit.page.click("#lines tr a")
        visit.page.wait_for_selector("#where")
        visit.painted()
        assert HOSTILE in visit.page.text_content("h1")
        assert visit.page.locator("main img").count() == 0


def test_two_thousand_cases_load_as_one_scrolls(browser: Any, tmp_path: Path) -> None:
    run = many(planted_run(tmp_path / "run"), 2000)
    with serving(entered(make_app(run))) as site, Visit(browser, site) as visit:
        visit.go("/", "#lines tr")
        visit.page.wait_for_load_state("networkidle")
        lines = visit.page.locator("#lines tr")
        assert lines.count() <= 100
        before = lines.count()
        visit.page.evaluate("scrollTo(0, document.body.scrollHeight)")
        visit.until(f"document.querySelectorAll('#lines tr').length > {before}")
        assert lines.count() < 300
        thumbnails = [url for url in visit.asked if "thumbnail" in url]
        assert len(thumbnails) < 300


@pytest.mark.parametrize("width", WIDTHS)
def test_every_control_has_a_name_and_words_have_contrast(browser: Any, site: Site, width: int) -> None:
    with Visit(browser, site, width) as visit:
        open_case(visit, "Case 3")
        assert visit.page.evaluate(UNNAMED) == []
        assert visit.page.evaluate(PALE) == []
        visit.go("/", "#lines tr")
        assert visit.page.evaluate(UNNAMED) == []
        assert visit.page.evaluate(PALE) == []


def test_pictures_have_names_before_their_pixels_come(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        held: list[Any] = []
        visit.page.route("**/array/**", lambda route: held.append(route))
        visit.go("/?q=Case+3", "#lines tr")
        visit.page.click("#lines tr a")
        visit.page.wait_for_selector(".film")
        visit.until("document.documentElement.hasAttribute('data-painting')")
        assert visit.page.evaluate(UNNAMED) == []
        for route in held:
            route.continue_()
        visit.page.unroute("**/array/**")
        visit.painted()
        assert visit.page.get_attribute("[data-panel=map]", "aria-label").startswith("the image with the map")


@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_no_barrier(browser: Any, site: Site, width: int) -> None:
    if not AXE.exists():
        pytest.skip("axe-core comes with `npm ci` in render/web; it does not ship")
    with Visit(browser, site, width) as visit:
        for enter in (lambda: open_case(visit, "Case 3"), lambda: visit.go("/", "#lines tr")):
            enter()
            visit.page.evaluate(AXE.read_text())
            found = visit.page.evaluate("axe.run()")["violations"]
            assert [(f["id"], f["nodes"][0]["html"]) for f in found] == []


def test_a_reader_judges_by_keyboard_pauses_and_comes_back(browser: Any, tmp_path: Path) -> None:
    reading = Reading(planted_run(tmp_path / "run"))
    with serving(make_reading_app(reading, reader="r", owner="o")) as site:
        with Visit(browser, site, 390) as visit:
            visit.go("/?token=r", "#name")
            assert "token" not in visit.page.url
            visit.page.fill("#name", "Ada")
            visit.page.keyboard.press("Enter")
            visit.page.wait_for_selector("#pictures img")
            for done in range(1, 4):
                visit.page.keyboard.press("2")
                visit.until(f"{PROGRESS}.startsWith('{done} ')")
            visit.page.click("#pause")
            visit.page.keyboard.press("1")  # nothing to answer now
            visit.page.click("#resume")
            assert visit.page.text_content("#progress").startswith("3 of 6")
            assert visit.page.evaluate(UNNAMED) == [] and visit.page.evaluate(PALE) == []
            assert visit.fits()
        with Visit(browser, site) as visit:
            visit.go("/?token=r", "#name")
            visit.page.fill("#name", "Ada")
            visit.page.click("#name-form button")
            for done in range(4, 7):
                visit.until(f"{PROGRESS}.startsWith('{done - 1} ')")
                visit.page.click("#choices button >> nth=0")
            visit.page.wait_for_selector("#finished:not([hidden])")
        with Visit(browser, site) as visit:
            visit.go("/results?token=o", "table")
            assert re.search(r"real\s+Ada\s+3 of 3", visit.page.inner_text("table"))
            assert visit.page.evaluate(PALE) == []


def test_colours_follow_the_finding_and_a_faint_map_its_own_scale(browser: Any, tmp_path: Path) -> None:
    """Orange is for narrow, whichever class was explained; a map 48 times weaker shows, and says so."""
    run = Run.create(tmp_path / "run", about={"title": "Knees"})
    facts = {"exclusive_classes": ["wide", "narrow"]}
    cases = (("Strong", 48.0, "class:1"), ("Faint", 1.0, "class:1"), ("Other", 48.0, "class:0"))
    for name, strength, target in cases:
        made = heatmap(name, strength)
        made = dataclasses.replace(made, record=dataclasses.replace(made.record, target=target))
        image = Image(ramp(), window=(0.0, 200.0), source=f"{name}.png")
        run.add(name, image, made, case=name, target_name=target, **facts)
    spots = {}
    with serving(entered(make_app(run))) as site, Visit(browser, site) as visit:
        for name in ("Strong", "Faint", "Other"):
            visit.go(f"/?q={name}", "#lines tr")
            visit.page.click("#lines tr a")
            visit.page.wait_for_selector(".legend .ends")
            visit.slide("Opacity", 100)
            drawn = visit.pixels("map")
            spots[name] = drawn[round(6 * drawn.shape[0] / 16), round(6 * drawn.shape[1] / 16)]
            legend = visit.page.text_content(".legend")
            assert "Orange: evidence for narrow; blue: for wide." in legend
            assert ("×48" in legend) == (name == "Faint")
            assert visit.page.locator("input[value=own]").is_checked() == (name == "Faint")
            box = visit.page.locator("[data-panel=map]").bounding_box()
            visit.page.mouse.move(box["x"] + box["width"] * 6 / 16, box["y"] + box["height"] * 6 / 16)
            size = 1 if name == "Faint" else 48
            said = f"map {size} for {'wide' if name == 'Other' else 'narrow'}"
            visit.until(f"document.querySelector('.under').textContent.endsWith('{said}')")
    np.testing.assert_allclose(spots["Strong"], ORANGE, atol=12)
    np.testing.assert_allclose(spots["Faint"], ORANGE, atol=12)
    np.testing.assert_allclose(spots["Other"], BLUE, atol=12)


def test_the_keyboard_reaches_later_images_beyond_the_edge(browser: Any, tmp_path: Path) -> None:
    run, image = Run.create(tmp_path / "run", about={}), Image(ramp(), window=(0.0, 200.0), source="a.png")
    later = [(Image(ramp(level=10.0 * n), source=f"later {n}.png"), "narrow 80 %") for n in range(6)]
    run.add("a", image, strip("a"), followup=later, case="Case 1", target_name="narrow")
    with serving(entered(make_app(run))) as site, Visit(browser, site, 390) as visit:
        visit.go("/", "#lines tr a")
        visit.page.click("#lines tr a")
        visit.page.wait_for_selector(".frame.later")
        row = "document.querySelector('.film:has(.later)')"
        visit.page.focus(".film:has(.later)")
        visit.page.keyboard.press("ArrowRight")
        visit.until(f"{row}.scrollLeft > 0")
        visit.page.wait_for_load_state("networkidle")
        looks_like_a_page(visit)
