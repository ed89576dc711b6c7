"""Counterfactuals in words: headings from the outcome, levels before and after, kinds of frames."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image as Picture
from PIL import ImageSequence

from browsing import PASSED, SIDE, planted_run, ramp, strip
from contrafact.core import Image, Record
from contrafact.export.paper_files import STRIP
from contrafact.export.run_files import export_run
from contrafact.io import Run
from contrafact.metrics import trust_card_of_strip
from contrafact.render.case import strip_about
from contrafact.render.difference import difference_scale, difference_words
from contrafact.render.outcome import (
    ALONE,
    NOTHING,
    PARTLY,
    before_after,
    ending,
    flips,
    frame_table,
    frame_titles,
    heading,
    level,
    second_words,
    sentence,
    tone,
    verdict,
)
from contrafact.render.text import trust_words
from contrafact.report.notebook import row_of
from contrafact.report.page import write_report

LOGIT = float(np.log(9))  # 90 %


def row(stopped: str, scores: list[float], target: str = "class:1", **more: Any) -> dict[str, Any]:
    count = len(scores)
    plain: dict[str, Any] = {
        "outcome": stopped,
        "scores": scores,
        "requested": [float(k) for k in range(count)],
    }
    plain |= {"origin": 0, "record": {"target": target, "method": "latent-walk"}, "target_name": "narrow"}
    return plain | {"latent_distance": [0.0] * count} | more


def test_a_flip_in_a_box_that_misses_the_goal_is_not_told_as_nothing() -> None:
    box = {"box": {"mode": "only"}}
    missed = row("search", [LOGIT, -1.0], **box)
    assert heading(missed).startswith("Possible in this region in part: the prediction flips, but the search")
    assert ending(missed) == "the prediction flips, but the search came to its end before the goal"
    assert ending(row("search", [LOGIT, 1.0], **box)).startswith("no counterfactual was found")
    assert ending(row("reached", [LOGIT, -LOGIT])) == "the goal was reached with this change"


@pytest.mark.parametrize(
    ("places", "words"),
    [
        (
            {"lateral joint space": 0.2, "medial joint space": 0.61},
            ", mainly the medial joint space (61 % of the change).",
        ),
        ({"the patella": 0.3, "joint": 0.1}, "; 30 % of all change lies in the patella."),
        ({}, "."),
        (None, "."),
        ({"joint": "much", "bone": 7.0, "air": 0.0}, "."),  # of a run that somebody else wrote
        (["joint"], "."),
    ],
)
def test_the_sentence_says_where_the_change_lies_if_regions_have_names(places: Any, words: str) -> None:
    made = row("reached", [-LOGIT, LOGIT], above_tolerance=False, change_places=places)
    assert sentence(made, 0.18).endswith(f"Half of the change lies in 18 % of the image{words}")


@pytest.mark.parametrize(
    ("stopped", "scores", "more", "words"),
    [
        ("reached", [-LOGIT, LOGIT], {"second": [-1.0, 1.0], "confirmed": True}, ""),
        ("reached", [-LOGIT, LOGIT], {"second": [1.0, 1.0], "confirmed": False}, ALONE),
        ("reached", [-LOGIT, LOGIT], {}, ""),
        ("already", [LOGIT, LOGIT], {}, ""),
        ("search", [-LOGIT, -1.0], {"second": [1.0, 1.0], "confirmed": False}, NOTHING),
        ("search", [-LOGIT, 1.0], {"second": [1.0, 1.0], "confirmed": False}, PARTLY),
        ("steps", [-LOGIT, -1.0], {}, ""),
        ("reached", [-LOGIT, LOGIT], {"picture": True}, ""),
    ],
)
def test_what_is_said_before_all_else(
    stopped: str, scores: list[float], more: dict[str, Any], words: str
) -> None:
    assert verdict(row(stopped, scores, **more)) == words


@pytest.mark.parametrize(
    ("stopped", "scores", "start"),
    [
        ("reached", [-LOGIT, LOGIT], "The prediction flips (narrow: 10 % → 90 %)"),
        ("reached", [0.5, LOGIT], "The goal was reached; the prediction does not flip"),
        ("already", [LOGIT, LOGIT], "The prediction already met the goal: nothing was changed (narrow: 90 %)"),
        ("budget", [-LOGIT, -1.0], "No counterfactual was found: the goal lies beyond"),
        ("search", [-LOGIT, -1.0], "No counterfactual was found: the search"),
        ("no_change", [-LOGIT, -LOGIT], "No counterfactual was found: the prediction does not respond"),
        ("steps", [-LOGIT, LOGIT], "Fixed steps, and the prediction flips"),
        ("steps", [-LOGIT, -1.0], "Fixed steps ("),
    ],
)
def test_headings_say_what_came_of_it(stopped: str, scores: list[float], start: str) -> None:
    assert heading(row(stopped, scores)).startswith(start)


CHECK = {**PASSED, "name": "second model"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "Not checked by a second model."),
        ({"second": None, "confirmed": None}, "Not checked by a second model."),
        ({"second": [-1.0, 1.0], "confirmed": True}, "Confirmed by a second model."),
        ({"second": [-1.0, -1.0], "confirmed": False}, "Not confirmed by a second model."),
        ({"second": [-1.0, 1.0], "confirmed": None}, "Evaluated by a second model; there is no flip"),
        ({"trust": [CHECK]}, "Confirmed by a second model."),
        ({"trust": [{**CHECK, "passed": False}]}, "Not confirmed by a second model."),
        ({"trust": [{**CHECK, "passed": None}]}, "Not checked by a second model."),
        ({"trust": [CHECK], "second": [1.0, 1.0], "confirmed": False}, "Confirmed by a second model."),
        (
            {"trust": [{**CHECK, "passed": False}], "second": [-1.0, 1.0], "confirmed": True},
            "Not confirmed by a second model.",
        ),
        (
            {"trust": [{**CHECK, "name": "goal"}], "second": [-1.0, 1.0], "confirmed": True},
            "Confirmed by a second model.",
        ),
        ({"picture": True}, ""),
    ],
)
def test_whether_a_second_model_confirms_is_said_also_where_none_was_asked(
    more: dict[str, Any], said: str
) -> None:
    found = second_words(row("reached", [-LOGIT, LOGIT], **more))
    assert found.startswith(said) if said else found == ""
    if any(check["name"] == "second model" for check in more.get("trust", ())):
        assert "no flip" in second_words(row("reached", [0.5, LOGIT], **more))


@pytest.mark.parametrize(
    ("second", "said", "tone"),
    [
        (None, "Not checked by a second model.", "plain"),
        ([-1.0, 0, 0, 0, 1.0], "Confirmed by a second model.", "good"),
        ([1.0, 1, 1, 1, 2.0], "Not confirmed by a second model.", "warn"),
    ],
)
def test_pages_say_first_whether_a_second_model_confirms(
    second: list[float] | None, said: str, tone: str, tmp_path: Path
) -> None:
    made = strip("a", second=None if second is None else np.array(second))
    run = Run.create(tmp_path / "run", about={})
    run.add("a", Image(ramp(), window=(0, 200)), made, case="a")
    page = write_report(run).read_text()
    assert strip_about(row_of(made), made.grid, made.frames)["tone"] == tone  # of the viewer
    assert f'<p class="verdict {tone}"><b>{said}</b> The goal was reached' in " ".join(page.split())
    assert f"83 %, {said[0].lower()}{said[1:]}" in str(made._repr_html_()).partition("<img")[0]
    assert ("1 of 1 counterfactuals are not checked by a second model." in page) is (second is None)
    assert ("1 of 1 counterfactuals are not confirmed by a second model." in page) is (tone == "warn")


def test_targets_without_a_probability_have_levels_in_their_unit() -> None:
    assert before_after(row("reached", [1.2, 2.85], "grade")) == "1.20 → 2.85 grades"
    assert before_after(row("reached", [120.0, 3456.0], "volume:1")) == "120.00 → 3456 voxels"
    assert before_after(row("reached", [0.1, 0.9], "probability:1")) == "10 % → 90 %"
    assert before_after(row("reached", [-LOGIT, LOGIT], "margin:1,0")) == "10 % → 90 %"
    assert flips(row("reached", [1.2, 2.85], "grade")) is None
    assert level("class:1", 20.0) == ">99 %" and level("class:1", -20.0) == "<1 %"
    assert "does not flip" not in heading(row("reached", [1.2, 2.85], "grade"))


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (1e-9, "<1 %"),
        (0.005, "<1 %"),
        (0.0051, "1 %"),
        (0.5, "50 %"),
        (0.9949, "99 %"),
        (0.995, ">99 %"),
        (1 - 1e-9, ">99 %"),
        (1.0, "100 %"),
    ],
)
def test_only_what_is_certain_is_0_or_100_percent(share: float, text: str) -> None:
    assert level("probability:1", share) == text


def test_nothing_that_was_not_changed_is_green(tmp_path: Path) -> None:
    assert tone(row("already", [3.0]), doubtful=False) == "plain"
    assert tone(row("reached", [0.0, 3.0]), doubtful=False) == "plain"  # no second model was asked
    assert tone(row("reached", [-1.0, 3.0], second=[-1.0, 1.0], confirmed=True), doubtful=False) == "good"
    assert tone(row("reached", [3.0]), doubtful=True) == "warn"
    names = ("goal", "length", "second model")
    card = [{**PASSED, "name": name} for name in names]
    same = np.full(5, 2.5)
    still = strip(
        "a",
        frames=np.stack([ramp()] * 5),
        requested=same * 0,
        scores=same,
        outcome="already",
        latent_distance=same * 0,
    )
    run = Run.create(tmp_path / "run", about={})
    run.add("a", Image(ramp(), window=(0, 200)), still, case="a", trust=card)
    assert trust_words(run.rows()[0])["passed"] == []
    page = write_report(run).read_text()
    assert "The prediction already met the goal: nothing was changed (class:1: 92 %)" in page
    assert 'class="verdict plain"' in page and 'class="verdict good"' not in page and "✓" not in page
    assert "1 of 1 searches changed nothing: the prediction already met the goal." in page
    assert "<td>1 of 1</td>" not in page  # no check counts as passed
    made = {check.name: check.passed for check in trust_card_of_strip(still)}
    assert made["goal"] is None and made["length"] is None


def test_a_probability_is_shown_and_logits_are_folded_away(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    walk = strip("a", scores=np.linspace(-LOGIT, LOGIT, 5), requested=np.linspace(0, 4.0, 5))
    run.add("a", Image(ramp(), window=(0, 200)), walk, case="a", target_name="narrow")
    page = write_report(run).read_text()
    before, _, after = page.partition('<details class="details">')
    assert (
        "narrow: 10 % → 90 %" in before
        and "measured</figcaption>" not in page
        and " asked" not in before[before.index("<body") :]
    )
    folded, _, _ = after.partition("</details>")
    for words in ("change requested", "change achieved", "+4.00", f"{2 * LOGIT:+.2f}", f"{-LOGIT:.2f}"):
        assert words in folded, words


def test_every_frame_says_whether_it_is_original_or_synthetic(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run", cases=1)
    strips = [line for line in run.rows() if line["kind"] == "strip"]
    assert frame_titles(strips[0]) == ["original", *["synthetic"] * 4]
    generated = {**strips[0], "about": {"synthetic": True}}
    assert frame_titles(generated)[0] == "original (itself a synthetic image)"
    page = write_report(run).read_text()
    kinds = re.findall(r"<figcaption>(?:<b>)?(original|synthetic)(?:</b>)?<br>", page)
    assert sorted(kinds) == ["original", *["synthetic"] * 4]
    names = [p.stem.split("_")[-1] for p in export_run(run, "png", tmp_path / "png") if "frame-" in p.name]
    assert names == ["original", *["synthetic"] * 4]
    first, second = sorted(p for p in (tmp_path / "png").iterdir() if "frame-0" in p.name)[:2]
    for path, words in (
        (first, "original; narrow 12 %; engine latent-walk"),
        (second, "synthetic, not for diagnosis; narrow 25 %; engine latent-walk"),
    ):
        with Picture.open(path) as picture:
            assert picture.text["Description"] == words  # type: ignore[attr-defined]
    paths = [p for p in export_run(run, "nifti", tmp_path / "nifti") if "latent-walk" in p.name]
    said = bytes(nibabel.load(paths[0]).header["descrip"]).decode()
    assert said.startswith("frame 0 original, others SYNTHETIC (of 5); contrafact latent-walk class:1")
    for path in export_run(run, "npz", tmp_path / "npz"):
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            assert ("frame_kinds" in about) == (about["kind"] == "strip")
            if about["kind"] == "strip":
                assert file["frame_kinds"].tolist() == about["frame_kinds"] == ["original", *["synthetic"] * 4]


def test_changes_in_the_table_of_frames_are_those_from_the_image() -> None:
    both_ways = row("steps", [-2.0, -0.5, 1.5], origin=1, latent_distance=[1.0, 0.0, 2.0]) | {
        "requested": [-1.0, 0.0, 2.0]
    }
    table = frame_table(both_ways)
    assert [line["kind"] for line in table] == ["synthetic", "original", "synthetic"]
    assert [line["level"] for line in table] == ["12 %", "38 %", "82 %"]
    assert [line["requested"] for line in table] == ["-1.00", "+0.00", "+2.00"]
    assert [line["achieved"] for line in table] == ["-1.50", "+0.00", "+2.00"]
    assert [line["distance"] for line in table] == ["1.00", "0.00", "2.00"]
    assert [line["distance"] for line in frame_table({**both_ways, "latent_distance": [0.0] * 3})] == ["–"] * 3


def test_an_animation_names_every_frame_under_it(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run", cases=1)
    (path,) = export_run(run, "animation", tmp_path / "gif")
    with Picture.open(path) as moving:
        frames = [np.asarray(frame.convert("L")).astype(int) for frame in ImageSequence.Iterator(moving)]
    assert len(frames) == 8 and frames[0].shape == (1024 + 2 * STRIP, 1024)
    above, marks = ([frame[part] for frame in frames] for part in (slice(STRIP), slice(-STRIP, None)))
    assert all((line > 150).any() for line in (*above, *marks))
    assert np.abs(marks[1] - marks[2]).mean() < 2 < np.abs(marks[0] - marks[1]).mean()  # other words
    assert np.abs(above[1] - above[2]).mean() > 0.2  # another prediction


def test_a_picture_by_ascent_has_no_original_frame() -> None:
    assert frame_titles(row("steps", [0.0, 1.0], picture=True)) == ["synthetic", "synthetic"]


def test_differences_lie_on_a_quarter_of_the_window_by_closed_form(tmp_path: Path) -> None:
    scale = difference_scale((0.0, 200.0))
    assert scale.value == 50 and scale.words == "full colour: ±50, 25 % of the display window"
    change = np.zeros(1000)
    assert difference_words(change, scale) == "nothing changed"
    change[:30] = 60.0
    assert difference_words(change, scale) == "3 % of the pixels change by more, up to 60"
    assert difference_words(change / 20, scale) == "the change is far below full colour: at most 3"
    assert difference_words(change / 2, scale) == ""
    small = difference_scale((0.0, 1.0))  # the same shares of another window
    assert difference_words(change / 4000, small) == "the change is far below full colour: at most 0.015"
    assert difference_words(change / 1000, small) == ""
    run = Run.create(tmp_path / "run", about={})
    for key, size in (("a", 4.0), ("b", 40.0)):
        frames = np.stack([ramp(), ramp(level=size)])
        line = np.array([-1.0, 1.0])
        walk = strip(key, frames=frames, requested=line + 1, scores=line, latent_distance=line + 1)
        run.add(key, Image(ramp(), window=(0, 200)), walk, case=key)
    page = write_report(run).read_text()
    assert page.count("full colour: ±50, 25 % of the display window") == 3  # on top, and of both cases
    assert "the change is far below full colour: at most 4" in page


def test_the_run_says_how_large_a_pixel_is_only_where_the_file_does(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    image = Image(ramp(), window=(0, 200), source="a.png")
    assert not image.grid.spacing_known and "unknown" in repr(image.grid)
    assert not image.grid.resized((4, 4)).spacing_known
    run.add("a", image, strip("a"), case="a")
    assert run.rows()[0]["about"]["spacing"] == "unknown"
    assert f"{SIDE} × {SIDE} px, pixel size unknown" in write_report(run).read_text()
    (path,) = export_run(run, "nifti", tmp_path / "nifti")
    assert nibabel.load(path).header.get_xyzt_units()[0] == "unknown"


def test_a_record_is_not_needed_to_say_what_came_of_it() -> None:
    walk = strip("a", record=Record(method="m", parameters={}, target="value:0", model="x", image="i"))
    assert "units of the model" in walk._repr_html_()  # type: ignore[operator]
