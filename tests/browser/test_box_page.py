"""A box on the image, by mouse, keyboard and finger, and the counterfactual that is asked for within it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the pages need contrafact[view]")
pytest.importorskip("playwright.sync_api", reason="tests in a browser need playwright")

from browsing import Site, entered, planted_run, record, serving
from contrafact.core import Grid, Heatmap, Image
from contrafact.io import Run
from contrafact.viewer import make_app
from visiting import WIDTHS, Visit, live_site, looks_like_a_page, move_all, near, open_case

YELLOW, CYAN = (255, 207, 92), (127, 224, 255)  # the reader's box, and that of an answer
STATUS = "document.getElementById('live-status')?.textContent"
HANDLE = "document.querySelector('.how .handle').textContent"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = planted_run(tmp_path / "run")
    affine = np.array([[0, 0, -1.0, 0], [0, 2.0, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]])
    grid = Grid((8, 10, 12), affine=affine)
    values = np.zeros(grid.shape, dtype=np.float32)
    values[4, 8:] = 1
    image = Image(200 * values[None], grid=grid, window=(0.0, 200.0), source="volume.nii.gz")
    run.add("v", image, Heatmap(values=values, grid=grid, record=record("gradcam", "v")), case="Volume")
    return run


@pytest.fixture
def site(run: Run) -> Iterator[Site]:
    with live_site(run) as site:
        yield site


def drag(
    visit: Visit, panel: str, first: tuple[float, float], last: tuple[float, float], *, shift: bool
) -> None:
    """Drag on a panel, from and to shares of it."""
    canvas = visit.page.locator(f"[data-panel={panel}]").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (first, last)]
    if shift:
        visit.page.keyboard.down("Shift")
    visit.page.mouse.move(*places[0])
    visit.page.mouse.down()
    visit.page.mouse.move(*places[1], steps=4)
    visit.page.mouse.up()
    if shift:
        visit.page.keyboard.up("Shift")


def press(visit: Visit, name: str) -> None:
    visit.page.locator(".how").first.get_by_role("button", name=name, exact=True).first.click()


def drawn(visit: Visit, panel: str, colour: Any = YELLOW) -> tuple[float, float, float, float]:
    """The left, top, right and bottom end of what is drawn in a colour, as shares of the panel."""
    pixels = visit.pixels(panel)
    rows, columns = np.nonzero(near(pixels, colour, 12))
    high, wide = pixels.shape[:2]
    return columns.min() / wide, rows.min() / high, columns.max() / wide, rows.max() / high


@pytest.mark.parametrize("width", WIDTHS)
def test_a_box_is_drawn_on_every_panel_and_asked_about(browser: Any, site: Site, run: Run, width: int) -> None:
    rows = len(run.rows())
    with Visit(browser, site, width) as visit:
        open_case(visit, "Case 1")
        visit.until(f"{STATUS} === 'Ready.'", 120)
        before = visit.page.locator("label.slider", has_text="Level").first.inner_text()
        drag(visit, "changed", (0.26, 0.26), (0.74, 0.49), shift=True)
        assert visit.page.evaluate(HANDLE) == "Box: columns 4 to 11 of 16, rows 4 to 7 of 16"
        assert visit.page.locator("label.slider", has_text="Level").first.inner_text() == before
        for panel in ("original", "changed", "difference", "map"):
            assert drawn(visit, panel) == pytest.approx((0.25, 0.25, 0.75, 0.5), abs=0.01), panel
        looks_like_a_page(visit)
        press(visit, "Change only here")
        visit.until(f"{STATUS}.includes('The goal was reached')")
        answer = visit.page.locator(".live .how")
        assert "Change only here: columns 4 to 11, rows 4 to 7." in answer.text_content()
        assert "exactly that of the original" in answer.text_content()
        assert visit.page.locator(".live").get_by_label("only in the box").is_checked()
        looks_like_a_page(visit)
        press(visit, "Leave unchanged")
        visit.until(
            "document.querySelector('.live .how').textContent.includes('Leave unchanged: columns 4 to 11')"
        )
        assert len(run.rows()) == rows
        visit.page.get_by_role("button", name="Keep in the run").click()
        visit.until("document.querySelector('.live').textContent.includes('Stored in the run')")
        kept = run.rows()[-1]
        assert kept["box"] == {
            "mode": "keep",
            "columns": [4, 11],
            "rows": [4, 7],
            "slices": None,
            "exact": True,
        }
        press(visit, "Remove the box")
        assert not visit.page.locator(".boxing").first.is_visible()
        assert visit.page.locator(".live fieldset", has_text="Region").count() == 0
        assert not near(visit.pixels("original"), YELLOW, 12).any()
        cases = [case["id"] for case in site.ask("/api/cases").json()["cases"] if case["name"] == "Case 1"]
        [stored] = [
            case for case in cases if f"/case/{case}" not in visit.page.url
        ]  # of this worker's own digest
        visit.go(f"/case/{stored}", ".how")
        assert "Leave unchanged: columns 4 to 11, rows 4 to 7." in visit.page.text_content(".how")
        visit.painted()
        for panel in ("original", "changed", "difference"):  # the box within which it was asked for
            assert drawn(visit, panel, CYAN) == pytest.approx((0.25, 0.25, 0.75, 0.5), abs=0.01), panel
        visit.page.wait_for_load_state("networkidle")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_box_is_made_moved_sized_and_removed_by_keys_and_by_numbers(
    browser: Any, site: Site, width: int
) -> None:
    with Visit(browser, site, width) as visit:
        open_case(visit, "Case 1")
        visit.until(f"{STATUS} === 'Ready.'", 120)
        visit.page.locator(".how").get_by_role("button", name="Box", exact=True).press("Enter")
        assert visit.page.evaluate(HANDLE) == "Box: columns 4 to 11 of 16, rows 4 to 11 of 16"
        at = visit.page.locator("label.slider", has_text="Probability of").inner_text()
        for key in ("ArrowRight", "ArrowUp", "ArrowUp", "Shift+ArrowLeft", "Shift+ArrowDown"):
            visit.page.keyboard.press(key)
        assert visit.page.evaluate(HANDLE) == "Box: columns 5 to 11 of 16, rows 2 to 10 of 16"
        for _ in range(30):
            visit.page.keyboard.press("ArrowLeft")  # it stays inside, and keeps its size
        assert visit.page.evaluate(HANDLE) == "Box: columns 0 to 6 of 16, rows 2 to 10 of 16"
        field = visit.page.locator(".how").get_by_label("last column of the box")
        field.fill("10")  # a zero is no key of the panels here
        field.press("Enter")
        assert visit.page.evaluate(HANDLE) == "Box: columns 0 to 10 of 16, rows 2 to 10 of 16"
        field.fill("99")
        field.press("Tab")
        assert visit.page.evaluate(HANDLE).startswith("Box: columns 0 to 15 of 16")
        assert visit.page.locator("label.slider", has_text="Probability of").inner_text() == at
        visit.page.locator(".how .handle").press("Delete")
        assert visit.page.evaluate("document.activeElement.textContent") == "Box"
        assert not visit.page.locator(".boxing").first.is_visible()
        visit.page.wait_for_load_state("networkidle")


def test_a_finger_draws_and_moves_the_box(browser: Any, site: Site) -> None:
    with Visit(browser, site, 390) as visit:
        open_case(visit, "Case 1")
        press(visit, "Box")
        assert (
            visit.page.evaluate("getComputedStyle(document.querySelector('.how .stage')).touchAction") == "none"
        )  # a finger draws, and does not scroll
        touch = """([x0, y0, x1, y1]) => {
          const canvas = document.querySelector('[data-panel=original]'), box = canvas.getBoundingClientRect();
          const send = (name, x, y) => canvas.dispatchEvent(new PointerEvent(name, {
            bubbles: true, pointerId: 7, pointerType: 'touch', button: 0,
            clientX: box.left + x * box.width, clientY: box.top + y * box.height }));
          canvas.parentElement.setPointerCapture = () => {};
          send('pointerdown', x0, y0); send('pointermove', x1, y1); send('pointerup', x1, y1);
        }"""
        visit.page.evaluate(touch, [0.02, 0.02, 0.2, 0.3])  # outside the box: another one
        assert visit.page.evaluate(HANDLE) == "Box: columns 0 to 3 of 16, rows 0 to 4 of 16"
        visit.page.evaluate(touch, [0.1, 0.1, 0.6, 0.35])  # inside: the same one, elsewhere
        assert visit.page.evaluate(HANDLE) == "Box: columns 8 to 11 of 16, rows 4 to 8 of 16"
        visit.page.wait_for_load_state("networkidle")


def test_what_is_not_possible_in_the_box_is_told(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        open_case(visit, "Case 1")
        visit.until(f"{STATUS} === 'Ready.'", 120)
        drag(visit, "original", (0.26, 0.26), (0.28, 0.49), shift=True)
        assert visit.page.evaluate(HANDLE) == "Box: columns 4 to 4 of 16, rows 4 to 7 of 16"
        press(visit, "Change only here")
        visit.until(f"{STATUS}.includes('Not possible in this region: the prediction does not respond')")
        assert "within 2 % of the image" in visit.page.text_content(".live .how")
        for field in ("columns", "rows"):
            for end, value in (("first", "0"), ("last", "15")):
                one = visit.page.locator(".how").first.get_by_label(f"{end} {field[:-1]} of the box")
                one.fill(value)
                one.press("Enter")
        press(visit, "Leave unchanged")
        visit.until(f"{STATUS}.endsWith('got the whole image')")
        visit.wrong.clear()  # the console names the refused question
        visit.page.wait_for_load_state("networkidle")


def test_of_a_volume_the_box_has_slices(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        visit.go("/?q=volume", "#lines tr a")
        visit.page.click("#lines tr a")
        visit.page.wait_for_selector("#where")
        visit.until(f"{STATUS} === 'Ready.'", 120)
        box = visit.page.locator(".one")
        box.get_by_role("button", name="Box", exact=True).click()
        handle = visit.page.locator(".one .handle")
        size = visit.page.evaluate(
            "fetch('/api/case/' + document.body.dataset.id).then(r => r.json()).then(c => c.image.plane)"
        )
        assert handle.text_content().endswith("slices 4 to 6 of 8")  # around the fifth, which is shown
        assert f" of {size[1]}, rows" in handle.text_content()
        assert near(visit.pixels("map"), YELLOW, 12).any()
        box.get_by_label("first slice of the box").fill("6")
        box.get_by_label("first slice of the box").press("Enter")
        assert not near(visit.pixels("map"), YELLOW, 12).any()  # the slice that is shown lies outside
        with visit.page.expect_request("**/live/ask") as asked:
            box.get_by_role("button", name="Change only here").click()
        assert asked.value.post_data_json["box"]["slices"] == [5, 5]
        visit.until(f"{STATUS}.startsWith('Computed in')")
        visit.page.wait_for_load_state("networkidle")


@pytest.mark.parametrize("width", WIDTHS)
def test_without_a_model_the_page_says_how_to_start_one(browser: Any, tmp_path: Path, width: int) -> None:
    run = planted_run(tmp_path / "a run", 1)
    with serving(entered(make_app(run))) as site, Visit(browser, site, width) as visit:
        open_case(visit, "Case 1")
        press(visit, "Box")
        assert "No model can be asked" in visit.page.text_content(".how .boxing")
        command = f"contrafact view '{run.folder}' --live BUNDLE"
        assert visit.page.text_content(".how .starting code") == command
        assert visit.page.locator(".boxing button:enabled", has_text="Change only here").count() == 0
        press(visit, "Copy")
        visit.until("/Copied|Selected/.test(document.querySelector('.how .starting button').textContent)")
        looks_like_a_page(visit)
        moved = move_all(visit)
        assert moved["number"] == 8 or moved["number"] == 4  # of both groups, or until the box was removed


def test_a_bundle_of_hostile_name_is_not_in_the_command(browser: Any, tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run", 1)
    manifest = run.folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace("{", '{"bundles": [{"name": "x; rm -rf ~"}],', 1))
    with serving(entered(make_app(run))) as site, Visit(browser, site) as visit:
        open_case(visit, "Case 1")
        assert visit.page.evaluate("document.body.dataset.command").endswith("--live BUNDLE")
