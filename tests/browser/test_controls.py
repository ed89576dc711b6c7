"""Every control of every page is moved, at two widths, in a real browser: nothing is wrong, nothing leaves."""

from __future__ import annotations

import asyncio
import io
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the pages need contrafact[view]")
pytest.importorskip("playwright.sync_api", reason="tests in a browser need playwright")

from PIL import Image as Picture
from playwright.sync_api import Error as Trouble

from browsing import (
    HOSTILE,
    Site,
    entered,
    heatmap,
    many,
    planted_attributes,
    planted_run,
    ramp,
    record,
    serving,
    strip,
)
from contrafact.core import Grid, Heatmap, Image
from contrafact.io import Run
from contrafact.report.page import write_report
from contrafact.viewer import make_app
from contrafact.viewer.reader_study.app import Reading, make_reading_app
from visiting import AXE, BLUE, ORANGE, PALE, PROGRESS, UNNAMED, WIDTHS, Visit, open_case

ALL = "button, input, select, summary, a[href], [tabindex='0']"
# The next control that was not moved yet; those that came while others moved go first, before they leave again.
FRESH = f"""() => {{
  const found = [...document.querySelectorAll("{ALL}")].filter(e =>
    !e.dataset.moved && e.checkVisibility() && !e.disabled && !e.classList.contains("skip"));
  const come = document.body.dataset.begun ? found.filter(e => !e.dataset.seen) : [];
  found.forEach(e => e.dataset.seen = "yes");
  document.body.dataset.begun = "yes";
  const next = come[0] ?? found[0] ?? null;
  if (next) next.dataset.moved = "yes";
  return next;
}}"""
KIND = "e => e.localName === 'input' ? e.type : e.localName"


def move(visit: Visit, one: Any, kind: str) -> None:
    """Do with a control what people do; one that moves a value must say another one at its other end."""
    page = visit.page
    said: Callable[[], Any] = lambda: one.evaluate("e => [e.value, e.getAttribute('aria-valuetext')].join()")  # noqa: E731
    if kind == "range":
        one.focus()
        page.keyboard.press("Home")
        low = said()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("End")
        assert said() != low, one.evaluate("e => e.parentElement.textContent")
    elif kind in ("checkbox", "radio"):
        before = one.is_checked()
        one.click()
        assert one.is_checked() != before or (kind == "radio" and before)
    elif kind in ("search", "text"):
        one.fill("zz")
        one.fill("")
    elif kind == "select":
        for value in one.evaluate("e => [...e.options].map(o => o.value)"):
            one.select_option(value)
            page.wait_for_timeout(30)
        one.select_option(index=0)
    elif kind == "a":
        address = one.evaluate("e => e.href")
        if "#" in address:
            one.click()
        else:
            assert address.startswith(visit.site.link + "/"), address
            assert visit.site.ask(address.removeprefix(visit.site.link)).status == 200, address
    elif kind in ("button", "summary"):
        one.click()
        if one.get_attribute("data-key") == "full":
            visit.until("document.fullscreenElement !== null")
            one.click()
            visit.until("document.fullscreenElement === null")
        if one.evaluate("e => e.isConnected") and one.text_content() == "Stop":
            page.wait_for_timeout(120)
            one.click()
    else:  # a picture or a table that takes keys
        one.focus()
        for key in ("h", "h", "m", "ArrowLeft", "ArrowRight"):
            page.keyboard.press(key)
        box = one.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 3, box["y"] + min(box["height"], 300) / 3)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + min(box["height"], 300) / 2, steps=3)
        page.mouse.up()


def move_all(visit: Visit, leave: str = "") -> Counter[str]:
    """Every control that is there or comes while others are moved; how many of each kind."""
    if leave:
        visit.page.evaluate("q => document.querySelectorAll(q).forEach(e => e.dataset.moved = 'no')", leave)
    moved: Counter[str] = Counter()
    for _ in range(300):
        one = visit.page.evaluate_handle(FRESH).as_element()
        if one is None:
            break
        kind = one.evaluate(KIND)
        try:
            move(visit, one, kind)
        except (AssertionError, Trouble):
            if one.evaluate("e => e.isConnected"):
                raise
            kind = "gone"  # a late answer drew the page anew: what came in its place is moved in its turn
        moved[kind] += 1
        assert visit.page.locator("#notice:not([hidden])").count() == 0, visit.page.text_content("#notice")
    else:
        pytest.fail("controls without end")
    assert moved["gone"] <= 5
    return moved


def looks_like_a_page(visit: Visit) -> None:
    """Not blank, as wide as the screen, and no barrier that axe knows."""
    assert visit.fits()
    drawn = np.asarray(Picture.open(io.BytesIO(visit.page.screenshot())).convert("L")).astype(int)
    assert len(np.unique(drawn)) > 20 and (np.abs(np.diff(drawn, axis=1)) > 40).mean() > 0.002
    assert visit.page.evaluate(UNNAMED) == [] and visit.page.evaluate(PALE) == []
    if AXE.exists():
        visit.page.evaluate(AXE.read_text())
        found = visit.page.evaluate("axe.run()")["violations"]
        assert [(f["id"], f["nodes"][0]["html"]) for f in found] == []


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
        # drag, comparison, exaggeration. Outline and Hide. Window presets.
        assert moved["range"] == 8 and moved["radio"] >= 18 and moved["checkbox"] == 2 and moved["select"] == 2
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


class Paper(Visit):
    """A page from a file: it may ask for itself and nothing else."""

    def __init__(self, browser: Any, path: Path, width: int = 1280, scripts: bool = True) -> None:
        super().__init__(browser, SimpleNamespace(link=f"file://{path.parent}"), width)  # type: ignore[arg-type]
        if not scripts:
            self.context.close()
            self.context = browser.new_context(
                viewport={"width": width, "height": 900}, java_script_enabled=False
            )
            self.page = self.context.new_page()
        self.page.goto(f"file://{path}")
        self.path = path

    def __exit__(self, kind: Any, *rest: Any) -> None:
        self.asked = [address for address in self.asked if not address.startswith("data:")]
        super().__exit__(kind, *rest)
        if kind is None:
            assert {address.split("#")[0] for address in self.asked} <= {f"file://{self.path}"}


@pytest.mark.parametrize("width", WIDTHS)
def test_every_control_of_the_report_moves_without_a_server(browser: Any, run: Run, width: int) -> None:
    with Paper(browser, write_report(run), width) as visit:
        for section in range(4):  # cases come alive when one scrolls to them
            visit.page.locator("section.case").nth(section).scroll_into_view_if_needed()
        visit.until("document.querySelectorAll('.alive').length === 4")
        moved = move_all(visit, leave="section.case ~ section.case *")  # they have the first one's controls
        assert moved["range"] == 8 and moved["checkbox"] == 2 and moved["a"] >= 5, moved
        assert not visit.page.locator(".still:visible").count()
        looks_like_a_page(visit)


@pytest.mark.parametrize(("width", "least"), [(1280, 360), (390, 300)])
def test_the_first_screen_needs_no_scripts_and_fits(browser: Any, run: Run, width: int, least: int) -> None:
    with Paper(browser, write_report(run), width, scripts=False) as visit:
        boxes = [one.bounding_box() for one in visit.page.locator("section.first img").all()[:3]]
        assert all(box["width"] >= least for box in boxes)
        assert max(box["x"] + box["width"] for box in boxes) <= width
        tops = {round(box["y"]) for box in boxes}
        assert len(tops) == (1 if width == 1280 else 3)
        assert max(tops) < 900 or width == 390


def test_the_report_draws_what_the_run_holds(browser: Any, run: Run) -> None:
    with Paper(browser, write_report(run)) as visit:
        assert visit.page.locator("section.case h2").first.text_content() == "Case 3"
        visit.until("document.querySelectorAll('section.case .stage canvas').length > 1")
        visit.slide("Opacity", 100)
        drawn = visit.pixels("map")
        size = drawn.shape[0] / 16
        for (row, column), colour in {(6, 6): ORANGE, (11, 11): BLUE}.items():
            share = 1.0 if colour == ORANGE else 0.5
            grey = (10 * (column - 0.5) + 3) / 200 * 255
            at = drawn[round(row * size), round(column * size)]
            np.testing.assert_allclose(at, share * np.array(colour) + (1 - share) * grey, atol=12)
        for k in (0, 2, 4):
            visit.slide("Frame", k)
            assert visit.pixels("changed")[100, 500:524].mean() == pytest.approx(
                (75 + 10 * k) / 200 * 255, abs=4
            ), k
        assert "→ 83 %" in visit.page.text_content(".read >> nth=0")  # a score of +1.60


def test_without_scripting_and_on_paper_there_are_pictures(browser: Any, run: Run) -> None:
    path = write_report(run)
    with Paper(browser, path, scripts=False) as visit:
        assert visit.page.locator(".still").first.is_visible() and not visit.page.locator(".alive").count()
        assert visit.page.locator(".still .film img").count() == 3 * 7 + 1  # frames, drawn, changed; one later
        drawn = np.asarray(
            Picture.open(io.BytesIO(visit.page.locator(".still img").first.screenshot())).convert("L")
        )
        assert drawn[:, -20:].mean() > drawn[:, :20].mean() + 50  # the ramp
    with Paper(browser, path) as visit:
        visit.until("document.querySelectorAll('.alive').length > 0")
        visit.page.emulate_media(media="print")
        assert visit.page.locator(".still").first.is_visible()
        assert not visit.page.locator("button:visible, input:visible, .moving:visible, nav:visible").count()
        paper = visit.page.pdf(prefer_css_page_size=True)
        assert len(re.findall(rb"/Type\s*/Page\b", paper)) >= 5  # each case begins a page


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
            assert moved["button"] == 2 and moved["checkbox"] == 1  # Pause, then Go on; the keys
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


def test_hostile_words_in_the_report_do_nothing(browser: Any, tmp_path: Path) -> None:
    run = Run.create(
        tmp_path / "run", about={"title": HOSTILE, "bundles": [{"name": HOSTILE, "limits": HOSTILE}]}
    )
    about = {"case": HOSTILE, "answers": [HOSTILE], "target_name": HOSTILE, "label": HOSTILE, "words": HOSTILE}
    check = {"name": HOSTILE, "value": 1.0, "threshold": 0.0, "passed": False, "sentence": HOSTILE}
    image = Image(ramp(), source=HOSTILE)
    run.add("a", image, heatmap("h", method=HOSTILE), trust=[check], **about)
    run.add("b", image, strip("h"), trust=[check], followup=[(image, HOSTILE)], **about)
    run.add_failure("x", method=HOSTILE, error=HOSTILE, source=HOSTILE)
    with Paper(browser, write_report(run)) as visit:
        visit.until("document.querySelectorAll('.alive').length === 1")
        visit.page.wait_for_timeout(200)
        assert HOSTILE in visit.page.text_content("h1") and visit.page.locator("img[onerror]").count() == 0
        move_all(visit)


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
