"""The task decide: labels, balance, arms in a Latin square, washout, and nothing that hints at the truth."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the reader study needs contrafact[view]")

from PIL import Image as Picture

from browsing import Site, planted_run, ramp, record, serving, strip
from contrafact.cli import main
from contrafact.core import Grid, Heatmap, Image, InputError
from contrafact.io import Run
from contrafact.viewer.reader_study.answers import Answers, OutOfTurnError
from contrafact.viewer.reader_study.app import Reading, make_reading_app
from contrafact.viewer.reader_study.decide_results import decide_plan
from contrafact.viewer.reader_study.labelled import balanced, labelled_cases
from contrafact.viewer.reader_study.panels import panel, slices_of
from contrafact.viewer.reader_study.sessions import Design, Planned, latin_square, planned
from contrafact.viewer.reader_study.templates import TEMPLATES
from contrafact.viewer.reader_study.trials import CHANGE, IMAGE, MAP
from deciding import FACTS, labelled_run

Made = tuple[Run, Path]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return labelled_run(tmp_path / "run")


def plan_of(made: Made, judgements: int | None = None, **design: Any) -> Planned:
    run, labels = made
    return planned(run, Design(labels=labels, **design), judgements=judgements, seed=0)


def reading_of(made: Made, **more: Any) -> Reading:
    run, labels = made
    return Reading(run, tasks=("decide",), design=Design(labels=labels, washout=0, **more))


def test_truth_is_the_label_and_the_prediction_that_of_the_run(made: Made) -> None:
    run, labels = made
    cases = labelled_cases(run, labels=labels)
    assert [c.item for c in cases] == [f"Case {n}" for n in range(1, 13)]
    assert [c.truth for c in cases] == [n % 2 == 1 for n in range(1, 13)]
    assert [c.right for c in cases] == [n > 4 for n in range(1, 13)]
    rows = run.rows()
    for case in cases:
        assert case.probability == pytest.approx(1 / (1 + np.exp(-rows[case.strip_row]["scores"][0])))  # type: ignore[index]
        assert rows[case.map_row]["kind"] == "heatmap" and case.finding == "narrow"  # type: ignore[index]


def test_labels_of_a_study_are_taken_from_its_scores(made: Made) -> None:
    run, _ = made
    for n in range(1, 7):
        label = "1" if n % 2 else "0"  # the number of the class
        run.add_scores(str(n), source=f"/data/knee{n}.png", label=label, image="", model="", scores=[])
    cases = labelled_cases(run)
    assert [(c.item, c.truth) for c in cases] == [(f"Case {n}", n % 2 == 1) for n in range(1, 7)]


def test_what_lacks_is_said_in_one_line(made: Made, tmp_path: Path) -> None:
    run, labels = made
    with pytest.raises(InputError, match="stores none .*--labels"):
        labelled_cases(run)
    other = tmp_path / "other.csv"
    other.write_text("path,label\nelsewhere.png,narrow\n")
    with pytest.raises(InputError, match="12 images in 'other.csv'.*got none.*'knee1.png'"):
        labelled_cases(run, labels=other)
    labels.write_text(labels.read_text().replace("narrow", "KL3").replace("wide", "KL1"))
    with pytest.raises(InputError, match="means 'narrow'.*labels are KL1, KL3: say which with --positive"):
        labelled_cases(run, labels=labels)
    assert sum(c.truth for c in labelled_cases(run, labels=labels, positive=("kl3", "KL4"))) == 6
    with pytest.raises(InputError, match="with and without 'narrow'"):
        labelled_cases(run, labels=labels, positive=("KL1", "KL3"))
    other.write_text("path,label\na/knee1.png,narrow\nb/knee1.png,wide\n")
    with pytest.raises(InputError, match="got none"):  # two files of one name: which one is meant?
        labelled_cases(run, labels=other)
    for wrong in ({"arms": ("none", "al")}, {"arms": ("ai", "ai")}, {"kind": "cross"}, {"washout": -1.0}):
        with pytest.raises(InputError):
            Design(**wrong)  # type: ignore[arg-type]


def test_a_class_of_two_is_the_finding_whichever_was_asked(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    made = dataclasses.replace(record("latent-walk", "a"), target="class:0")  # 12 % wide: narrow is predicted
    run.add("a", Image(ramp(), source="a.png"), strip("a", record=made), **FACTS)
    other = dataclasses.replace(record("latent-walk", "b"), target="class:1")
    run.add("b", Image(ramp(level=1), source="b.png"), strip("b", record=other), **FACTS)
    (tmp_path / "l.csv").write_text("path,label\na.png,narrow\nb.png,wide\n")
    first, second = labelled_cases(run, labels=tmp_path / "l.csv")
    assert first.predicted and first.truth and first.probability == pytest.approx(1 - 1 / (1 + np.exp(2)))
    assert not second.predicted and not second.truth


def test_images_are_balanced_over_right_and_wrong_predictions(made: Made, tmp_path: Path) -> None:
    run, labels = made
    cases, rng = labelled_cases(run, labels=labels), np.random.default_rng(0)
    for count, wrong in ((None, 4), (6, 3), (4, 2), (10, 4), (99, 4)):
        chosen = balanced(cases, count, rng)
        assert len(chosen) == {None: 8, 99: 12}.get(count, count) and len({c.item for c in chosen}) == len(
            chosen
        )
        assert sum(not c.right for c in chosen) == wrong
        assert abs(sum(c.truth for c in chosen) - len(chosen) / 2) <= 1
    assert balanced(cases, 6, np.random.default_rng(1)) == balanced(cases, 6, np.random.default_rng(1))
    flawless = labelled_run(tmp_path / "flawless" / "run", wrong=0)
    plan = plan_of(flawless)
    assert len(plan.cases) == 12
    assert any("no prediction is wrong: over-reliance cannot be measured" in line for line in decide_plan(plan))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6])
def test_the_square_is_latin_and_balanced_for_what_goes_before(size: int) -> None:
    square = latin_square(size)
    for place in range(size):
        assert set(Counter(row[place] for row in square).values()) == {len(square) // size}
    assert all(sorted(row) == list(range(size)) for row in square)
    follows = Counter(pair for row in square for pair in itertools.pairwise(row))
    assert len(set(follows.values())) <= 1 and len(follows) == size * (size - 1)


def test_every_reader_sees_every_image_once_in_every_arm(made: Made) -> None:
    plan = plan_of(made)
    first_arms = []
    for reader in range(6):
        trials = list(plan.trials(reader, seed=0))
        assert len(trials) == len(plan) == 24
        assert set(Counter((t.case, t.arm) for t in trials).values()) == {1}
        sessions = [[t for t in trials if t.session == k] for k in range(3)]
        assert trials == [*itertools.chain(*sessions)] and all(len({t.arm for t in s}) == 1 for s in sessions)
        assert [t.case for t in sessions[0]] != [t.case for t in sessions[1]]
        first_arms.append(sessions[0][0].arm)
    assert set(Counter(first_arms).values()) == {2}
    assert list(plan.trials(0, seed=0)) == list(plan.trials(0, seed=0)) != list(plan.trials(0, seed=1))


def test_parallel_shows_every_image_once_and_three_readers_see_all_arms(made: Made) -> None:
    plan = plan_of(made, 12, kind="parallel")
    seen = Counter()  # type: ignore[var-annotated]
    for reader in range(3):
        trials = list(plan.trials(reader, seed=0))
        assert len(trials) == len(plan) == 12 and len({t.case for t in trials}) == 12
        assert Counter(t.arm for t in trials) == {"none": 4, "ai": 4, "explained": 4}
        for arm in ("none", "ai", "explained"):
            mine = [t for t in trials if t.arm == arm]
            assert 1 <= sum(t.truth == "yes" for t in mine) <= 3 and any(t.truth != t.predicted for t in mine)
        seen.update((t.case, t.arm) for t in trials)
    assert len(seen) == 36


def test_sequential_shows_the_arms_of_an_image_one_after_the_other(made: Made) -> None:
    template = TEMPLATES["latentshift2021"].design
    run, labels = made
    plan = planned(run, Design(**{**vars_of(template), "labels": labels}), judgements=None, seed=0)
    trials = list(plan.trials(0, seed=0))
    assert all(t.predicted == "yes" for t in trials) and {t.truth for t in trials} == {"yes", "no"}
    for before, after in zip(trials[::2], trials[1::2], strict=True):
        assert before.case == after.case and (before.arm, after.arm) == ("ai", "explained")


def vars_of(design: Design) -> dict[str, Any]:
    return {name: getattr(design, name) for name in ("arms", "kind", "washout", "predicted")}


def test_order_and_pictures_do_not_tell_the_truth(made: Made) -> None:
    plan = plan_of(made, 8)
    truths = np.array([[t.truth == "yes" for t in list(plan.trials(r, seed=0))[:8]] for r in range(400)])
    assert np.abs(truths.mean(axis=0) - 0.5).max() < 4 * 0.5 / np.sqrt(400)
    for trial in plan.trials(0, seed=0):
        kinds = [what for _, what in trial.shows]
        assert kinds == ([IMAGE] if trial.arm != "explained" else [IMAGE, MAP, 4, CHANGE])


@pytest.fixture
def site(made: Made) -> Iterator[Site]:
    with serving(make_reading_app(reading_of(made), reader="r", owner="o")) as site:
        yield site


def send(site: Site, path: str, body: Any) -> Any:
    return site.ask(path, method="POST", body=body, x_contrafact_token="r")


def read_all(site: Site, name: str, decide: Any) -> list[dict[str, Any]]:
    """A reader who answers every trial as `decide` says: (trial) -> (answer, confidence)."""
    assert send(site, "/api/reader", {"name": name}).status == 200
    seen = []
    while True:
        trial = site.ask(f"/api/trial?reader={name}", x_contrafact_token="r").json()
        if trial["finished"]:
            return seen
        seen.append(trial)
        answer, confidence = decide(trial)
        body = {
            "reader": name,
            "position": trial["done"],
            "answer": answer,
            "confidence": confidence,
            "seconds": 2.5,
        }
        assert send(site, "/api/answer", body).status == 200


def test_a_study_from_the_first_trial_to_the_results(made: Made, site: Site, tmp_path: Path) -> None:
    run, labels = made

    def follower(trial: dict[str, Any]) -> tuple[str, int]:
        said = trial.get("said", "")
        return ("no" if not said or ": not " in said else "yes"), 4 if said else 1

    seen = read_all(site, "Ada", follower) and read_all(site, "Bo", follower)
    arms = Counter((len(t["captions"]), "said" in t) for t in seen)
    assert arms == {(1, False): 8, (1, True): 8, (4, True): 8}
    told = json.dumps(seen)
    assert "truth" not in told and "label" not in told and "Case" not in told and "knee" not in told
    assert seen[0]["question"] == "Does this image show narrow?" and seen[-1]["sessions"] == 3
    page = site.ask("/results", x_contrafact_token="o").text
    assert "with AI and explanation" in page and "Obuchowski-Rockette" in page
    assert "4 of 4: 100 % (51 to 100)" in page
    answers = list(csv.DictReader(io.StringIO(site.ask("/results.csv", x_contrafact_token="o").text)))
    assert len(answers) == 48 and {a["arm"] for a in answers} == {"none", "ai", "explained"}
    assert {a["confidence"] for a in answers if a["arm"] == "none"} == {"1"}
    assert all((a["answer"] == a["predicted"]) for a in answers if a["arm"] != "none")
    summary = list(csv.DictReader(io.StringIO(site.ask("/summary.csv", x_contrafact_token="o").text)))
    over = [s for s in summary if s["table"] == "reliance" and s["figure"] == "over"]
    assert [(s["count"], s["n"]) for s in over] == [("4", "4")] * 2  # 2 readers, 2 wide images predicted narrow
    by = {(s["arms"], s["figure"]): s for s in summary if s["table"] == "arm"}
    assert (
        float(by["without AI", "specificity"]["value"]) == 1
        and float(by["with AI", "accuracy"]["value"]) == 0.5
    )
    assert site.ask("/summary.csv", x_contrafact_token="r").status == 403
    words = ["reader-study", str(run.folder), "--task", "decide", "--labels", str(labels), "--washout", "0"]
    assert main([*words, "--csv", str(tmp_path / "all.csv")]) == 0
    assert len(list(csv.DictReader(io.StringIO((tmp_path / "all.csv").read_text())))) == 48
    assert (tmp_path / "all-summary.csv").read_text().startswith("table,arms,of,figure,value,low,high,p")
    assert main([*words[:-1], "7", "--csv", str(tmp_path / "no.csv")]) == 2  # another washout than was begun


def test_a_decision_needs_a_confidence_and_comes_back_as_it_was(made: Made, site: Site) -> None:
    assert send(site, "/api/reader", {"name": "Ada"}).status == 200
    body = {"reader": "Ada", "position": 0, "answer": "yes", "seconds": 1}
    for wrong in (None, 0, 6, True, "3", 2.5):
        assert send(site, "/api/answer", {**body, "confidence": wrong}).status == 400, wrong
    assert send(site, "/api/answer", {**body, "answer": "left", "confidence": 3}).status == 400
    for _ in range(2):  # sent twice counts once
        assert send(site, "/api/answer", {**body, "confidence": 3}).json() == {"done": 1, "of": 24}
    assert send(site, "/api/reader", {"name": "Ada"}).json()["done"] == 1  # resumed
    [line] = [x for x in Answers(made[0].folder / "reading.sqlite").lines() if x["answer"]]
    assert (line["confidence"], line["seconds"], line["session"]) == (3, 1.0, 0)


@pytest.mark.parametrize(
    "damage",
    [
        "delete from confidences",
        "update confidences set confidence = 7",
        "delete from decisions",
        "update answers set answer = 'maybe'",
        "update decisions set probability = x'00'",
    ],
)
def test_a_damaged_decision_is_named(made: Made, damage: str) -> None:
    reading = reading_of(made)
    answers = reading.answers()
    answers.enter("Ada", reading.items(), seed=0, judgements=None)
    answers.add("Ada", 0, "yes", 1.0, 3)
    assert reading.decisions(answers.lines())
    with sqlite3.connect(answers.path) as base:
        base.execute(damage)
    base.close()
    with pytest.raises(InputError, match=r"'reading.sqlite' is damaged"):
        answers.lines()


def test_a_session_begins_after_the_washout_and_not_before(made: Made) -> None:
    run, labels = made
    reading = Reading(run, tasks=("decide",), design=Design(labels=labels))
    answers, items = reading.answers(), reading.items()
    assert answers.enter("Ada", items, seed=0, judgements=None) == (0, 24)
    for position in range(8):
        answers.add("Ada", position, "yes", 1.0, 2)
    assert answers.add("Ada", 7, "yes", 1.0, 2) == (8, 24)  # sent again
    begins = answers.due("Ada")
    assert begins is not None and abs(begins - datetime.now(UTC) - timedelta(days=28)) < timedelta(minutes=5)
    for act in (lambda: answers.trial("Ada", 8), lambda: answers.add("Ada", 8, "yes", 1.0, 2)):
        with pytest.raises(OutOfTurnError, match="next session begins on"):
            act()
    with serving(make_reading_app(reading, reader="r", owner="o")) as site:
        trial = site.ask("/api/trial?reader=Ada", x_contrafact_token="r").json()
        assert trial == {"done": 8, "of": 24, "finished": False, "waiting": begins.isoformat()}
        assert site.ask("/picture.png?reader=Ada&position=8&k=0", x_contrafact_token="r").status == 409
        earlier = (datetime.now(UTC) - timedelta(days=28, minutes=1)).isoformat(timespec="seconds")
        with sqlite3.connect(answers.path) as base:
            base.execute("update answers set at = ? where position = 7", (earlier,))
        base.close()
        trial = site.ask("/api/trial?reader=Ada", x_contrafact_token="r").json()
        assert trial["session"] == 2 and "waiting" not in trial
    assert answers.add("Ada", 8, "no", 1.0, 5) == (9, 24) and answers.due("Ada") is None


def test_pictures_show_what_the_arm_allows_in_the_window_asked_for(made: Made, site: Site) -> None:
    run, _ = made
    assert send(site, "/api/reader", {"name": "Ada"}).status == 200
    place = "/picture.png?reader=Ada&position=0"
    image = pixels(site.ask(f"{place}&k=0", x_contrafact_token="r").body)
    level = Answers(run.folder / "reading.sqlite").trial("Ada", 0).shows[0][0]
    true = run.arrays(run.rows()[level])["image"][0]
    np.testing.assert_array_equal(image[..., 0], np.round(np.clip(true / 200, 0, 1) * 255))
    narrow = pixels(site.ask(f"{place}&k=0&low=50&high=100", x_contrafact_token="r").body)
    np.testing.assert_array_equal(narrow[..., 0], np.round(np.clip((true - 50) / 50, 0, 1) * 255))
    for wrong in ("low=9&high=9", "low=nan&high=3", "low=3", "low=a&high=b"):
        assert site.ask(f"{place}&k=0&{wrong}", x_contrafact_token="r").status == 400
    assert site.ask(f"{place}&k=1", x_contrafact_token="r").status == 404  # without AI: the image alone


def pixels(body: bytes) -> np.ndarray:
    return np.asarray(Picture.open(io.BytesIO(body)).convert("RGB"))


def test_panels_are_the_map_the_changed_image_and_the_change(made: Made) -> None:
    run, _ = made
    rows = run.rows()
    over = pixels(panel(run, rows[0], MAP)).astype(int)
    assert (over[4:8, 4:8, 0] > over[4:8, 4:8, 2]).all()  # orange where the map is positive
    assert (over[10:12, 10:12, 2] > over[10:12, 10:12, 0]).all() and (np.ptp(over[0], axis=-1) == 0).all()
    changed = pixels(panel(run, rows[1], 4))[..., 0]
    np.testing.assert_array_equal(changed, np.round(np.clip((ramp(level=40)[0]) / 200, 0, 1) * 255))
    assert (pixels(panel(run, rows[1], CHANGE)).astype(int)[..., 0] > 40).all()  # brighter everywhere


def test_a_volume_opens_in_its_middle_in_every_arm(tmp_path: Path) -> None:
    """The slice with the most evidence would hint at the explanation."""
    run = Run.create(tmp_path / "run", about={})
    grid, values = Grid((5, 6, 6)), np.zeros((5, 6, 6), dtype=np.float32)
    values[0] = 1
    image = Image(
        np.arange(5, dtype=np.float32)[None, :, None, None] * np.ones((1, 5, 6, 6), np.float32), grid, (0, 4)
    )
    run.add("v", image, Heatmap(values=values, grid=grid, record=record("gradcam", "v")), case="V")
    [row] = run.rows()
    assert slices_of(run, row) == 5
    assert (pixels(panel(run, row, IMAGE)) == round(255 / 2)).all() or (
        pixels(panel(run, row, IMAGE)) == 127
    ).all()
    assert (pixels(panel(run, row, IMAGE, at=4)) == 255).all() and (
        pixels(panel(run, row, IMAGE, at=99)) == 255
    ).all()
    middle = pixels(panel(run, row, MAP)).astype(int)
    assert (np.ptp(middle, axis=-1) == 0).all()  # no evidence there, and so no colour


def test_the_plan_and_the_templates(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    run, labels = made
    first, second = decide_plan(plan_of(made))
    assert "8 images, 4 predicted right and 4 wrong (of 8 and 4 with a label)" in first
    assert "3 sessions at least 28 days apart; 24 answers per reader" in first and "exact McNemar" in second
    words = ["reader-study", str(run.folder), "--labels", str(labels), "--template", "latentshift2021"]
    assert main([*words, "--csv", str(labels.with_name("a.csv"))]) == 0
    with sqlite3.connect(run.folder / "reading.sqlite") as base:
        kept = dict(base.execute("select name, value from settings").fetchall())
    base.close()
    assert json.loads(kept["arms"]) == ["ai", "explained"] and "{finding}" in kept["question"]
    assert main([*words, "--arms", "none,ai"]) == 2 and "leave out" in capsys.readouterr().err
    assert TEMPLATES["schutte2021"].task == "real"
    assert main(["reader-study", str(planted_run(run.folder.parent / "plain").folder), "--task", "decide"]) == 2
    assert "--labels" in capsys.readouterr().err
