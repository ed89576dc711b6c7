"""The linked panels of a counterfactual: zoom, lens, flicker, exaggeration, pixels, window, full screen, by
mouse and by key. What is on the screen is known from the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the pages need contrafact[view]")
pytest.importorskip("playwright.sync_api", reason="tests in a browser need playwright")

from browsing import SIDE, Site, entered, heatmap, planted_run, ramp, serving, strip
from contrafact.core import Image
from contrafact.io import Run
from contrafact.viewer import make_app
from visiting import Visit, near, open_case


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    run = planted_run(tmp_path_factory.mktemp("panels") / "run", 1)
    _add_corner(run)
    _add_backwards(run)
    with serving(entered(make_app(run))) as site:
        yield site


def _add_corner(run: Run) -> None:
    """A change of 20 grey levels in the upper left corner alone, of an image at 100."""
    frames = np.full((3, 1, SIDE, SIDE), 100.0, dtype=np.float32)
    for k in range(3):
        frames[k, :, :4, :4] += 10 * k
    made = strip("corner", frames=frames, requested=np.arange(3.0), scores=np.array([-2.0, 0.5, 2.0]),
                 latent_distance=np.arange(3.0), reconstruction=frames[0])  # fmt: skip
    image = Image(frames[0], window=(0.0, 200.0), source="corner.png")
    run.add("corner", image, made, case="Corner", target_name="narrow")


def _add_backwards(run: Run) -> None:
    """A search that lowered the score: the image is the last frame of what is stored."""
    frames = np.stack([ramp(level=-10.0 * k) for k in (2, 1, 0)])
    steps = np.array([-2.0, -1.0, 0.0])
    made = strip("down", frames=frames, requested=steps, scores=2 * steps + 2, origin=2, goal=-1.5,
                 latent_distance=-steps)  # fmt: skip
    image = Image(frames[2], window=(0.0, 200.0), source="down.png")
    run.add("down", image, made, case="Down", target_name="narrow")


def grey(visit: Visit, panel: str, row: float, column: float) -> float:
    """Grey level, in units of the image, at a place of the canvas in shares."""
    drawn = visit.pixels(panel)
    at = drawn[round(row * drawn.shape[0]), round(column * drawn.shape[1])]
    return float(at.mean()) * 200 / 255


def enter(visit: Visit, name: str = "Corner") -> None:
    open_case(visit, name)
    visit.page.focus(".viewing")


@pytest.mark.parametrize(("width", "across"), [(1920, 3), (1280, 2), (390, 1)])
def test_the_panels_are_large_and_stand_side_by_side_where_there_is_room(
    browser: Any, site: Site, width: int, across: int
) -> None:
    with Visit(browser, site, width) as visit:
        enter(visit, "Case 1")
        boxes = [one.bounding_box() for one in visit.page.locator(".how .panel canvas").all()]
        assert len(boxes) == 3 and visit.fits()
        assert all(box["width"] >= (480 if width > 1000 else 320) for box in boxes)
        assert len({round(box["x"]) for box in boxes}) == across
        assert visit.page.locator("main section").first.get_attribute("class") == "card how"


@pytest.mark.parametrize("width", [1920, 1280, 390])
def test_the_panels_of_a_notebook_are_as_large(browser: Any, tmp_path: Path, width: int) -> None:
    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html><body>{strip('knee')._repr_html_()}", encoding="utf-8")  # type: ignore[operator]
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(path.as_uri())
    boxes = [one.bounding_box() for one in page.locator("img").all()[:3]]
    assert all(box["width"] >= (480 if width > 1000 else 320) for box in boxes)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()


def test_a_flip_that_a_second_model_does_not_follow_is_said_first(browser: Any, tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run", 1)
    second = strip("alone", second=np.full(5, -2.0))
    run.add(
        "alone", Image(ramp(), window=(0.0, 200.0), source="a.png"), second, case="Alone", target_name="narrow"
    )
    with serving(entered(make_app(run))) as own, Visit(browser, own) as visit:
        enter(visit, "Alone")
        said = visit.page.locator(".how .lead")
        assert "warn" in said.get_attribute("class")
        assert said.text_content().startswith("A second model does not follow: this model may read something")
        assert "Prediction narrow:" in said.text_content()
        open_case(visit, "Case 1")
        assert visit.page.locator(".how .lead").text_content().startswith("Prediction narrow:")


def test_what_is_limited_to_a_part_says_so_as_a_sentence(browser: Any, tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run", 1)
    image = Image(ramp(), window=(0.0, 200.0), source="p.png")
    for name, made in (("map", heatmap("p")), ("walk", strip("p"))):
        record = dataclasses.replace(made.record, details={"region": 0.06})
        run.add(name, image, dataclasses.replace(made, record=record), case="Part", target_name="narrow")
    with serving(entered(make_app(run))) as own, Visit(browser, own) as visit:
        enter(visit, "Part")
        legend = visit.page.locator("section", has_text="Where the model looks").locator(".legend").first
        assert "The map is limited to 6 % of the image: nothing outside is shown." in legend.text_content()
        assert "Resolution of the map" not in legend.text_content()
        made = visit.page.locator("summary", has_text="Made in").all_text_contents()
        assert made and not any("limited" in words for words in made)


def test_no_curve_runs_through_the_words_of_the_chart(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        for case in ("Case 1", "Down"):
            enter(visit, case)
            words = visit.page.locator(".chart .half-text").first.evaluate(
                "e => { const b = e.getBBox(); return [b.x, b.x + b.width, b.y, b.y + b.height]; }"
            )
            curve = visit.page.locator(".chart .measured").first.get_attribute("points")
            xs, ys = np.array([pair.split(",") for pair in curve.split()], float).T
            dense = np.linspace(xs.min(), xs.max(), 500)
            heights = np.interp(dense, xs[np.argsort(xs)], ys[np.argsort(xs)])
            inside = (dense > words[0]) & (dense < words[1]) & (heights > words[2]) & (heights < words[3])
            assert not inside.any(), case


def test_one_key_puts_the_original_in_place_of_the_changed_image(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        enter(visit)
        tag, changed = visit.page.locator(".panel .tag").nth(1), grey(visit, "changed", 0.1, 0.1)
        assert changed == pytest.approx(120, abs=2) and grey(visit, "original", 0.1, 0.1) == pytest.approx(
            100, abs=2
        )
        visit.page.keyboard.press("b")
        assert grey(visit, "changed", 0.1, 0.1) == pytest.approx(100, abs=2)
        assert tag.text_content() == "original"
        assert "12\u00a0%" in visit.page.locator(".panel figcaption").nth(1).text_content()
        visit.page.keyboard.press("b")
        assert grey(visit, "changed", 0.1, 0.1) == pytest.approx(120, abs=2)
        assert tag.text_content() == "synthetic, not for diagnosis"


def test_an_exaggerated_change_says_so_on_the_image(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        enter(visit)
        corner = visit.page.locator(".panel .corner").nth(1)
        for times in (2, 4):
            visit.page.keyboard.press("x")
            assert grey(visit, "changed", 0.1, 0.1) == pytest.approx(100 + 20 * times, abs=2)
            assert f"CHANGE EXAGGERATED ×{times}" in corner.text_content()
            assert grey(visit, "changed", 0.9, 0.9) == pytest.approx(100, abs=2)
        visit.page.keyboard.press("x")
        assert grey(visit, "changed", 0.1, 0.1) == pytest.approx(120, abs=2)
        assert "EXAGGERATED" not in corner.text_content()


def test_pixels_are_smoothed_or_shown_as_they_are_and_the_image_says_which(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        enter(visit)
        corners = visit.page.locator(".how .corner")
        assert all("16 × 16 px, smoothed" in text for text in corners.all_text_contents())
        assert 102 < grey(visit, "changed", 0.1, 4 / 16) < 118  # between both sides of the edge
        visit.page.keyboard.press("p")
        assert all("pixels as they are" in text for text in corners.all_text_contents())
        assert grey(visit, "changed", 0.1, 4 / 16 - 0.01) == pytest.approx(120, abs=2)
        assert grey(visit, "changed", 0.1, 4 / 16 + 0.01) == pytest.approx(100, abs=2)


def test_zoom_and_place_are_those_of_all_panels(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        enter(visit)
        visit.page.keyboard.press("p")
        for _ in range(4):
            visit.page.keyboard.press("+")
        assert grey(visit, "changed", 0.1, 0.1) == pytest.approx(100, abs=2)  # the middle: the corner is away
        assert all("zoom ×5.1" in text for text in visit.page.locator(".how .corner").all_text_contents())
        for _ in range(30):
            visit.page.keyboard.press("Shift+ArrowLeft")
            visit.page.keyboard.press("Shift+ArrowUp")
        assert grey(visit, "changed", 0.9, 0.9) == pytest.approx(120, abs=2)
        assert visit.pixels("difference")[900, 900, 0] > visit.pixels("difference")[900, 900, 2] + 20
        box = visit.page.locator("[data-panel=original]").bounding_box()
        visit.page.get_by_role("radio", name="what is shown").first.click()
        visit.page.mouse.move(box["x"] + 400, box["y"] + 300)
        visit.page.mouse.down()
        visit.page.mouse.move(box["x"] + 100, box["y"] + 300, steps=3)  # drag the image to the left
        visit.page.mouse.up()
        assert grey(visit, "changed", 0.5, 0.9) == pytest.approx(100, abs=2)
        assert grey(visit, "changed", 0.5, 0.1) == pytest.approx(120, abs=2)
        visit.page.get_by_role("button", name="show the whole image").first.click()
        assert grey(visit, "changed", 0.1, 0.1) == pytest.approx(120, abs=2)
        visit.page.mouse.move(box["x"] + 5, box["y"] + 5)
        visit.page.keyboard.down("Control")
        visit.page.mouse.wheel(0, -100)
        visit.page.keyboard.up("Control")
        visit.until("document.querySelector('.how .corner').textContent.includes('zoom')")


def test_the_lens_enlarges_or_shows_the_other_image_on_every_panel(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        enter(visit)
        visit.page.keyboard.press("p")
        visit.page.keyboard.press("l")
        box = visit.page.locator("[data-panel=original]").bounding_box()
        visit.page.mouse.move(box["x"] + 0.24 * box["width"], box["y"] + 0.12 * box["height"])
        assert grey(visit, "changed", 0.12, 0.257) == pytest.approx(120, abs=2)  # the edge, at 0.25, is at 0.26
        assert grey(visit, "changed", 0.12, 0.264) == pytest.approx(100, abs=2)
        assert "lens ×2" in visit.page.locator(".how .corner").first.text_content()
        visit.page.keyboard.press("l")
        assert grey(visit, "original", 0.12, 0.2) == pytest.approx(120, abs=2)  # the changed image, in the lens
        assert grey(visit, "changed", 0.12, 0.2) == pytest.approx(100, abs=2)
        assert grey(visit, "changed", 0.12, 0.02) == pytest.approx(120, abs=2)  # outside of it
        visit.page.keyboard.press("l")
        assert grey(visit, "original", 0.12, 0.2) == pytest.approx(100, abs=2)


def test_the_outline_surrounds_what_changes_most_and_can_be_left_out(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        enter(visit)
        white = near(visit.pixels("difference"), (255, 255, 255), 3)
        rows, columns = np.nonzero(white)
        assert white.sum() > 300 and 230 < rows.max() < 300 and 230 < columns.max() < 300  # a quarter of 1024
        visit.page.get_by_label("Outline the 10 %").uncheck()
        assert not near(visit.pixels("difference"), (255, 255, 255), 3).any()


def test_window_presets_and_a_drag_change_every_picture(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        enter(visit, "Case 1")
        visit.page.get_by_label("Window preset").first.select_option("whole range")  # 1 to 151
        for panel, level in (("original", 0.0), ("changed", 40.0), ("map", 0.0)):
            drawn = visit.pixels(panel)[100, 500:524].mean()
            expected = (75 + level + (panel == "map") - 1) / 150 * 255
            assert drawn == pytest.approx(expected, abs=5), panel
        assert (
            visit.page.get_by_label("Window preset").nth(1).evaluate("e => e.selectedOptions[0].text")
            == "whole range"
        )
        box = visit.page.locator("[data-panel=changed]").bounding_box()
        visit.page.mouse.move(box["x"] + 100, box["y"] + 100)
        visit.page.mouse.down()
        visit.page.mouse.move(box["x"] + 100, box["y"] + 220, steps=4)
        visit.page.mouse.up()
        assert visit.pixels("original")[100, 500:524].mean() < 60  # a higher level is darker
        assert visit.page.get_by_label("Window preset").first.input_value() == "own"
        visit.page.get_by_role("button", name="Reset window").first.click()
        assert visit.pixels("original")[100, 500:524].mean() == pytest.approx(75 / 200 * 255, abs=4)


def test_full_screen_holds_the_panels_and_their_controls(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        enter(visit)
        visit.page.keyboard.press("f")
        visit.until("document.fullscreenElement?.className === 'viewing'")
        assert visit.page.locator(":fullscreen .frames input").is_visible()
        visit.page.get_by_role("button", name="Full screen (F)").first.click()
        visit.until("document.fullscreenElement === null")


def test_the_film_marks_the_frame_and_a_search_downwards_runs_to_the_right(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        enter(visit, "Down")
        film = visit.page.locator(".film button")
        assert [text[:8] for text in film.all_text_contents()] == ["original", "syntheti", "syntheti"]
        assert film.locator("b").all_text_contents() == ["88 %", "50 %", "12 %"]
        marked = "[...document.querySelectorAll('.film button')].findIndex(b => b.getAttribute('aria-current'))"
        visit.until(f"{marked} === 2")
        assert visit.pixels("changed")[100, 500:524].mean() == pytest.approx(55 / 200 * 255, abs=4)  # 20 darker
        visit.page.keyboard.press("ArrowLeft")
        visit.until(f"{marked} === 1")
        assert visit.pixels("changed")[100, 500:524].mean() == pytest.approx(65 / 200 * 255, abs=4)
        xs = [float(one.get_attribute("cx")) for one in visit.page.locator(".chart .point").all()]
        assert xs == sorted(xs)  # the chart begins at the image, as the film
        table = visit.page.locator(".details tbody tr td:first-child").all_text_contents()
        assert table == ["0, original", "1, synthetic", "2, synthetic"]
