"""Every control of live explanations, in a real browser, before a worker whose answers are known."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the pages need contrafact[view]")
pytest.importorskip("playwright.sync_api", reason="tests in a browser need playwright")

from browsing import HOSTILE, Site, entered, planted_run, ramp, serving, strip
from contrafact.core import Image
from contrafact.io import Run
from contrafact.viewer import make_app
from pretending import BAD, SLOW
from visiting import AXE, PALE, UNNAMED, WIDTHS, Visit, live_site

STATUS = "document.getElementById('live-status').textContent"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return planted_run(tmp_path_factory.mktemp("live") / "run", 2)


@pytest.fixture(scope="module")
def site(run: Run) -> Iterator[Site]:
    with live_site(run) as site:
        yield site


def open_panel(visit: Visit, name: str = "Case 1") -> None:
    case = {c["name"]: c["id"] for c in visit.site.ask("/api/cases").json()["cases"]}[name]
    visit.go(f"/case/{case}", "#live")
    until(visit, f"{STATUS} === 'Ready.'", 120)


def until(visit: Visit, words: str, seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not visit.page.evaluate(words):
        assert time.monotonic() < ends, (words, visit.page.evaluate(STATUS))
        visit.page.wait_for_timeout(30)


def stage(visit: Visit) -> np.ndarray:
    return visit.pixels(visit.page.locator(".stage canvas").count() - 1)


def slide(visit: Visit, label: str, value: float) -> None:
    box = visit.page.locator(".live label.slider", has_text=label).first.locator("input")
    box.evaluate("(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})); }", value)


def grey(visit: Visit) -> float:
    """Of a column whose image value is 76."""
    return float(stage(visit)[20, 250:262].mean()) * 200 / 255


def test_the_live_target_is_at_first_that_of_what_the_page_shows(browser: Any, tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run", 1)
    made = strip("other")
    other = dataclasses.replace(made, record=dataclasses.replace(made.record, target="class:0"))
    image = Image(ramp(), window=(0.0, 200.0), source="o.png")
    run.add("other", image, other, case="Other", target_name="no")
    with live_site(run) as own:
        for case, target in (("Case 1", "class:1"), ("Other", "class:0")):
            with Visit(browser, own) as visit:
                open_panel(visit, case)
                assert visit.page.input_value("#live-target") == target


def test_the_slider_moves_the_image_and_the_model_answers(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        open_panel(visit)
        assert visit.page.locator("#live-target option").all_text_contents() == [HOSTILE, "no"]
        assert "12 % (original)" in visit.page.text_content(".live .read")  # 1 / (1 + exp(2))
        assert visit.page.text_content(".live .tag") == "original"
        assert grey(visit) == pytest.approx(76, abs=3)
        visit.page.locator(".live label.slider input").first.focus()
        slide(visit, "Change requested", 8)
        until(visit, f"{STATUS}.startsWith('Computed in')")
        assert grey(visit) == pytest.approx(84, abs=3)
        read = visit.page.text_content(".live .read")
        assert "12 % → >99 %" in read and read.count("+8.00") == 2  # requested, and achieved
        assert "1.00 SD, the maximum" in read
        assert visit.page.text_content(".live .tag") == "synthetic, not for diagnosis"
        visit.page.locator(".live label.slider input").first.evaluate(
            "e => e.dispatchEvent(new Event('change', {bubbles: true}))"
        )
        until(visit, f"{STATUS}.endsWith('along the latent path.')")
        assert "+9.00" in visit.page.text_content(".live .read")  # achieved, of 8 requested
        for value in (-8, -6, -4, -8):  # the last one counts
            slide(visit, "Change requested", value)
        until(visit, "document.querySelector('.live .read').textContent.includes('−8.00')")
        assert grey(visit) == pytest.approx(68, abs=3)
        visit.choose("probability to reach")
        slide(visit, "Goal", 0.5)  # two logits up
        until(visit, "document.querySelector('.live .read').textContent.includes('+2.00')")
        visit.choose("change requested, logits")
        visit.page.locator(".live").get_by_label("b/c").check()
        until(visit, "document.querySelector('.live .read').textContent.includes('kept constant: b/c')")
        assert visit.page.locator(".live img").count() == 0  # words of the bundle stay words
        visit.page.wait_for_load_state("networkidle")


def test_the_panels_of_an_answer_are_as_large_as_those_of_a_result(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        open_panel(visit)
        visit.page.get_by_role("button", name="Explain", exact=True).click()
        visit.page.wait_for_selector(".live .film")
        visit.painted()
        boxes = [one.bounding_box() for one in visit.page.locator(".live .panel canvas").all()]
        assert len(boxes) == 3 and all(box["width"] >= 480 for box in boxes)
        about = visit.page.locator(".live .beside .small").first
        assert "While you drag the slider" in about.text_content()
        visit.page.select_option("#live-method", "gradcam")
        assert "Explain computes the map" in about.text_content() and "slider" not in about.text_content()


def test_a_slider_moved_just_after_asking_loses_no_question(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        open_panel(visit)
        visit.page.evaluate(
            """() => {
              const slider = document.querySelector(".live label.slider input");
              slider.value = 4;
              [...document.querySelectorAll(".live button")].find(b => b.textContent === "Explain").click();
              slider.dispatchEvent(new Event("input", { bubbles: true }));
            }"""
        )
        until(visit, "document.querySelector('.live .film') !== null", seconds=10)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_question_is_answered_shown_and_kept(browser: Any, site: Site, run: Run, width: int) -> None:
    rows = len(run.rows())
    name = f"Case {1 + (width < 1000)}"
    with Visit(browser, site, width) as visit:
        open_panel(visit, name)
        assert visit.fits()
        slide(visit, "Change requested", 4)
        until(visit, f"{STATUS}.startsWith('Computed in')")
        visit.page.focus("#live-method")
        visit.page.keyboard.press("Tab")
        ask = visit.page.get_by_role("button", name="Explain", exact=True)
        ask.press("Enter")
        visit.page.wait_for_selector(".live .film")
        film = visit.page.text_content(".live .film")
        assert film.startswith("original12 %") and "synthetic88 %" in film
        assert len(run.rows()) == rows and visit.fits()
        check(visit)
        visit.page.get_by_role("button", name="Keep in the run").click()
        until(visit, "document.querySelector('.live').textContent.includes('Stored in the run')")
        assert run.rows()[-1]["case"] == name and run.rows()[-1]["label"] == "latent-walk (live)"
        visit.page.select_option("#live-method", "medxgan")
        assert visit.page.locator(".live").get_by_label("b/c").count() == 0
        ask.click()
        until(
            visit, "document.querySelector('.live .film') && !document.querySelector('.live button[disabled]')"
        )
        visit.page.select_option("#live-target", "class:0")
        methods = visit.page.locator("#live-method option").all_text_contents()
        assert methods == ["map: gradcam", "map: occlusion"]
        ask.click()
        until(visit, "document.querySelector('.live .card h2')?.textContent === 'Where: gradcam for class:0'")
        assert "Cohort scale: 2 maps of this model by gradcam" in visit.page.text_content(".live")
        slide(visit, "Opacity", 10)
        assert visit.fits()
        check(visit)
        visit.page.wait_for_load_state("networkidle")


def check(visit: Visit) -> None:
    until(visit, "[...document.querySelectorAll('canvas[role=img]')].every(c => c.ariaLabel)")  # painted
    assert visit.page.evaluate(UNNAMED) == []
    assert visit.page.evaluate(PALE) == []
    if AXE.exists():
        visit.page.evaluate(AXE.read_text())
        found = visit.page.evaluate("axe.run().then(r => r.violations.map(v => v.id + ' ' + v.nodes[0].html))")
        assert found == []


def test_long_work_can_be_cancelled_and_errors_are_told(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        open_panel(visit)
        slide(visit, "Change requested", SLOW)
        until(visit, f"{STATUS}.startsWith('Computed in')")
        visit.page.get_by_role("button", name="Explain", exact=True).click()
        until(visit, f"{STATUS}.startsWith('asking')")
        check(visit)
        visit.page.get_by_role("button", name="Cancel").click()
        until(visit, f"{STATUS} === 'Cancelled.'")
        slide(visit, "Change requested", BAD)
        visit.page.get_by_role("button", name="Explain", exact=True).click()
        until(visit, f"{STATUS} === 'expected another goal; got this'", 120)
        visit.page.wait_for_load_state("networkidle")


def test_leaving_the_page_ends_its_work(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        open_panel(visit)
        slide(visit, "Change requested", SLOW)
        until(visit, f"{STATUS}.startsWith('Computed in')")
        visit.page.get_by_role("button", name="Explain", exact=True).click()
        until(visit, f"{STATUS}.startsWith('asking')")
        jobs = [url.rpartition("/")[2] for url in visit.asked if "/live/job/" in url]
        job = jobs[-1]
        visit.go("/", "#lines tr")
        ends = time.monotonic() + 20
        while site.ask(f"/live/job/{job}").json()["state"] != "cancelled":
            assert time.monotonic() < ends
            time.sleep(0.05)
        visit.page.wait_for_load_state("networkidle")


def test_where_nothing_can_be_asked_the_page_says_so(browser: Any, tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run", 1)
    with live_site(run, "broken") as site, Visit(browser, site) as visit:
        case = site.ask("/api/cases").json()["cases"][0]["id"]
        visit.go(f"/case/{case}", "#live")
        until(visit, f"{STATUS} === 'Not available: expected a bundle; got none'", 60)
        assert visit.page.locator(".live button").count() == 0
        visit.page.wait_for_load_state("networkidle")


def test_without_live_questions_the_page_has_no_panel(browser: Any, run: Run) -> None:
    with serving(entered(make_app(run))) as site, Visit(browser, site) as visit:
        case = site.ask("/api/cases").json()["cases"][0]["id"]
        visit.go(f"/case/{case}", ".film")
        assert visit.page.locator("#live").count() == 0
        visit.page.wait_for_load_state("networkidle")
