"""The first screen of the report: its sentence, its pictures, and what is there without a counterfactual."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from browsing import DOUBT, PASSED, heatmap, planted_run, ramp, strip
from contrafact.core import Grid, Image
from contrafact.io import Run
from contrafact.render.difference import enlarged, half_share, outline
from contrafact.render.outcome import sentence
from contrafact.report.page import write_report

SECOND = {"name": "second model", "value": 1.0, "limit": 0.5, "passed": True, "sentence": "It follows."}

TWO: dict[str, Any] = {  # frames, from 12 % to 88 %
    "requested": np.array([0.0, 4.0]),
    "scores": np.array([-2.0, 2.0]),
    "latent_distance": np.array([0.0, 1.0]),
}


def first_of(run: Run) -> str:
    """The HTML of the first section of the report."""
    page = write_report(run).read_text(encoding="utf-8")
    return page[page.index("<main") : page.index("</section>")]


def words_of(part: str) -> str:
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", part).split()))


def pictures_of(part: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', part)
    return [np.asarray(Picture.open(io.BytesIO(base64.b64decode(one))).convert("RGB")) for one in found]


def one_run(folder: Path, *results: tuple[str, Any, dict[str, Any]]) -> Run:
    """A run with these results, each (case, result, fields of its row)."""
    run = Run.create(folder, about={"title": "First"})
    for number, (case, result, about) in enumerate(results):
        image = Image(ramp(), window=(0.0, 200.0), source=f"/data/{case}.png")
        fields = {"case": case, "answers": ["narrow 12 %"], "target_name": "narrow", **about}
        run.add(f"{number}", image, result, **fields)
    return run


def test_the_question_comes_first_and_the_prose_after_the_cases(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run")
    page = write_report(run).read_text(encoding="utf-8")
    places = [
        page.index(words) for words in ("What would change", "Failures and warnings</h2>", ">Case 1</h2>")
    ]
    assert places == sorted(places)
    assert page.index("not a medical device") > page.rindex('<section class="card case"')
    first = first_of(run)
    assert 'class="still"' not in first and "<script" not in first  # it is there without scripts
    assert "white line" not in first  # the whole image changes alike
    assert 'href="#case-' in first and "Case 1" in first  # the first of the run, not of the page
    assert "Case 3" not in first


def test_the_sentence_and_the_pictures_show_what_was_planted(tmp_path: Path) -> None:
    frames = np.stack([ramp(), ramp()])
    frames[1, :, :4, :4] += 30.0  # 16 of 256 pixels, all alike
    change = strip("c", frames=frames, **TWO)
    first = first_of(one_run(tmp_path / "run", ("c", change, {"trust": [SECOND, DOUBT]})))
    said = words_of(first)
    assert (
        "Prediction narrow: 12 % → 88 %, confirmed by a second model. "
        "Half of the change lies in 3 % of the image." in said
    )
    assert "12\u00a0% → 88\u00a0%" in first  # no number is parted from its unit
    assert "Not passed: robustness to noise." in said
    assert re.findall(r'<b class="mark[^"]*">([^<]+)', first) == ["original", "synthetic", "difference"]
    assert "original narrow: 12 %" in said and "synthetic narrow: 88 %" in said
    assert "full colour: ±50, 25 % of the display window; white line: the 10 % of the image" in said
    assert "darker: 50" in said and "brighter: 50" in said
    original, synthetic, difference = pictures_of(first)
    np.testing.assert_array_equal(original[0, :, 0], np.round(np.arange(16) * 10 / 200 * 255))
    moved = np.argwhere((original != synthetic).any(axis=-1))
    assert moved.min() == 0 and moved.max() == 3 and len(moved) == 16
    line = (difference == (245, 248, 250)).all(axis=-1)
    rows, columns = np.nonzero(line)
    assert max(difference.shape) >= 512
    assert 0 < max(rows.max(), columns.max()) / 512 * 16 < 5.5  # around the corner that changed
    inside, outside = difference[32, 32].astype(int), difference[400, 400].astype(int)
    assert inside[0] > inside[2] + 50  # orange: brighter
    assert len(set(outside)) == 1  # grey


def test_each_model_has_a_row_of_its_own(tmp_path: Path) -> None:
    def of(model: str) -> Any:
        made = strip("c")
        return dataclasses.replace(made, record=dataclasses.replace(made.record, model=model))

    results = [(f"case {m}{n}", of(m), {"model_name": m}) for m in ("honest", "cheat") for n in (1, 2)]
    first = first_of(one_run(tmp_path / "run", *results))
    assert first.count('<p class="lead') == 2
    assert first.count("<figure>") == 6
    assert "case honest1 · model honest" in words_of(first) and "case cheat1 · model cheat" in words_of(first)


@pytest.mark.parametrize("searched", [True, False])
def test_without_a_counterfactual_the_heatmap_stands_there(tmp_path: Path, searched: bool) -> None:
    results: list[Any] = [("a", heatmap("a"), {}), ("b", heatmap("b"), {})]
    if searched:
        results.append(("a", strip("a", outcome="budget", scores=np.arange(5.0) / 4 - 2), {}))
    first = first_of(one_run(tmp_path / "run", *results))
    said = words_of(first)
    assert ("goal lies beyond the plausibility budget (narrow: 12 % → 27 %)." in said) == searched
    assert ("No counterfactual was computed." in said) != searched
    assert "Prediction: narrow 12 %. The heatmap shows where the model looks, by gradcam." in said
    assert ("Nothing was found that changes the prediction." in said) == searched
    assert re.findall(r'<b class="mark[^"]*">([^<]+)', first) == ["original", "heatmap"]
    assert "for narrow: 1" in said


@pytest.mark.parametrize(
    ("second", "tone", "warns"),
    [(None, "plain", False), ([-2.0, -1, 0, 1, 2], "good", False), ([2.0] * 5, "warn", True)],
)
def test_a_flip_that_a_second_model_does_not_follow_is_a_warning(
    tmp_path: Path, second: list[float] | None, tone: str, warns: bool
) -> None:
    made = strip("a", second=None if second is None else np.array(second))
    first = first_of(one_run(tmp_path / "run", ("a", made, {})))
    assert f'<p class="lead verdict {tone}">' in first
    assert ("A second model does not follow" in first) is warns


def test_checks_that_did_not_pass_are_named(tmp_path: Path) -> None:
    card = [{**DOUBT, "name": "another engine"}, {**DOUBT, "name": "second model"}, PASSED]
    first = words_of(first_of(one_run(tmp_path / "run", ("a", strip("a"), {"trust": card}))))
    assert "Not passed: agreement with another engine." in first


def test_a_flip_that_misses_the_goal_is_not_called_nothing(tmp_path: Path) -> None:
    short = strip("a", outcome="budget")  # from 12 % to 83 %
    first = words_of(first_of(one_run(tmp_path / "run", ("a", short, {}))))
    assert "The prediction flips, but the goal was not reached." in first and "Nothing was found" not in first


def test_a_map_of_a_part_of_the_image_says_so(tmp_path: Path) -> None:
    heat = heatmap("a")
    part = dataclasses.replace(heat, record=dataclasses.replace(heat.record, details={"region": 0.06}))
    first = words_of(first_of(one_run(tmp_path / "run", ("a", part, {}))))
    assert "limited to 6 % of the image: nothing outside is shown" in first
    assert "shows the evidence in this part alone, and says nothing of the rest" in first
    lost = strip("b", outcome="no_change", scores=np.full(5, -2.0))
    lost = dataclasses.replace(lost, record=dataclasses.replace(lost.record, details={"region": 0.06}))
    first = words_of(first_of(one_run(tmp_path / "lost", ("b", lost, {}))))
    assert "Nothing was found in the 6 % of the image that may change. The prediction does not respond" in first


def test_the_first_case_with_a_counterfactual_is_taken(tmp_path: Path) -> None:
    lost = strip("a", outcome="budget", scores=np.arange(5.0) / 4 - 2)
    first = words_of(first_of(one_run(tmp_path / "run", ("a", lost, {}), ("b", strip("b"), {}))))
    assert "narrow: 12 % → 83 %" in first
    assert "b : all results" in first


def test_nothing_found_is_said(tmp_path: Path) -> None:
    lost = strip("a", outcome="no_change", scores=np.full(5, -2.0))
    first = first_of(one_run(tmp_path / "lost", ("a", lost, {})))
    assert "changes the prediction. The prediction does not respond to this change" in words_of(first)
    assert "<figure>" not in first
    run = one_run(tmp_path / "damaged", ("a", heatmap("a"), {}))
    for path in (run.folder / "arrays").iterdir():
        path.write_bytes(b"damaged")
    assert "Nothing was found: no result of this run can be shown." in words_of(first_of(run))


def test_a_synthetic_original_is_marked_as_such(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    run.add("a", Image(ramp(), window=(0.0, 200.0), about={"synthetic": True}), strip("a"), case="a")
    assert "original (itself a synthetic image)" in first_of(run)


def test_a_volume_shows_one_slice_and_counts_every_voxel(tmp_path: Path) -> None:
    values = np.tile(ramp()[:, None], (1, 4, 1, 1))
    frames = np.stack([values, values])
    frames[1, :, 2, :8, :8] += 60.0  # 64 of 1024 voxels
    grid = Grid((4, 16, 16))
    change: dict[str, Any] = {"frames": frames, "reconstruction": values, "grid": grid}
    change |= TWO
    run = Run.create(tmp_path / "run", about={})
    image = Image(values, grid=grid, window=(0.0, 200.0))
    run.add("v", image, strip("v", **change), case="v", target_name="narrow")
    said = words_of(first_of(run))
    assert "Half of the change lies in 3 % of the image." in said
    assert "slice 3 of 4, with the largest change" in said


@pytest.mark.parametrize(
    ("sizes", "share"),
    [
        ([1, 1, 1, 1], 0.5),
        ([0, 0, 0, -8], 0.25),
        ([3, 1, 1, 1], 0.25),
        ([2, -2, 1, 1, 0, 0], 2 / 6),
        ([0, 0], 0),
    ],
)
def test_half_of_a_change(sizes: list[float], share: float) -> None:
    assert half_share(np.array(sizes)) == pytest.approx(share)
    assert half_share(np.array(sizes).reshape(1, -1)) == pytest.approx(share)


def test_the_outline_is_the_edge_of_the_strongest_tenth() -> None:
    change = np.zeros((20, 20))
    change[5:11, 5:11] = -3.0  # 36 of 400 pixels
    line = outline(change)
    assert line[5, 5:11].all() and line[5:11, 10].all()
    assert not line[6:10, 6:10].any()
    assert line.sum() == 20
    assert not outline(np.zeros((4, 4))).any()
    assert not outline(np.full((4, 4), 2.0)).any()  # nothing is the strongest
    large = enlarged(change[None], 50)
    assert large.shape == (1, 60, 60)
    assert large.min() == -3.0


def test_a_sentence_warns_of_a_reconstruction_that_moves_the_prediction() -> None:
    row: dict[str, Any] = {
        "record": {"target": "grade"},
        "scores": [1.0, 3.0],
        "origin": 0,
        "above_tolerance": True,
        "outcome": "reached",
    }
    assert sentence(row, 0.18) == (
        "Prediction grade: 1.00 → 3.00 grades, not checked by a second model. Half of the change lies in 18 % "
        "of the image. Generating this image without a change moves the prediction: do not rely on it."
    )
