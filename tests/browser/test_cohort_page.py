"""The cohort page above its list, in a browser: what is counted leads to its cases, and the filter stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the pages need contrafact[view]")
pytest.importorskip("playwright.sync_api", reason="tests in a browser need playwright")

from browsing import HOSTILE, Site, entered, heatmap, planted_run, ramp, serving
from contrafact.core import Image
from contrafact.io import Case, Run
from contrafact.io.run_cohort import store_cohort
from contrafact.viewer import make_app
from labelled import labelled_run
from visiting import Visit, looks_like_a_page, move_all

WIDTHS = (1920, 1280, 390)
LINES = "document.querySelectorAll('#lines tr').length"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return labelled_run(tmp_path_factory.mktemp("cohort") / "run")


@pytest.fixture(scope="module")
def site(run: Run) -> Iterator[Site]:
    with serving(entered(make_app(run))) as site:
        yield site


@pytest.mark.parametrize("width", WIDTHS)
def test_every_control_above_the_list_moves(browser: object, site: Site, width: int) -> None:
    with Visit(browser, site, width) as visit:
        visit.go("/", "#means summary")
        visit.page.click("#means summary")
        visit.page.wait_for_selector("#means figure")
        moved = move_all(visit, leave="#above summary")
        # Words, show, sort, and the mean changes' own choice; links of cells, figures, tiles and cases.
        assert moved["search"] == 1 and moved["select"] == 3 and moved["a"] > 45
        visit.page.wait_for_selector("#means figure")
        visit.page.wait_for_load_state("networkidle")
        looks_like_a_page(visit)


def test_a_cell_filters_the_list_and_its_cases_keep_the_filter(browser: object, site: Site) -> None:
    with Visit(browser, site) as visit:
        visit.go("/", "#truth")
        assert "30 of 39 cases right (78 % over 20 patients" in visit.page.text_content("#truth summary")
        cell = visit.page.locator("#truth .is-wrong")
        assert cell.locator("img").count() == 3 and "9" in cell.locator(".count").text_content()
        cell.click()
        visit.until(f"{LINES} === 9")
        assert visit.page.text_content("#chosen b") == "labelled wide, predicted narrow"
        assert "truth=wide" in visit.page.url and "predicted=narrow" in visit.page.url
        visit.page.click("#lines tr a")
        visit.page.wait_for_selector(".film")
        assert visit.page.text_content("#place") == "1 of 9"
        first = visit.page.text_content("h1")
        visit.page.keyboard.press("n")
        visit.page.wait_for_selector("#place:has-text('2 of 9')")
        assert visit.page.text_content("h1") != first
        visit.page.keyboard.press("Shift+N")
        visit.page.wait_for_selector("#place:has-text('1 of 9')")
        assert visit.page.text_content("h1") == first
        visit.page.keyboard.press("Shift+N")  # there is none before the first
        visit.page.wait_for_selector(".film")
        visit.page.click("#back")
        visit.until(f"{LINES} === 9")
        visit.page.get_by_role("button", name="Show all cases").click()
        visit.until(f"{LINES} === 40")
        assert visit.page.locator("#chosen").is_hidden() and "truth" not in visit.page.url


def test_letters_in_a_field_turn_no_page(browser: object, tmp_path: Path) -> None:
    with serving(entered(make_app(planted_run(tmp_path / "run")))) as site, Visit(browser, site) as visit:
        visit.go("/", "#lines tr a")
        visit.page.click("#lines tr a")
        visit.page.wait_for_selector(".film")
        visit.page.focus("#parts select")
        visit.page.keyboard.press("n")
        assert visit.page.text_content("#place") == "1 of 3"
        visit.page.focus(".frames input")
        visit.page.keyboard.press("n")
        visit.page.wait_for_selector("#place:has-text('2 of 3')")
        visit.page.wait_for_selector(".film")


def test_figures_of_a_subgroup_lead_to_the_cases_behind_them(browser: object, site: Site) -> None:
    with Visit(browser, site) as visit:
        visit.go("/", "#subgroups")
        text = visit.page.text_content("#subgroups")
        assert "flips confirmed by a second model 100 %, others 0 %" in text
        assert "only 5 patients: too few" in text and "No subgroups: note (39 different values)" in text
        visit.page.locator("#subgroups").get_by_role("link", name="19 not confirmed").last.click()
        visit.until(f"{LINES} === 19")
        assert "with site B" in visit.page.text_content("#chosen b")
        visit.page.click("#outside a")
        visit.until("document.querySelector('#chosen b').textContent.includes('outside the anatomy')")
        assert "In 19 of 39 flips most of the change lies outside" in visit.page.text_content("#outside")


def test_mean_changes_are_computed_when_one_asks_for_them(browser: object, site: Site) -> None:
    with Visit(browser, site) as visit:
        visit.go("/", "#means")
        visit.page.wait_for_load_state("networkidle")
        assert not any("/api/means" in url or "/mean/" in url for url in visit.asked)
        visit.page.click("#means summary")
        visit.page.wait_for_selector("#means figure")
        assert "full colour is ±5 % of the display window" in visit.page.text_content("#means [role=status]")
        assert "9 cases, so single ones stand out" in visit.page.text_content("#means .tiles")
        visit.page.select_option("#means select", "site")
        visit.until("document.querySelectorAll('#means figure').length === 4")
        visit.page.locator("#means figcaption a").first.click()
        visit.until(f"{LINES} === 20")


def test_a_run_without_labels_has_no_empty_boxes(browser: object, tmp_path: Path) -> None:
    with serving(entered(make_app(planted_run(tmp_path / "run")))) as site, Visit(browser, site, 390) as visit:
        visit.go("/", "#means")
        assert visit.page.locator("#above > *").count() == 1
        visit.page.click("#means summary")
        visit.page.wait_for_selector("#means figure")
        looks_like_a_page(visit)


def test_of_two_models_one_is_shown_and_its_links_name_it(browser: object, tmp_path: Path) -> None:
    run = labelled_run(tmp_path / "run", 2)
    lines = [json.loads(line) for line in (run.folder / "results.jsonl").read_text().splitlines()]
    for model in ("first", "second"):
        for line in lines:
            line["key"], line["model_name"] = f"{model}/{line['key'].split('/', 1)[1]}{line['case']}", model
            line["record"]["model"] = model
        text = "".join(json.dumps(line) + "\n" for line in lines)
        path = run.folder / "results.jsonl"
        path.write_text(text if model == "first" else path.read_text() + text)
    with serving(entered(make_app(run))) as site, Visit(browser, site) as visit:
        visit.go("/", "#truth")
        visit.until(f"{LINES} === 8")
        visit.page.select_option("#above select", "second")
        visit.until("!!document.querySelector('#truth a[href*=\"model=second\"]')")
        visit.until("document.activeElement === document.querySelector('#above select')")  # for the keyboard
        visit.page.click("#truth a")
        visit.until(f"{LINES} === 2")
        assert visit.page.text_content("#chosen b").startswith("of the model second, labelled wide")
        visit.page.wait_for_load_state("networkidle")
        looks_like_a_page(visit)


def test_hostile_labels_do_nothing(browser: object, tmp_path: Path) -> None:
    run = labelled_run(tmp_path / "run", 2, names=("wide", HOSTILE))
    sources = [f"/data/knee{n}.png" for n in range(1, 4)]
    store_cohort(
        run,
        {
            source: Case(
                path=Path(source), patient=HOSTILE, label=HOSTILE, extra={HOSTILE: f"{HOSTILE}{n % 2}"}
            )
            for n, source in enumerate(sources)
        },
    )
    with serving(entered(make_app(run))) as site, Visit(browser, site) as visit:
        visit.go("/", "#truth")
        visit.page.click("#means summary")
        visit.page.wait_for_selector("#means figure")
        visit.page.click("#truth a")
        visit.page.wait_for_selector("#chosen b")
        assert HOSTILE in visit.page.text_content("#chosen b")
        assert visit.page.locator("img[onerror], main script").count() == 0


def test_a_share_that_is_not_whole_is_never_rounded_to_all(browser: object, tmp_path: Path) -> None:
    run, known = Run.create(tmp_path / "run", about={}), {}
    for number in range(201):
        source = f"/data/knee{number}.png"
        about = {"case": f"Case {number}", "answers": ["narrow 88 %"], "target_name": "narrow"}
        run.add(source, Image(ramp(level=number), source=source), heatmap(source), **about)
        known[source] = Case(path=Path(source), patient=source, label="no" if number == 0 else "yes")
    store_cohort(run, known)
    with serving(entered(make_app(run))) as site, Visit(browser, site) as visit:
        visit.go("/", "#truth")
        assert "200 of 201 cases right (>99 %, 95 % interval 97 to >99 %)" in visit.page.text_content(
            "#truth summary"
        )
