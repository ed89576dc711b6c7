"""Real cases on the case's page and in the report: three canvases with the stored pixels, marked as real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the pages need contrafact[view]")
pytest.importorskip("playwright.sync_api", reason="tests in a browser need playwright")

from browsing import HOSTILE, entered, ramp, serving, strip
from contrafact.core import Image, NearestCases, RealCase
from contrafact.io import Run
from contrafact.report.page import write_report
from contrafact.viewer import make_app
from visiting import WIDTHS, Visit, live_site, looks_like_a_page

SECTION = "section:has(h2:text('Real cases on the other side'))"


def nearest() -> NearestCases:
    shown: Any = {"score": -1.0, "answer": "wide 90 %", "distance": 0.25, "nearer": 0.5, "other_rank": 2}
    images = [Image(ramp(level=k), window=(0.0, 200.0), source=f"real{k}.png") for k in range(2)]
    cases = [RealCase(image=image, label="KL 0", **shown) for image in images]
    cases.append(RealCase(image=Image(ramp(), source=HOSTILE), label=HOSTILE, **shown))
    place: Any = {"target": "class:1", "layer": "f", "other_layer": "g", "across": 9, "same": 4, "left_out": 1}
    return NearestCases(cases=tuple(cases), by_other=tuple(cases[:1]), **place)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "run", about={"title": "Knees"})
    image = Image(ramp(), window=(0.0, 200.0), source="knee.png")
    run.add("a", image, strip("knee"), nearest=nearest(), case="Case 1", target_name="narrow")
    write_report(run)
    return run


@pytest.mark.slow
def test_the_page_and_the_report_show_three_real_cases(browser: Any, run: Run) -> None:
    with serving(entered(make_app(run))) as site, Visit(browser, site) as visit:
        number = site.ask("/api/cases").json()["cases"][0]["id"]
        visit.go(f"/case/{number}", SECTION)
        page = visit.page
        assert page.locator(f"{SECTION} canvas").count() == 3
        text = page.locator(SECTION).inner_text().replace("\xa0", " ")
        assert text.count("REAL") == 3
        for words in (
            "real0.png",
            "wide 90 %",
            "labelled KL 0",
            "distance 0.25",
            "50 % of the cases on the",
            "place 2",
        ):
            assert words in text
        assert "1 of these 3 are among the 3 nearest; by chance 1.00" in text
        visit.painted()
        drawn = page.evaluate(
            "[...document.querySelector(\".film canvas[aria-label='real case real0.png']\").getContext('2d')"
            ".getImageData(0, 80, 160, 1).data].filter((_, k) => k % 4 === 0)"
        )
        assert np.all(np.diff(drawn) >= 0) and drawn[-1] > 150  # the ramp, by the window of the image
    page_text = (run.folder / "report.html").read_text()
    assert page_text.count("REAL</b>") == 3
    assert HOSTILE not in page_text


@pytest.mark.parametrize("width", WIDTHS)
def test_a_live_answer_shows_the_real_cases_of_its_target(browser: Any, run: Run, width: int) -> None:
    image = Image(ramp(), window=(0.0, 200.0), source="other.png")
    run.add("b", image, strip("other"), case="Case 2", target_name="narrow")
    with live_site(run) as site, Visit(browser, site, width) as visit:
        cases = {case["name"]: case["id"] for case in site.ask("/api/cases").json()["cases"]}
        for name, real in (("Case 1", 3), ("Case 2", 0)):
            visit.go(f"/case/{cases[name]}", ".how")
            visit.until("document.getElementById('live-status').textContent === 'Ready.'", 120)
            visit.page.locator(".how").get_by_role("button", name="Box", exact=True).first.click()
            visit.page.locator(".how").get_by_role("button", name="Change only here").first.click()
            visit.page.wait_for_selector(".live .film")
            assert visit.page.locator(".live .mark.real", has_text="REAL").count() == real
            said = "The run holds no real cases for this target" in visit.page.text_content(".live")
            assert said == (real == 0)
            visit.painted()
            looks_like_a_page(visit)
        visit.page.wait_for_load_state("networkidle")
