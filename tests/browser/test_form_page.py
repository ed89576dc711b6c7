"""The form in a real browser: filled, mended, saved, run to its end."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the form needs contrafact[view]")
pytest.importorskip("playwright.sync_api", reason="tests in a browser need playwright")

from browsing import HOSTILE, Site, serving
from contrafact.cli.form import job
from contrafact.cli.listing import targets
from contrafact.core import Trust
from contrafact.io import open_run
from contrafact.study import read_study
from contrafact.viewer.study_editor.app import make_form_app
from contrafact.viewer.study_editor.editor import StudyEditor
from forming import study_folder
from jobs import slow_job
from visiting import AXE, PALE, UNNAMED, WIDTHS, Visit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return study_folder(tmp_path / "work")


TRUSTED = functools.partial(job, trust=Trust(factories=True))  # the study's networks are of the tests


def form_of(folder: Path, work: Any = TRUSTED) -> tuple[StudyEditor, Any]:
    desk = StudyEditor(folder, "study.toml", work, more={"targets": targets(), "bundles": ["knee"]})
    return desk, make_form_app(desk, token="t")


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    desk, app = form_of(folder)
    with serving(app) as site:
        yield site
    desk.close()


def said(visit: Visit, place: str) -> str:
    return str(visit.page.text_content(f"[data-for='{place}']"))


def wait_for(visit: Visit, place: str, words: str) -> None:
    visit.until(f"""document.querySelector("[data-for='{place}']").textContent.includes("{words}")""")


def verdict(visit: Visit, words: str) -> None:
    visit.until(f"document.getElementById('verdict').textContent.includes('{words}')")


def fill(visit: Visit, place: str, text: str) -> None:
    visit.page.fill(f"[id='{place}']", text)


def fill_all(visit: Visit) -> None:
    """A study of two images, two methods and a metric, by mouse and keyboard."""
    fill(visit, "study.images", "*.npy")
    fill(visit, "study.out", "run")
    fill(visit, "study.targets", "class:yes")
    visit.page.get_by_role("button", name="Add a model", exact=True).click()
    visit.page.keyboard.type("net.json")  # the first field has the focus
    for which, name in (("methods", "gradient"), ("methods", "rise"), ("metrics", "deletion")):
        visit.page.select_option(f"#add-{which}", name)
        visit.page.focus(f"#add-{which}")
        visit.page.keyboard.press("Tab")
        visit.page.keyboard.press("Enter")


def test_a_study_is_written_mended_saved_and_run_to_its_end(browser: Any, folder: Path, site: Site) -> None:
    with Visit(browser, site) as visit:
        visit.go("/?token=t", "[id='study.title']")
        assert "token" not in visit.page.url
        verdict(visit, "to fix")
        assert visit.page.is_disabled("#save") and visit.page.is_disabled("#run")
        fill_all(visit)
        verdict(visit, "Valid study. Nothing is missing.")
        assert said(visit, "study.images") == "images: 2, patients: 2, found on the disk: 2"
        fill(visit, "methods.1.masks", "many")
        wait_for(visit, "methods.1.masks", "methods.rise.masks must be int; got 'many'")
        assert visit.page.get_attribute("[id='methods.1.masks']", "aria-invalid") == "true"
        assert visit.page.is_disabled("#save")
        visit.page.click("#wrong a")  # leads to the field
        assert visit.page.evaluate("document.activeElement.id") == "methods.1.masks"
        fill(visit, "methods.1.masks", "20")
        fill(visit, "methods.1.cells", "4")
        verdict(visit, "Valid study. Nothing is missing.")
        assert "masks = 20" in visit.page.text_content("#toml")
        visit.page.click("#save")
        verdict(visit, "Saved.")
        assert read_study(folder / "study.toml").explainer("rise").masks == 20
        visit.page.click("#run")
        ends = time.monotonic() + 400  # seconds: three processes load the libraries
        while visit.page.is_hidden("#after"):
            assert time.monotonic() < ends, visit.page.text_content("#progress")
            assert not visit.page.text_content("#state").startswith("Stopped")
            visit.page.wait_for_timeout(100)
        assert visit.page.text_content("#state") == "Done: 6 of 6 rows."
        assert "contrafact view" in visit.page.text_content("#after")
        assert len(open_run(folder / "run").rows()) == 4
        assert (folder / "run" / "report.html").exists() and (folder / "run" / "scores.csv").exists()


def test_a_run_is_shown_cancelled_and_found_again(browser: Any, folder: Path) -> None:
    desk, app = form_of(folder, slow_job)
    try:
        with serving(app) as site, Visit(browser, site, 390) as visit:
            visit.go("/?token=t", "[id='study.title']")
            fill_all(visit)
            verdict(visit, "Valid study")
            visit.page.click("#save")
            verdict(visit, "Saved.")
            visit.page.click("#run")
            visit.until("document.getElementById('state').textContent.startsWith('3 of 9 rows, 1 failed')")
            assert visit.page.text_content("#failures") == "row 2: no"
            visit.page.reload()
            visit.until("document.getElementById('state')?.textContent.startsWith('3 of 9 rows, 1 failed')")
            assert visit.page.is_disabled("#run")
            visit.page.click("#cancel")
            visit.until("document.getElementById('state').textContent.startsWith('Cancelled at 3 of 9')")
            assert visit.page.is_hidden("#cancel") and visit.page.is_enabled("#run") and visit.fits()
    finally:
        desk.close()


def test_another_file_is_written_over_only_after_a_question(browser: Any, folder: Path, site: Site) -> None:
    path = folder / "study.toml"
    with Visit(browser, site) as visit:
        visit.go("/?token=t", "[id='study.title']")
        fill_all(visit)
        verdict(visit, "Valid study")
        path.write_text("# mine\n")
        visit.page.click("#save")
        visit.page.wait_for_selector("#question:not([hidden])")
        assert "comments will be lost" in visit.page.text_content("#question")
        visit.page.get_by_role("button", name="Keep it").click()
        assert path.read_text() == "# mine\n"
        visit.page.click("#save")
        visit.page.wait_for_selector("#question:not([hidden])")
        visit.page.keyboard.press("Enter")  # the question has the focus
        verdict(visit, "Saved.")
        assert read_study(path).out == "run"


def test_a_file_opens_with_what_no_study_knows_and_hostile_names_stay_words(
    browser: Any, folder: Path, site: Site
) -> None:
    text = f"""images = ['*.npy']
out = 'run'
colour = '{HOSTILE}'
[model]
path = 'net.json'
[methods."{HOSTILE}"]
method = 'gradient'
"""
    (folder / "old.toml").write_text(text)
    with Visit(browser, site) as visit:
        visit.go("/?token=t", "[id='study.title']")
        fill(visit, "path", "old.toml")
        visit.page.click("#open")
        visit.page.wait_for_selector("[id='study.colour']")
        assert visit.page.input_value("[id='study.colour']") == HOSTILE
        wait_for(visit, "study.colour", "unknown key 'colour'")
        assert "is not a valid study" in visit.page.text_content("#notice")
        assert visit.page.locator("main img, main script").count() == 0
        visit.page.get_by_role("button", name="remove colour").click()
        verdict(visit, "Valid study. Nothing is missing.")
        visit.page.get_by_role("button", name="Remove", exact=False).last.click()
        verdict(visit, "to fix")
        assert "methods" in visit.page.text_content("#wrong")


@pytest.mark.parametrize("width", WIDTHS)
def test_the_form_has_no_barrier(browser: Any, site: Site, width: int) -> None:
    with Visit(browser, site, width) as visit:
        visit.go("/?token=t", "[id='study.title']")
        fill_all(visit)
        visit.page.get_by_role("button", name="Add a model", exact=True).click()
        fill(visit, "methods.1.share", "7")
        fill(visit, "study.cohort", "none.csv")
        wait_for(visit, "methods.1.share", "share must be")
        assert visit.fits()
        assert visit.page.evaluate(UNNAMED) == [] and visit.page.evaluate(PALE) == []
        if AXE.exists():
            visit.page.evaluate(AXE.read_text())
            found = visit.page.evaluate("axe.run()")["violations"]
            assert [(f["id"], f["nodes"][0]["html"]) for f in found] == []
