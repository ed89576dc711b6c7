"""Judgement of a result on its case page: by mouse and by keyboard, at two widths, and there after a reload."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the pages need contrafact[view]")
pytest.importorskip("playwright.sync_api", reason="tests in a browser need playwright")

from browsing import HOSTILE, Site, entered, planted_run, serving
from contrafact.io import Run
from contrafact.viewer import make_app
from contrafact.viewer.judgements import ABOUT, Judgements
from visiting import WIDTHS, Visit, looks_like_a_page, move_all, open_case

STATUS = "document.querySelector('.judging [role=status]').textContent"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return planted_run(tmp_path / "run")


@pytest.fixture
def site(run: Run) -> Iterator[Site]:
    with serving(entered(make_app(run))) as site:
        yield site


def press(visit: Visit, *names: str) -> None:
    for name in names:
        visit.page.locator(".judging").get_by_role("button", name=name, exact=True).click()


@pytest.mark.parametrize("width", WIDTHS)
def test_two_readers_judge_and_find_their_judgements_again(
    browser: Any, site: Site, run: Run, width: int
) -> None:
    with Visit(browser, site, width) as visit:
        open_case(visit, "Case 1")
        press(visit, "Plausible")
        assert "How sure are you?" in visit.page.evaluate(STATUS)
        press(visit, "4")
        assert visit.page.evaluate(STATUS) == "Enter your name or code first."
        assert visit.page.evaluate("document.activeElement.maxLength") == 40
        visit.page.keyboard.type("  Ada  Byron ")
        press(visit, "4")
        visit.until(f"{STATUS}.startsWith('Kept: plausible, confidence 4 of 5')")
        visit.page.locator(".judging select").select_option(index=1)  # the heatmap
        assert visit.page.evaluate(STATUS) == "No judgement of yours yet."
        press(visit, "Wrong region", "5 certain")
        visit.until(f"{STATUS}.startsWith('Kept: wrong region, confidence 5 of 5')")
        looks_like_a_page(visit)
        visit.page.reload()
        visit.page.wait_for_selector(".judging")
        visit.until(f"{STATUS}.startsWith('Kept: plausible, confidence 4')")  # the name was kept in this tab
        pressed = visit.page.locator(".judging [aria-pressed=true]").all_text_contents()
        assert pressed == ["Plausible", "4"]
    with Visit(browser, site, width) as visit:  # another browser
        open_case(visit, "Case 1")
        visit.until(
            "document.querySelector('.judging summary').textContent === 'All judgements of this case: 2'"
        )
        assert visit.page.evaluate(STATUS) == "No judgement of yours yet."
        assert not visit.page.locator(".judging li").first.is_visible()  # folded: judge first
        visit.page.locator(".judging input").focus()
        visit.page.keyboard.type("Béla")
        for key in ("Tab", "Tab", "Tab", "Enter", "Tab", "Tab", "Enter"):  # not plausible, and 1
            visit.page.keyboard.press(key)
        visit.until(f"{STATUS}.startsWith('Kept: not plausible') || {STATUS}.startsWith('Kept: ')")
        lines = Judgements.of(run.folder).lines()
        assert [(x["reader"], x["answer"], x["confidence"], x["method"]) for x in lines] == [
            ("Ada Byron", "plausible", 4, "latent-walk"),
            ("Ada Byron", "wrong region", 5, "gradcam"),
            ("Béla", "not plausible", 1, "latent-walk"),
        ]
        visit.go("/", "#lines tr")
        visit.page.click("text=3 judgements of 1 case by 2 readers")
        visit.page.click("text=wrong region (1)")
        visit.page.wait_for_selector("tbody tr")
        assert visit.page.locator("tbody tr").count() == 1
        looks_like_a_page(visit)
        assert move_all(visit)["a"] >= 6
        visit.page.click("tbody a")
        visit.page.wait_for_selector(".judging")
        visit.page.wait_for_load_state("networkidle")


def test_names_stay_words_and_a_judgement_that_was_not_kept_is_told(browser: Any, site: Site, run: Run) -> None:
    kept = Judgements.of(run.folder)
    about = dict.fromkeys(ABOUT, HOSTILE)
    with Visit(browser, site) as visit:
        open_case(visit, "Case 1")
        about |= {"case_id": visit.page.url.partition("/case/")[2].partition("?")[0], "result": "Case 1/walk"}
        kept.add(HOSTILE[:40], "plausible", 1, about=about)
        visit.page.reload()
        visit.page.wait_for_selector(".judging details:not([hidden])")
        visit.page.click(".judging summary")
        assert HOSTILE[:40] in visit.page.text_content(".judging li")
        assert visit.page.locator(".judging img").count() == 0
        visit.page.fill(".judging input", "Ada")
        visit.page.evaluate("document.body.dataset.token = 'another'")
        press(visit, "Plausible", "2")
        visit.until(f"{STATUS} === 'Not kept: expected the token of the link'")
        assert len(kept.lines()) == 1
        visit.go("/judgements", "tbody tr")
        assert visit.page.locator("tbody img").count() == 0
        visit.wrong.clear()  # the console names the refused request


def test_a_judgement_made_before_the_others_arrive_stays(browser: Any, site: Site, run: Run) -> None:
    with Visit(browser, site) as visit:
        open_case(visit, "Case 1")
        held: list[Any] = []
        visit.page.route("**/api/judgements/*", lambda route: held.append(route))  # its answer waits
        visit.page.reload()
        visit.page.wait_for_selector(".judging")
        visit.page.fill(".judging input", "Ada")
        press(visit, "Plausible", "4")
        visit.until(f"{STATUS}.startsWith('Kept: plausible')")
        with visit.page.expect_response("**/api/judgements/*"):
            held[0].fulfill(json={"judgements": []})  # as it was before
        visit.page.locator(".judging select").select_option(index=1)
        visit.page.locator(".judging select").select_option(index=0)
        assert visit.page.evaluate(STATUS).startswith("Kept: plausible, confidence 4")
        assert "of this case: 1" in visit.page.text_content(".judging summary")
