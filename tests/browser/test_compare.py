"""Two models beside one another: what is said of both follows from planted maps."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the viewer needs contrafact[view]")
pytest.importorskip("playwright.sync_api", reason="tests in a browser need playwright")

from browsing import HOSTILE, SIDE, Site, entered, heatmap, planted_run, ramp, record, serving, strip
from contrafact.core import Grid, Heatmap, Image, InputError
from contrafact.io import Run, write_json
from contrafact.render.comparison import (
    Apart,
    Comparison,
    alike,
    answers_apart,
    evidence,
    overlap,
    sorted_pairs,
)
from contrafact.render.run_index import RunIndex
from contrafact.viewer import make_app
from visiting import AXE, BLUE, ORANGE, PALE, UNNAMED, WIDTHS, Visit, near

SPOT = np.zeros((SIDE, SIDE), dtype=np.float32)
SPOT[4:8, 4:8] = 1
AWAY = np.roll(SPOT, 6, axis=(0, 1))
# The second model's map beside the first's, and by how much their answers differ.
PLANTED = {"Same": (3 * SPOT, 5), "Opposite": (-SPOT, 10), "Elsewhere": (AWAY, 60), "Half": (SPOT + AWAY, 0)}
APART = {"Same": 0.0, "Opposite": 2.0, "Elsewhere": 1.0, "Half": 1 - 1 / np.sqrt(2)}


def two_models(folder: Path, names: tuple[str, str] = ("honest", "cheat")) -> Run:
    run = Run.create(folder, about={"title": "Two"})
    for level, (name, (second, gap)) in enumerate(PLANTED.items()):
        image = Image(ramp(level=level), window=(0.0, 200.0), source=f"/data/{name}.png")
        for model, values, percent in ((names[0], SPOT, 40), (names[1], second, 40 + gap)):
            made = dataclasses.replace(record("gradcam", name), model=model)
            about: dict[str, Any] = {"case": name, "model_name": model, "label": "cam", "target_name": "narrow"}
            about["answers"] = [f"narrow {percent} %", f"wide {100 - percent} %"]
            heat = Heatmap(values=values, grid=Grid((SIDE, SIDE)), record=made)
            run.add(f"{model}/{name}/cam", image, heat, **about)
            if name == "Same":
                sign = 1 if model == names[0] else -1
                frames = np.stack([ramp(level=level + sign * 10.0 * k) for k in range(5)])
                walk = strip(name, frames=frames, record=dataclasses.replace(record("walk", name), model=model))
                run.add(f"{model}/{name}/walk", image, walk, **{**about, "label": "walk"})
            scores = [{"metric": "deletion", "method": "cam", "value": 0.2 if model == names[0] else 0.5}]
            asked: dict[str, Any] = {"model": model, "image": f"{name}.png", "target": "class:1"}
            run.add_scores(f"{model}/{name}", **asked, source=f"/data/{name}.png", scores=scores)
            other = [{**scores[0], "value": 9.0}]  # of another folder's file of the same name
            run.add_scores(f"other/{model}/{name}", **asked, source=f"/other/{name}.png", scores=other)
    write_json(folder / "summary.json", {"better": {"deletion": "lower"}})
    lone = Image(ramp(level=99), source="/data/lone.png")
    run.add("lone", lone, heatmap("lone"), case="Lone", model_name=names[0], answers=[])
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return two_models(tmp_path_factory.mktemp("two") / "run")


@pytest.fixture(scope="module")
def site(run: Run) -> Iterator[Site]:
    with serving(entered(make_app(run))) as site:
        yield site


def listed(site: Site, query: str = "") -> dict[str, Any]:
    return {line["name"]: line for line in site.ask(f"/api/compare?{query}").json()["lines"]}


def test_maps_that_are_alike_by_closed_form() -> None:
    assert alike(SPOT, 3 * SPOT) == pytest.approx(1)
    assert alike(SPOT, -SPOT) == pytest.approx(-1)
    assert alike(SPOT, AWAY) == 0
    assert alike(SPOT, SPOT + AWAY) == pytest.approx(1 / np.sqrt(2))
    assert alike(SPOT, 0 * SPOT) is None and alike(SPOT, SPOT[1:]) is None
    # 16 of 256 voxels are strong, all of them above the 95th percentile of 0.
    assert overlap(SPOT, -SPOT) == {"shared": 1.0, "opposite": 1.0}
    assert overlap(SPOT, AWAY) == {"shared": 0.0, "opposite": 0.0}
    assert overlap(SPOT, SPOT + AWAY)["shared"] == pytest.approx(0.5)
    assert overlap(SPOT + AWAY, SPOT)["shared"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("origin", "steps", "change"),
    [(0, [0, 1, 2], -20), (2, [-2, -1, 0], 20), (1, [-1, 0, 3], -10), (1, [-3, 0, 1], 10)],
)
def test_of_a_strip_the_farthest_frame_counts_whichever_way_it_goes(
    tmp_path: Path, origin: int, steps: list[float], change: float
) -> None:
    frames, row = np.stack([ramp(level=level) for level in (30.0, 20.0, 10.0)]), np.array(steps, dtype=float)
    made = strip("one", frames=frames, origin=origin, requested=row, scores=row, latent_distance=np.abs(row))
    run = Run.create(tmp_path / "run", about={})
    run.add("one", Image(frames[origin]), made)
    np.testing.assert_allclose(evidence(run, run.rows()[0]), change)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (["a 60 %", "b 40 %"], ["a 45 %", "b 55 %"], Apart("a", 15.0, "points", True)),
        (["a 60 %", "b 40 %"], ["a 52 %", "b 48 %"], Apart("a", 8.0, "points", False)),
        (["x: 100 voxels", "y: 40 voxels"], ["x: 90 voxels", "y: 10 voxels"], Apart("y", 0.75, "share", None)),
        (["grade: 1.5"], ["grade: -0.5"], Apart("grade", 2.0, "units", None)),
        (["x: 1e-05"], ["x: 3e-05"], Apart("x", pytest.approx(2e-5), "units", None)),
        (["a 60 %"], ["a 30 %"], Apart("a", 30.0, "points", None)),
        (["a 60 %"], ["b 60 %"], None),
        (["nothing to read"], ["nothing to read"], None),
        ([], [], None),
    ],
)
def test_answers_apart_by_closed_form(first: list[str], second: list[str], expected: Apart | None) -> None:
    assert answers_apart(first, second) == expected


def test_the_list_is_sorted_by_disagreement(site: Site) -> None:
    # Elsewhere: 40 % against 100 %, another answer; then by points.
    assert list(listed(site)) == ["Elsewhere", "Opposite", "Same", "Half"]
    by_maps = listed(site, "sort=maps&method=cam")
    assert list(by_maps) == ["Opposite", "Elsewhere", "Half", "Same"]
    for name, line in by_maps.items():
        assert line["maps"] == pytest.approx(APART[name], abs=1e-6)
    assert list(listed(site, "sort=name")) == ["Elsewhere", "Half", "Opposite", "Same"]
    assert list(listed(site, "q=opp")) == ["Opposite"]
    about = site.ask("/api/compare?a=cheat&b=honest&method=walk").json()
    assert (about["all"], about["left"], about["chosen"]) == (4, 0, ["cheat", "honest"])  # Lone is of one model
    assert about["methods"] == ["cam", "walk"]
    assert {line["name"]: line["maps"] for line in about["lines"]}["Same"] == pytest.approx(
        2
    )  # opposite changes
    assert len(listed(site, "from=1&count=2")) == 2


def test_a_pair_says_what_both_models_say(run: Run, site: Site) -> None:
    line = listed(site)["Same"]
    about = site.ask(f"/api/compare/{line['id']}").json()
    cam, walk = about["items"]
    assert [part["row"] for part in cam["parts"]] == [0, 2]
    assert [part["shared"] for part in cam["parts"]] == [1.0, 3.0]  # one for each model
    assert cam["alike"] == pytest.approx(1) and walk["alike"] == pytest.approx(-1)
    assert cam["scores"] == [{"metric": "deletion", "better": "lower", "values": [0.2, 0.5]}]
    assert about["answers"] == [["narrow 40 %", "wide 60 %"], ["narrow 45 %", "wide 55 %"]]
    assert about["models"] == ["honest", "cheat"] and about["alone"] == []
    for case in about["cases"]:
        assert site.ask(f"/api/case/{case}").json()["name"] == "Same"
        link = f"/compare/{about['id']}?a="
        assert link in site.ask(f"/case/{case}").text


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/api/compare?a=honest&b=honest", 400, "two models; got 'honest' twice"),
        ("/api/compare?a=honset", 400, "did you mean 'honest'"),
        ("/api/compare?sort=size", 400, "sort must be one of"),
        ("/api/compare?method=lime", 400, "expected one of cam, walk"),
        ("/api/compare?from=-1", 400, "whole number"),
        ("/api/compare/0000", 404, ""),
        ("/compare/0000", 404, ""),
        ("/compare/..%2f..%2fmanifest.json", 404, ""),
        ("/compare?a=<script>", 400, "expected one of honest, cheat"),
    ],
)
def test_what_is_not_there_is_refused(site: Site, path: str, status: int, said: str) -> None:
    answer = site.ask(path)
    assert answer.status == status and said in answer.text
    assert answer.headers["content-type"].startswith("text/plain")


def test_a_run_of_one_model_has_no_such_pages(tmp_path: Path) -> None:
    with serving(entered(make_app(planted_run(tmp_path / "run")))) as site:
        assert "/compare" not in site.ask("/").text
        assert site.ask("/compare").status == 400
        [case, *_] = site.ask("/api/cases").json()["cases"]
        assert "/compare" not in site.ask(f"/case/{case['id']}").text


def test_time_bounds_an_answer_and_a_grown_run_is_read_again(tmp_path: Path) -> None:
    run = two_models(tmp_path / "run")
    comparison = Comparison(RunIndex(run))
    pairs = comparison.pairs("honest", "cheat")
    assert comparison.measure(pairs.values(), "cam", seconds=-1) == 4
    assert [comparison.apart(pair, "cam") for pair in pairs.values()] == [None] * 4
    assert comparison.measure(pairs.values(), "cam", seconds=60) == 0
    assert [p.first.name for p in sorted_pairs(pairs.values(), "order", {})] == list(PLANTED)
    made = dataclasses.replace(record("gradcam", "lone"), model="cheat")
    heat = Heatmap(values=SPOT, grid=Grid((SIDE, SIDE)), record=made)
    run.add("late", Image(ramp(level=99)), heat, case="Lone", model_name="cheat", answers=[])
    assert len(comparison.pairs("honest", "cheat")) == 5
    assert comparison.pairs("cheat", "honest").keys() == comparison.pairs("honest", "cheat").keys()


def test_a_map_that_is_lost_is_said_and_nothing_fails(tmp_path: Path) -> None:
    run = two_models(tmp_path / "run")
    (run.folder / "arrays" / run.rows()[0]["array"]).unlink()
    (run.folder / "arrays" / run.rows()[4]["array"]).write_bytes(b"PK torn")
    rows = [{**row, "record": {"method": "cam"}} for row in run.rows()[:1]]
    with (run.folder / "results.jsonl").open("a") as file:
        file.writelines(json.dumps({**row, "key": "bare", "case": "Bare"}) + "\n" for row in rows)
    with serving(entered(make_app(run))) as site:
        lines = listed(site, "sort=maps&method=cam")
        assert lines["Same"]["maps"] is None and lines["Elsewhere"]["maps"] == pytest.approx(1)
        about = site.ask(f"/api/compare/{lines['Same']['id']}").json()
        assert [item["label"] for item in about["items"]] == ["walk"]
        assert "missing or damaged" in about["failures"][0][0]["error"]
        assert site.ask("/").status == 200


def test_models_asked_about_other_targets_share_nothing(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    for model, target in (("a", "class:0"), ("b", "class:1")):
        made = dataclasses.replace(record("gradcam", "x"), model=model, target=target)
        heat = Heatmap(values=SPOT, grid=Grid((SIDE, SIDE)), record=made)
        run.add(model, Image(ramp()), heat, case="X", answers=[])  # no names: models go by their hashes
    comparison = Comparison(RunIndex(run))
    assert comparison.models() == ["a", "b"]
    [pair] = comparison.pairs("a", "b").values()
    assert not pair.shared and pair.alone == ("gradcam for class:0: a only", "gradcam for class:1: b only")
    assert comparison.apart(pair, "gradcam") is None
    with pytest.raises(InputError, match="one of a, b"):
        comparison.chosen("c", None)


def spot(pixels: np.ndarray, row: int = 6, column: int = 6) -> np.ndarray:
    size = pixels.shape[0] / SIDE
    return pixels[round(row * size), round(column * size)]


def test_the_list_leads_to_a_pair_by_keyboard(browser: Any, site: Site) -> None:
    first = "#lines tr:first-child th a"
    with Visit(browser, site) as visit:
        visit.go("/", "#lines tr")
        visit.page.click("text=Compare models")
        visit.page.wait_for_selector("#lines tr")
        assert visit.page.text_content(first) == "Elsewhere" and visit.fits()
        assert "60 points (narrow)" in visit.page.text_content("#lines tr:first-child")
        assert "different classes" in visit.page.text_content("#lines tr:first-child")
        visit.page.select_option("#sort", "maps")
        visit.until(f"document.querySelector('{first}').textContent === 'Opposite'")
        assert "2.00" in visit.page.text_content("#lines tr:first-child") and "sort=maps" in visit.page.url
        visit.page.select_option("#method", "walk")
        visit.until(f"document.querySelector('{first}').textContent === 'Same'")
        visit.page.select_option("#method", "cam")
        visit.page.select_option("#a", "cheat")  # the other becomes the second
        visit.until("document.getElementById('says-b').textContent === 'prediction of honest'")
        visit.page.evaluate("document.activeElement.blur()")
        visit.page.keyboard.press("/")
        visit.page.keyboard.type("half")
        visit.until(f"document.querySelector('{first}').textContent === 'Half'")
        visit.page.keyboard.press("Tab")
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_selector("#where")
        assert visit.page.text_content("h1") == "Half"
        visit.page.click("#back")
        visit.until(f"document.querySelector('{first}')?.textContent === 'Half'")
        visit.page.wait_for_load_state("networkidle")


def test_other_models_have_other_methods(browser: Any, tmp_path: Path) -> None:
    run = two_models(tmp_path / "run")
    for model in ("honest", "third"):
        for label in ("rise", "lime"):
            made = dataclasses.replace(record("gradcam", "Same"), model=model)
            heat = Heatmap(values=SPOT, grid=Grid((SIDE, SIDE)), record=made)
            image = Image(ramp(), source="/data/Same.png")
            run.add(f"{model}/{label}", image, heat, case="Same", model_name=model, label=label, answers=[])
    with serving(entered(make_app(run))) as site, Visit(browser, site) as visit:
        visit.go("/compare?method=walk", "#lines tr")
        visit.page.select_option("#b", "third")
        visit.until("document.getElementById('says-b').textContent === 'prediction of third'")
        assert visit.page.locator("#method option").all_text_contents() == ["rise", "lime"]
        assert visit.page.input_value("#method") == "rise" and visit.page.locator("#lines tr").count() == 1


def test_both_maps_lie_on_one_scale_and_their_difference_beside_them(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        visit.go(f"/compare/{listed(site)['Same']['id']}", "#where")
        visit.page.wait_for_load_state("networkidle")
        visit.slide("Opacity", 100)
        one, three, less = (spot(visit.pixels(k)) for k in range(3))
        # The run's scale for cam is 3: the first model's map is a third as strong, their difference -2 / 3.
        grey = (10 * 5.5) / 200 * 255
        np.testing.assert_allclose(three, ORANGE, atol=12)
        np.testing.assert_allclose(one, np.array(ORANGE) / 3 + 2 / 3 * grey, atol=12)
        np.testing.assert_allclose(less, 2 / 3 * np.array(BLUE) + 0.6 / 3 * grey, atol=12)
        assert near(visit.pixels(0)[:100], visit.pixels(0)[:100].mean(axis=-1, keepdims=True), 1).all()
        visit.choose("per model")
        visit.until("document.querySelector('.legend').textContent.includes('magnitudes cannot')")
        np.testing.assert_allclose(spot(visit.pixels(0)), ORANGE, atol=12)
        assert np.ptp(spot(visit.pixels(2))) <= 2  # the same shape: nothing between them
        visit.choose("common")
        visit.page.focus(".stages")
        visit.page.keyboard.press("h")
        for k in range(3):
            assert np.ptp(spot(visit.pixels(k))) <= 2
        visit.page.keyboard.press("h")
        assert near(visit.pixels(0), (255, 255, 255), 2).sum() > 100  # the outline of the strongest 10 %
        visit.slide("Contour", 100)
        assert visit.page.text_content("label.slider:has-text('Contour') output") == "off"
        assert not near(visit.pixels(0), (255, 255, 255), 2).any()
        visit.slide("Contour", 4)
        assert near(visit.pixels(0), (255, 255, 255), 2).sum() > 100
        text = visit.page.text_content("main")
        assert "honest and cheat: similar" in text and "cosine similarity" in text
        assert "0.2 (better)" in text and "0.5 (better)" not in text


def test_results_of_a_part_of_the_image_say_so(browser: Any, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={"title": "Part"})
    image = Image(ramp(), window=(0.0, 200.0), source="/data/part.png")
    for model in ("honest", "cheat"):
        about: dict[str, Any] = {"case": "Part", "model_name": model, "target_name": "narrow", "answers": []}
        for made in (heatmap("part"), strip("part")):
            details = {"region": 0.06} if model == "honest" else {}
            own = dataclasses.replace(made.record, model=model, details=details)
            run.add(f"{model}/{own.method}", image, dataclasses.replace(made, record=own), **about)
    with serving(entered(make_app(run))) as site, Visit(browser, site) as visit:
        visit.go(f"/compare/{listed(site)['Part']['id']}", "#where")
        visit.painted()
        said = visit.page.text_content("main")
        assert "honest: the map is limited to 6 % of the image: nothing outside is shown." in said
        assert said.count("The change is limited to 6 % of the image: nothing outside changes.") == 1
        assert "cheat: the map is" not in said
        assert min(_box(figure)["width"] for figure in visit.page.locator(".stages figure").all()) >= 480
        assert min(box["width"] for box in map(_box, visit.page.locator(".stages.two canvas").all())) >= 480


def _box(canvas: Any) -> Any:
    return canvas.bounding_box()


def test_both_strips_move_together(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        visit.go(f"/compare/{listed(site)['Same']['id']}", "#where")
        visit.page.wait_for_load_state("networkidle")
        column, level = slice(250, 262), 75 / 200 * 255
        for way, change in ((1.0, 40), (0.5, 20), (0.0, 0)):
            visit.slide("Position", way)
            assert visit.pixels(3)[20, column].mean() == pytest.approx(level + change / 200 * 255, abs=4)
            assert visit.pixels(4)[20, column].mean() == pytest.approx(level - change / 200 * 255, abs=4)
        visit.slide("Position", 1)
        visit.choose("change")
        brighter, darker = visit.pixels(3), visit.pixels(4)
        assert (brighter[..., 0] > brighter[..., 2]).all() and (darker[..., 2] > darker[..., 0]).all()
        assert "brighter by 50" in visit.page.text_content("main") and "opposite" in visit.page.text_content(
            "main"
        )


def test_volumes_of_both_models_move_through_their_slices(browser: Any, tmp_path: Path) -> None:
    run, values = Run.create(tmp_path / "run", about={}), np.zeros((5, SIDE, SIDE), dtype=np.float32)
    values[2, 4:8, 4:8] = 1  # in one slice only
    grid = Grid(values.shape)
    image = Image(np.full((1, *values.shape), 100, dtype=np.float32), grid=grid, window=(0.0, 200.0))
    for model, sign in (("a", 1), ("b", -1)):
        made = dataclasses.replace(record("gradcam", "v"), model=model)
        heat = Heatmap(values=sign * values, grid=grid, record=made)
        run.add(model, image, heat, case="V", model_name=model, answers=[])
    with serving(entered(make_app(run))) as site, Visit(browser, site) as visit:
        [line] = listed(site).values()
        assert line["maps"] == pytest.approx(2)
        visit.go(f"/compare/{line['id']}", "#where")
        visit.page.wait_for_load_state("networkidle")
        first, second = (visit.pixels(k)[..., 0] - visit.pixels(k)[..., 2] for k in (0, 1))
        assert first.max() > 60 > first.min() > -5 and second.min() < -60  # orange and blue
        visit.slide("Slice", 0)
        visit.page.wait_for_load_state("networkidle")
        assert all(np.ptp(visit.pixels(k), axis=-1).max() <= 2 for k in range(3))


@pytest.mark.parametrize("width", WIDTHS)
def test_no_barrier_and_words_stay_words(browser: Any, tmp_path: Path, width: int) -> None:
    run = two_models(tmp_path / "run", (HOSTILE, "cheat"))
    with serving(entered(make_app(run))) as site, Visit(browser, site, width) as visit:
        same = listed(site)["Same"]["id"]
        for path, wait in (("/compare", "#lines tr"), (f"/compare/{same}", "#where")):
            visit.go(path, wait)
            visit.page.wait_for_load_state("networkidle")
            assert (
                HOSTILE in visit.page.text_content("body")
                and visit.page.locator("main img[src=x]").count() == 0
            )
            assert visit.fits(), path
            assert visit.page.evaluate(UNNAMED) == [] and visit.page.evaluate(PALE) == []
            if AXE.exists():
                visit.page.evaluate(AXE.read_text())
                found = visit.page.evaluate("axe.run()")["violations"]
                assert [(f["id"], f["nodes"][0]["html"]) for f in found] == [], path
        assert json.loads(site.ask("/api/compare").text)["models"] == [HOSTILE, "cheat"]


def test_the_first_two_models_that_share_an_image_are_compared_at_first(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    for model, levels in (("alone", (9,)), ("one", (1, 2)), ("two", (2, 3))):
        for level in levels:
            made = heatmap(f"image {level}")
            record = dataclasses.replace(made.record, model=model)
            image = Image(ramp(level=level), window=(0.0, 200.0), source=f"{level}.png")
            about = {"model_name": model, "case": f"image {level}"}
            run.add(f"{model} {level}", image, dataclasses.replace(made, record=record), **about)
    comparison = Comparison(RunIndex(run))
    assert comparison.models() == ["alone", "one", "two"]
    assert comparison.chosen(None, None) == ("one", "two") == comparison.chosen(None, "two")
    assert comparison.chosen("two", None) == ("two", "one")
    assert comparison.chosen("alone", "two") == ("alone", "two")
    assert comparison.chosen("alone", None) == ("alone", "one")  # none shares an image: the next


def test_the_list_leads_to_the_comparison_only_where_models_share_an_image(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    for model, level in (("one", 1), ("two", 2)):
        made = heatmap(f"image {level}")
        record = dataclasses.replace(made.record, model=model)
        image = Image(ramp(level=level), window=(0.0, 200.0), source=f"{level}.png")
        run.add(model, image, dataclasses.replace(made, record=record), model_name=model, case=f"image {level}")
    with serving(entered(make_app(run))) as site:
        assert "Compare models" not in site.ask("/").text
        image = Image(ramp(level=1), window=(0.0, 200.0), source="1.png")
        record = dataclasses.replace(heatmap("image 1").record, model="two")
        run.add("both", image, dataclasses.replace(made, record=record), model_name="two", case="image 1")
        assert "Compare models" in site.ask("/").text
