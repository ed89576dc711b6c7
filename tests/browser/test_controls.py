"""Every control of every page is moved, at two widths, in a real browser: nothing is wrong, nothing leaves."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the pages need contrafact[view]")
pytest.importorskip("playwright.sync_api", reason="tests in a browser need playwright")


from browsing import (
    Site,
    entered,
    many,
    planted_attributes,
    planted_run,
    record,
    serving,
)
from contrafact.core import Grid, Heatmap, Image
from contrafact.io import Run
from contrafact.viewer import make_app
from contrafact.viewer.reader_study.app import Reading, make_reading_app
from visiting import PROGRESS, WIDTHS, Visit, looks_like_a_page, move_all, open_case


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three planted cases and a volume."""
    run = planted_run(tmp_path_factory.mktemp("controls") / "run")
    affine = np.array([[0, 0, -1.0, 0], [0, 2.0, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]])
    grid = Grid((6, 10, 10), affine=affine)
    values = np.zeros(grid.shape, dtype=np.float32)
    values[2, 8:] = 1
    image = Image(200 * values[None], grid=grid, window=(0.0, 200.0), source="volume.nii.gz")
    run.add("v", image, Heatmap(values=values, grid=grid, record=record("gradcam", "v")), case="Volume")
    return run


@pytest.fixture(scope="module")
def site(run: Run) -> Iterator[Site]:
    with serving(entered(make_app(run))) as site:
        yield site


@pytest.mark.parametrize("width", WIDTHS)
def test_every_control_of_the_viewer_moves(browser: Any, site: Site, width: int) -> None:
    with Visit(browser, site, width) as visit:
        visit.go("/", "#lines tr")
        moved = move_all(visit)
        assert moved["search"] == 1 and moved["select"] == 2 and moved["a"] >= 4
        looks_like_a_page(visit)
        open_case(visit, "Case 3")
        moved = move_all(visit)
        # Frame and, once asked for, Wipe; Opacity, Contour; Level and Window of both. Scale, lens, pixels,
        # drag, comparison, exaggeration. Outline and Hide. Window presets, and the result that is judged.
        assert moved["range"] == 8 and moved["radio"] >= 18 and moved["checkbox"] == 2 and moved["select"] == 3
        assert moved["div"] >= 2 and moved["button"] >= 15 and moved["summary"] >= 2
        looks_like_a_page(visit)
        visit.go("/?q=volume", "#lines tr a")
        visit.page.click("#lines tr a")
        visit.page.wait_for_selector("#where")
        assert move_all(visit)["range"] >= 5  # with Slice, without Frame and Wipe; and the planes' own
        visit.page.wait_for_load_state("networkidle")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_reader_names_an_attribute_on_its_page_and_the_name_is_there_after_a_reload(
    browser: Any, tmp_path: Path, width: int
) -> None:
    run = planted_run(tmp_path / "run")
    planted_attributes(run)
    with serving(entered(make_app(run))) as site, Visit(browser, site, width) as visit:
        visit.go("/", "#lines tr")
        visit.page.click("text=Attributes of the generator")
        visit.page.wait_for_selector(".attributes img")
        assert "The second model does not follow." in visit.page.text_content(".attributes li:nth-child(2)")
        visit.page.fill("li:nth-child(1) input", "  joint   <b>space</b> ")
        visit.page.click("li:nth-child(1) button")
        visit.until("document.querySelector('li:nth-child(1) [role=status]').textContent === 'kept'")
        assert visit.page.text_content("li:nth-child(1) figcaption b") == "joint <b>space</b>"
        visit.go("/attributes", ".attributes img")
        assert visit.page.input_value("li:nth-child(1) input") == "joint <b>space</b>"
        assert visit.page.text_content("li:nth-child(2) figcaption b") == "not named yet"
        looks_like_a_page(visit)
        moved = move_all(visit)
        assert moved["text"] == 2 and moved["button"] == 2


def late(app: Any, seconds: float) -> Any:
    """The same application on a slow machine: what is asked for comes so much later."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if re.match("/api/|/volume/|/array/", scope.get("path", "")):
            await asyncio.sleep(seconds)
        await app(scope, receive, send)

    return answer


def test_controls_move_while_their_answers_are_on_the_way(browser: Any, run: Run) -> None:
    with serving(late(entered(make_app(run)), 0.4)) as site, Visit(browser, site) as visit:
        visit.go("/", "#lines tr")
        moved = move_all(visit)
        assert moved["search"] == 1 and moved["select"] == 2 and moved["a"] >= 4
        visit.go("/?q=volume", "#lines tr a")
        visit.page.click("#lines tr a")
        visit.page.wait_for_selector("#where")
        assert move_all(visit)["range"] >= 5
        visit.until("!!document.querySelector('.solid[data-ready]')")
        visit.page.wait_for_load_state("networkidle")


@pytest.mark.parametrize("width", WIDTHS)
def test_every_control_of_the_reader_study_moves(browser: Any, tmp_path: Path, width: int) -> None:
    reading = Reading(planted_run(tmp_path / "run"))
    with serving(make_reading_app(reading, reader="r", owner="o")) as site:
        with Visit(browser, site, width) as visit:
            visit.go("/?token=r", "#name")
            looks_like_a_page(visit)
            visit.page.fill("#name", "Ada")
            visit.page.click("#name-form button")
            visit.page.wait_for_selector("#pictures img")
            looks_like_a_page(visit)
            moved = move_all(visit, leave="#choices button")
            # Enlarge, make smaller, reset; Pause, then Go on. Window and brightness; the keys.
            assert moved["button"] == 5 and moved["range"] == 2 and moved["checkbox"] == 1
            for done in range(1, 7):
                visit.page.click("#choices button >> nth=1")
                over = "!document.getElementById('finished').hidden"
                visit.until(f"{PROGRESS}.startsWith('{done} ') || {over}")
            visit.page.wait_for_selector("#finished:not([hidden])")
            looks_like_a_page(visit)
        with Visit(browser, site, width) as visit:
            visit.go("/results?token=o", "table")
            link = visit.page.get_attribute("a[download]", "href")
            assert visit.context.request.get(site.link + link).status == 200
            looks_like_a_page(visit)


def test_two_readers_in_two_browsers_do_not_meet(browser: Any, tmp_path: Path) -> None:
    reading = Reading(planted_run(tmp_path / "run"))
    app = make_reading_app(reading, reader="r", owner="o")
    with serving(app) as site, Visit(browser, site) as ada, Visit(browser, site, 390) as bela:
        for visit, name in ((ada, "Ada"), (bela, "Béla")):
            visit.go("/?token=r", "#name")
            visit.page.fill("#name", name)
            visit.page.click("#name-form button")
            visit.page.wait_for_selector("#pictures img")
        for done in range(1, 4):
            for visit in (ada, bela) if done < 3 else (bela,):
                visit.page.click("#choices button >> nth=0")
                visit.until(f"document.getElementById('progress').textContent.startsWith('{done} ')")
        assert ada.page.text_content("#progress").startswith("2 of 6")
        assert bela.page.text_content("#progress").startswith("3 of 6")


@pytest.mark.parametrize("cases", [1, 2000])
def test_light_and_heavy_runs_paint_at_once(
    browser: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    cases: int,
) -> None:
    run = planted_run(tmp_path / "run", min(cases, 3))
    with serving(entered(make_app(many(run, cases)))) as site, Visit(browser, site) as visit:
        began = time.perf_counter()
        visit.go("/", "#lines tr")
        seconds = time.perf_counter() - began
        visit.page.wait_for_load_state("networkidle")
        asked = Counter(re.sub(r"\d+", "N", a.split("?")[0].removeprefix(site.link)) for a in visit.asked)
        with capsys.disabled():
            sys.stdout.write(f"\n{cases} cases: first paint after {seconds:.2f} s, {dict(asked)}\n")
        assert asked["/api/cases"] <= 2 and asked["/thumbnail/N.png"] <= min(cases, 100)
        assert asked["/array/N/image"] == 0  # no case is opened before one asks for it
        assert visit.page.locator("#lines tr").count() <= 100
        visit.page.click("#lines tr a")
        visit.page.wait_for_selector(".film")
        assert visit.page.text_content("#place") == f"1 of {cases}"
        visit.page.wait_for_load_state("networkidle")
