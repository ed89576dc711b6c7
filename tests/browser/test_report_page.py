"""The report in a browser and on paper: its controls, its length, and what it is without scripts."""

from __future__ import annotations

import dataclasses
import io
import re
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the pages need contrafact[view]")
pytest.importorskip("playwright.sync_api", reason="tests in a browser need playwright")

from PIL import Image as Picture

from browsing import DOUBT, HOSTILE, PASSED, heatmap, planted_run, ramp, record, strip
from contrafact.core import Grid, Heatmap, Image
from contrafact.io import Run
from contrafact.report.page import write_report
from visiting import BLUE, ORANGE, WIDTHS, Visit, looks_like_a_page, move_all


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
        for section in range(4):  # cases come alive when they are opened
            visit.page.locator("section.case .all > summary").nth(section).click()
        visit.until("document.querySelectorAll('.alive').length === 4")
        moved = move_all(
            visit, leave="section.case ~ section.case *, .all > summary"
        )  # the other cases have the controls of the first
        assert moved["range"] == 8 and moved["checkbox"] == 2 and moved["a"] >= 5, moved
        assert not visit.page.locator(".still:visible").count()
        looks_like_a_page(visit)


def test_ten_cases_are_short_on_the_screen_and_on_paper(browser: Any, tmp_path: Path) -> None:
    path = write_report(planted_run(tmp_path / "run", 10))
    with Paper(browser, path) as visit:
        assert visit.page.evaluate("document.documentElement.scrollHeight") < 8_000
        paper = visit.page.pdf(prefer_css_page_size=True)
        others = 6  # the first screen, warnings, what is said of the run
        assert len(re.findall(rb"/Type\s*/Page\b", paper)) <= 10 + others  # a page for each of these cases


def test_ten_cases_of_four_models_are_short_too(browser: Any, tmp_path: Path) -> None:
    """As in the demo: a row of three large panels for each model, and the cases below."""
    run = planted_run(tmp_path / "run", 7)
    for name in ("second", "third", "fourth"):
        image = Image(ramp(), window=(0.0, 200.0), source=f"{name}.png")
        made = strip(name, record=dataclasses.replace(record("latent-walk", name), model=name))
        run.add(name, image, made, case=name, target_name="narrow")
    with Paper(browser, write_report(run)) as visit:
        boxes = [one.bounding_box() for one in visit.page.locator("section.first img").all()]
        assert len(boxes) == 4 * 3 and all(box["width"] >= 480 for box in boxes)
        assert visit.page.evaluate("document.documentElement.scrollHeight") < 8_000


def written(paper: bytes) -> list[int]:
    """How many times each page of a PDF draws text or a picture."""
    parts = {int(m[1]): m[2] for m in re.finditer(rb"(\d+) 0 obj(.*?)endobj", paper, re.DOTALL)}
    found = []
    for part in (part for part in parts.values() if re.search(rb"/Type\s*/Page\b", part)):
        content = parts[int(re.search(rb"/Contents (\d+) 0 R", part)[1])]
        drawn = zlib.decompress(re.search(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)[1])
        found.append(len(re.findall(rb"\b(?:Tj|TJ|Do)\b", drawn)))
    return found


def test_a_full_case_takes_two_pages_of_paper_at_most_and_no_page_is_empty(
    browser: Any, tmp_path: Path
) -> None:
    run = planted_run(
        tmp_path / "run", 3
    )  # the third has a failure, and a later image with each counterfactual
    for n in (1, 2, 3):
        image = Image(ramp(level=n), window=(0.0, 200.0), source=f"/data/knee{n}.png")
        about = {"case": f"Case {n}", "answers": [f"narrow {10 * n} %"], "target_name": "narrow"}
        later = [(Image(ramp(level=50.0), source="later.png"), "narrow 80 %")]
        for method in ("occlusion", "integrated-gradients", "lime"):
            run.add(f"{n}/{method}", image, heatmap(f"Case {n}", n, method), trust=[PASSED, DOUBT], **about)
        made = strip(f"Case {n}", record=record("medxgan", f"Case {n}"), second=np.full(5, -2.0))
        run.add(f"{n}/second", image, made, followup=later, trust=[PASSED, DOUBT], **about)
    with Paper(browser, write_report(run)) as visit:
        assert min(written(visit.page.pdf(prefer_css_page_size=True))) >= 20
        visit.page.evaluate("document.querySelectorAll('header, main > *:not(.case)').forEach(e => e.remove())")
        assert 3 <= len(written(visit.page.pdf(prefer_css_page_size=True))) <= 2 * 3


def test_what_the_address_points_at_is_opened(browser: Any, run: Run) -> None:
    path = write_report(run)
    with Paper(browser, path) as visit:
        folded = visit.page.locator("#methods").locator("xpath=ancestor::details")
        assert folded.get_attribute("open") is None
        visit.page.click("nav a[href='#methods']")
        visit.until("document.getElementById('methods').closest('details').open")
        visit.page.locator("a[href^='#case-']").first.click()
        visit.until("document.querySelectorAll('section.case.alive').length === 1")


@pytest.mark.parametrize(("width", "least", "rows"), [(1920, 480, 1), (1280, 480, 2), (390, 300, 3)])
def test_the_first_screen_needs_no_scripts_and_fits(
    browser: Any, run: Run, width: int, least: int, rows: int
) -> None:
    with Paper(browser, write_report(run), width, scripts=False) as visit:
        boxes = [one.bounding_box() for one in visit.page.locator("section.first img").all()[:3]]
        assert all(box["width"] >= least for box in boxes)
        assert max(box["x"] + box["width"] for box in boxes) <= width
        tops = {round(box["y"]) for box in boxes}
        assert len(tops) == rows and visit.fits()
        assert max(tops) < 900 or width == 390


def test_the_report_draws_what_the_run_holds(browser: Any, run: Run) -> None:
    with Paper(browser, write_report(run)) as visit:
        assert visit.page.locator("section.case h2").first.text_content() == "Case 3"
        visit.page.locator("section.case .all > summary").first.click()
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
        assert visit.page.locator(".thumbs img").first.is_visible() and not visit.page.locator(".alive").count()
        assert visit.page.locator(".thumbs img").count() == 3 * 3 + 1  # three of each, one of the volume
        assert visit.page.locator(".still .film img").count() == 3 * 4 + 1  # other frames, drawn; one later
        visit.page.locator("section.case .all > summary").first.click()
        drawn = np.asarray(
            Picture.open(io.BytesIO(visit.page.locator(".still img").first.screenshot())).convert("L")
        )
        assert drawn[:, -20:].mean() > drawn[:, :20].mean() + 50  # the ramp
    with Paper(browser, path) as visit:
        visit.page.locator("section.case .all > summary").first.click()
        visit.until("document.querySelectorAll('.alive').length > 0")
        visit.page.emulate_media(media="print")
        assert visit.page.locator(".still").first.is_visible()
        assert not visit.page.locator("button:visible, input:visible, .moving:visible, nav:visible").count()
        paper = visit.page.pdf(prefer_css_page_size=True)
        assert len(re.findall(rb"/Type\s*/Page\b", paper)) >= 5  # each case begins a page


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
        visit.page.locator("section.case .all > summary").first.click()
        visit.until("document.querySelectorAll('.alive').length === 1")
        visit.painted()
        assert HOSTILE in visit.page.text_content("h1") and visit.page.locator("img[onerror]").count() == 0
        move_all(visit)
