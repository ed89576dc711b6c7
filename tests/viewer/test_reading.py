"""The reader study: balanced, blind, nothing lost, and intervals equal to the closed form."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import http.client
import io
import math
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the reader study needs contrafact[view]")

from PIL import Image as Picture
from scipy.stats import binom, binomtest

from browsing import HOSTILE, Site, planted_run, ramp, serving, strip
from contrafact.api.case import display_facts
from contrafact.bundles import load_bundle
from contrafact.cli import main
from contrafact.core import Image, InputError
from contrafact.core.power import judgements_needed, power, wilson
from contrafact.io import Run
from contrafact.phantoms import draw_factors, knee_phantom, lesion_phantom, vessel_phantom
from contrafact.viewer.reader_study.answers import Answers, OutOfTurnError
from contrafact.viewer.reader_study.app import Reading, make_reading_app
from contrafact.viewer.reader_study.results import as_csv, plan_words, table
from contrafact.viewer.reader_study.trials import items_of, picture, question_of, trials_for

READERS = ("Ada", "Béla", "Ci")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return planted_run(tmp_path / "run", cases=10)


@pytest.fixture
def site(run: Run) -> Iterator[Site]:
    with serving(make_reading_app(Reading(run), reader="r", owner="o")) as site:
        yield site


def send(site: Site, path: str, body: Any, token: str = "r") -> Any:
    return site.ask(path, method="POST", body=body, x_contrafact_token=token)


@pytest.mark.parametrize(("correct", "judged"), [(0, 1), (1, 1), (87, 150), (0, 40), (40, 40), (3, 7)])
def test_wilson_is_that_of_scipy_and_of_its_equation(correct: int, judged: int) -> None:
    low, high = wilson(correct, judged)
    other = binomtest(correct, judged).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((other.low, other.high), abs=1e-12)
    for end in (low, high):  # the ends solve |share - p| = z sqrt(p (1 - p) / n)
        assert abs(correct / judged - end) == pytest.approx(
            1.959963984540054 * math.sqrt(end * (1 - end) / judged), abs=1e-9
        )
    assert wilson(0, 0) == (0, 1)


def test_the_power_is_that_of_the_exact_test() -> None:
    for judged in (1, 20, 150, 303):
        last = binom.ppf(0.025, judged, 0.5) - 1  # no more than 2.5 % at or below it
        if binom.cdf(last + 1, judged, 0.5) <= 0.025:
            last += 1
        exact = binom.cdf(last, judged, 0.58) + binom.sf(judged - last - 1, judged, 0.58)
        assert power(judged, 0.58) == pytest.approx(exact, abs=1e-9)
    needed = judgements_needed(0.58)
    assert power(needed - 1, 0.58) < 0.8
    assert all(power(n, 0.58) >= 0.8 for n in range(needed, needed + 60))
    assert 290 < needed < 330  # the normal approximation: 304
    assert power(150, 0.58) == pytest.approx(0.5, abs=0.06)  # 150: an observed 58 % is just significant
    assert judgements_needed(0.9) < 30


def test_the_plan_is_said_before_it_begins() -> None:
    [line] = plan_words({"real": 100})
    assert f"takes {judgements_needed()} answers: 4 readers" in line


def test_every_reader_is_balanced_and_two_readers_see_all_both_ways(run: Run) -> None:
    for task in ("real", "worse"):
        items = items_of(run, task)
        assert len(items) == 10
        seen = [trials_for(items, reader, seed=5) for reader in (0, 1, 2)]
        for trials in seen:
            first = trials[0].truth
            assert sum(t.truth == first for t in trials) == 5
            assert len({t.case for t in trials}) == 10
        ways = [{t.case: t.truth for t in trials} for trials in seen]
        assert all(ways[0][case] != ways[1][case] for case in ways[0])
        assert ways[0] == ways[2] and [t.case for t in seen[0]] != [t.case for t in seen[2]]
        assert seen[0] == trials_for(items, 0, seed=5) != trials_for(items, 0, seed=6)
        few = [{t.case for t in trials_for(items, reader, seed=5, judgements=4)} for reader in (0, 1)]
        assert few[0] == few[1] and len(few[0]) == 4


def test_order_does_not_tell_the_answer(run: Run) -> None:
    """Over many readers each position is real as often as not."""
    items = items_of(run, "real")
    truths = np.array([[t.truth == "real" for t in trials_for(items, r, seed=0)] for r in range(400)])
    assert np.abs(truths.mean(axis=0) - 0.5).max() < 4 * 0.5 / math.sqrt(400)
    repeats = (truths[:, 1:] == truths[:, :-1]).mean()
    assert repeats == pytest.approx(4 / 9, abs=0.04)  # as in shuffled fives


def test_truths_are_what_the_run_holds(run: Run) -> None:
    rows = run.rows()
    for trial in trials_for(items_of(run, "worse"), 1, seed=0):
        scores = [rows[row]["scores"][frame] for row, frame in trial.shows]
        assert (scores[0] > scores[1]) == (trial.truth == "left")
        assert all(frame != rows[row]["origin"] for row, frame in trial.shows)  # both are drawn
    for trial in trials_for(items_of(run, "real"), 1, seed=0):
        [(row, frame)] = trial.shows
        assert (frame == -1) == (trial.truth == "real")
        shown = np.asarray(Picture.open(io.BytesIO(picture(run, rows[row], frame))))[..., 0]
        arrays = run.arrays(rows[row])
        true = arrays["image"][0] if frame < 0 else arrays["frames"][frame, 0]
        np.testing.assert_array_equal(shown, np.round(np.clip(true / 200, 0, 1) * 255))


def test_drawn_images_are_no_real_ones(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    run.add("a", Image(ramp(), about={"synthetic": True}), strip("a"), case="a")
    with pytest.raises(InputError, match="counterfactuals of real images"):
        items_of(run, "real")
    assert len(items_of(run, "worse")) == 1
    with pytest.raises(InputError, match="did you mean 'worse'"):
        items_of(run, "worst")


def test_first_answers_stand_and_none_is_skipped(run: Run, tmp_path: Path) -> None:
    items = {"real": items_of(run, "real")}
    answers = Answers(tmp_path / "a.sqlite")
    answers.begin({"seed": 0})
    assert answers.enter(" Ada  L ", items, seed=0, judgements=None) == (0, 10)
    assert answers.add("Ada L", 0, "real", 1.0) == (1, 10)
    assert answers.add("Ada L", 0, "real", 9.0) == (1, 10)
    with pytest.raises(OutOfTurnError, match="answered already"):
        answers.add("Ada L", 0, "synthetic", 1.0)
    with pytest.raises(OutOfTurnError, match="next trial is 1"):
        answers.add("Ada L", 3, "real", 1.0)
    with pytest.raises(InputError, match="real or synthetic"):
        answers.add("Ada L", 1, "left", 1.0)
    with pytest.raises(OutOfTurnError):
        answers.trial("Ada L", 2)
    for name in ("", "  ", "x" * 41, "a\x07"):
        with pytest.raises(InputError, match="name"):
            answers.enter(name, items, seed=0, judgements=None)
    with pytest.raises(InputError, match="expected seed = 0"):
        answers.begin({"seed": 1})


def test_readers_at_once_lose_nothing(run: Run, site: Site) -> None:
    def reads(name: str) -> int:
        assert send(site, "/api/reader", {"name": name}).status == 200
        done = 0
        while True:
            trial = site.ask(f"/api/trial?reader={name}", x_contrafact_token="r").json()
            if trial["finished"]:
                return done
            body = {"reader": name, "position": trial["done"], "answer": trial["choices"][0], "seconds": 1}
            assert send(site, "/api/answer", body).status == 200
            done += 1

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(reads, ["a", "b", "c", "d"])) == [20] * 4
    assert len(Answers(run.folder / "reading.sqlite").lines()) == 80
    assert {row["number"] for row in Answers(run.folder / "reading.sqlite").lines()} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("task", "asked"), [("real", "generated by a computer"), ("worse", "which of two images")]
)
def test_a_study_of_one_task_opens_and_asks_for_that_alone(run: Run, task: str, asked: str) -> None:
    with serving(make_reading_app(Reading(run, tasks=(task,)), reader="r", owner="o")) as site:
        page, results = site.ask("/", x_contrafact_token="r"), site.ask("/results", x_contrafact_token="o")
    assert page.status == results.status == 200
    assert asked in page.text and page.text.count(" times: ") == 1


def test_readers_stay_blind(site: Site) -> None:
    send(site, "/api/reader", {"name": "Ada"})
    trial = site.ask("/api/trial?reader=Ada", x_contrafact_token="r")
    assert "truth" not in trial.text and "Case" not in trial.text
    shown = site.ask("/picture.png?reader=Ada&position=0&k=0", x_contrafact_token="r")
    assert shown.status == 200 and not Picture.open(io.BytesIO(shown.body)).info
    assert site.ask("/picture.png?reader=Ada&position=1&k=0", x_contrafact_token="r").status == 409
    assert site.ask("/picture.png?reader=Ada&position=0&k=1", x_contrafact_token="r").status == 404
    for path in ("/results", "/results.csv"):
        assert site.ask(path, x_contrafact_token="r").status == 403
        assert site.ask(path).status == 401
        assert site.ask(path, x_contrafact_token="o").status == 200
    for path in ("/api/cases", "/array/0/image", "/thumbnail/0.png", "/case/0"):  # the viewer would tell
        assert site.ask(path, x_contrafact_token="r").status == 404


def test_no_answer_without_the_token(run: Run, site: Site) -> None:
    body = {"reader": "Ada", "position": 0, "answer": "real", "seconds": 1}
    for path in ("/api/reader", "/api/answer"):
        assert site.ask(path, method="POST", body=body).status == 403
        assert send(site, path, body, token="x").status == 403
        sent = {"method": "POST", "x_contrafact_token": "r"}
        assert site.ask(path, body=body, origin="http://evil.example", **sent).status == 403  # type: ignore[arg-type]
        assert site.ask(path, body=b"name=Ada", content_type="text/plain", **sent).status == 400  # type: ignore[arg-type]
        assert site.ask(path, body=b"a" * 70_000, **sent).status == 413  # type: ignore[arg-type]
    assert send(site, "/api/answer", body).status == 409  # nobody entered
    assert Answers(run.folder / "reading.sqlite").lines() == []


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"reader": 1},
        {"reader": "Ada", "position": "0", "answer": "real"},
        {"reader": "Ada", "position": -1, "answer": "real"},
        {"reader": "Ada", "position": True, "answer": "real"},
        {"reader": "Ada", "position": 0, "answer": "'; drop table answers; --"},
        {"reader": "Ada", "position": 0, "answer": "real" * 100},
    ],
)
def test_nonsense_is_refused(site: Site, body: Any) -> None:
    send(site, "/api/reader", {"name": "Ada"})
    assert send(site, "/api/answer", body).status == 400


def test_hostile_names_stay_names(run: Run, site: Site) -> None:
    name = HOSTILE[:40]
    send(site, "/api/reader", {"name": name})
    send(site, "/api/answer", {"reader": name, "position": 0, "answer": "real", "seconds": "x"})
    send(site, "/api/reader", {"name": "=1+1"})
    send(site, "/api/answer", {"reader": "=1+1", "position": 0, "answer": "real", "seconds": 1e9})
    text = site.ask("/results", x_contrafact_token="o").text
    assert "<img" not in text and "&lt;img" in text
    rows = list(csv.DictReader(io.StringIO(site.ask("/results.csv", x_contrafact_token="o").text)))
    assert [row["reader"] for row in rows] == [name, "'=1+1"]
    assert [row["seconds"] for row in rows] == ["", ""]


def begin(run: Run) -> tuple[subprocess.Popen[str], Site, str]:
    """`contrafact reader-study` in a process of its own, as people start it."""
    words = [sys.executable, "-m", "contrafact.cli", "reader-study", str(run.folder), "--seed", "3"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(4)]
    assert "answers per reader" in said[0] and "task 'worse'" in said[1]
    links = [line.split("http://127.0.0.1:")[1].strip() for line in said[2:]]
    port, token = links[0].split("/?token=")
    return process, Site(int(port), {"x-contrafact-token": token}), links[1].split("?token=")[1]


def judge(site: Site, name: str, count: int, sent: dict[tuple[str, int], str]) -> None:
    rng = np.random.default_rng([ord(name[0]), count])
    entered = site.ask("/api/reader", method="POST", body={"name": name}).json()
    assert entered["done"] == sum(reader == name for reader, _ in sent)  # goes on where it stopped
    for _ in range(count):
        trial = site.ask(f"/api/trial?reader={'B%C3%A9la' if name == 'Béla' else name}").json()
        choice = trial["choices"][rng.integers(2)]
        body = {"reader": name, "position": trial["done"], "answer": choice, "seconds": 2.5}
        assert site.ask("/api/answer", method="POST", body=body).status == 200
        sent[name, trial["done"]] = choice


def test_three_readers_killed_in_the_middle_lose_nothing(run: Run) -> None:
    """Every answer that the server took is there after SIGKILL; shares and intervals are the closed form's."""
    sent: dict[tuple[str, int], str] = {}
    process, site, _ = begin(run)
    for name, count in zip(READERS, (7, 13, 2), strict=True):
        judge(site, name, count, sent)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    process, site, owner = begin(run)
    try:
        for name, count in zip(READERS, (13, 7, 18), strict=True):
            judge(site, name, count, sent)
        assert len(sent) == 60
        exported = site.ask("/results.csv", x_contrafact_token=owner).text
        page = site.ask("/results", x_contrafact_token=owner).text
    finally:
        process.kill()
        process.communicate()
    kept = {(row["reader"], int(row["position"])): row for row in csv.DictReader(io.StringIO(exported))}
    assert {key: row["answer"] for key, row in kept.items()} == sent
    with sqlite3.connect(run.folder / "reading.sqlite") as base:
        assert base.execute("pragma integrity_check").fetchone()[0] == "ok"
    base.close()
    rows = table(Answers(run.folder / "reading.sqlite").lines())
    assert [(row["task"], row["reader"]) for row in rows] == [
        (task, name) for task in ("real", "worse") for name in (*READERS, None)
    ]
    for row in rows:
        mine = [k for k in kept.values() if k["task"] == row["task"] and row["reader"] in (None, k["reader"])]
        right = sum(k["answer"] == k["truth"] for k in mine)
        assert (row["correct"], row["judged"]) == (right, (len(mine) == 30 and 30) or 10)
        ends = binomtest(right, len(mine)).proportion_ci(method="wilson")
        assert (row["low"], row["high"]) == pytest.approx((ends.low, ends.high), abs=1e-12)
        assert f"{100 * row['low']:.1f} to {100 * row['high']:.1f} %" in page
    assert as_csv(Answers(run.folder / "reading.sqlite").lines()) == exported


def test_a_kill_while_three_readers_answer_loses_nothing_that_was_taken(run: Run) -> None:
    """SIGKILL amid answers: what the server took is there, what is there was sent, nobody is skipped."""
    process, site, _ = begin(run)
    taken: dict[tuple[str, int], str] = {}
    sent: dict[tuple[str, int], str] = {}

    def reads(name: str) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):  # the server dies in between
            site.ask("/api/reader", method="POST", body={"name": name})
            while True:
                trial = site.ask(f"/api/trial?reader={name}").json()
                body = {"reader": name, "position": trial["done"], "answer": trial["choices"][0], "seconds": 1}
                sent[name, trial["done"]] = body["answer"]
                if site.ask("/api/answer", method="POST", body=body).status == 200:
                    taken[name, trial["done"]] = body["answer"]
                if len(taken) == 12:
                    process.send_signal(signal.SIGKILL)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(reads, ("Ada", "Bo", "Ci")))
    assert process.wait(20) == -signal.SIGKILL and len(taken) >= 12
    process.communicate()
    kept = {(row["reader"], row["position"]): row for row in Answers(run.folder / "reading.sqlite").lines()}
    answers = {key: row["answer"] for key, row in kept.items() if row["answer"]}
    assert taken.items() <= answers.items() <= sent.items()
    process, site, _ = begin(run)
    try:
        for name in ("Ada", "Bo", "Ci"):  # goes on after the last one that was taken
            place = site.ask("/api/reader", method="POST", body={"name": name}).json()["done"]
            assert place == sum(reader == name for reader, _ in answers)
    finally:
        process.kill()
        process.communicate()


def test_answers_are_written_as_csv_without_a_server(run: Run, tmp_path: Path) -> None:
    answers = Reading(run, tasks=("worse",)).answers()
    answers.enter("Ada", {"worse": items_of(run, "worse")}, seed=0, judgements=None)
    answers.add("Ada", 0, "left", 1.5)
    words = ["reader-study", str(run.folder), "--task", "worse", "--csv", str(tmp_path / "out.csv")]
    assert main(words) == 0
    [row] = csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text()))
    assert (row["reader"], row["answer"], row["seconds"]) == ("Ada", "left", "1.5")
    assert main([*words, "--judgements", "3"]) == 2  # another study than was begun
    assert main(["reader-study", str(run.folder), "--judgements", "0"]) == 2


def test_the_former_name_of_the_verb_works_without_a_word(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for verb in ("reader-study", "read"):
        words = [verb, str(run.folder), "--task", "worse", "--csv", str(tmp_path / "out.csv")]
        assert main(words) == 0
        said.append(capsys.readouterr())
        (tmp_path / "out.csv").unlink()
    assert said[0] == said[1] and not said[1].err
    with contextlib.suppress(SystemExit):
        main(["--help"])
    commands = re.findall(r"^\W*([a-z-]+) {2,}", capsys.readouterr().out, re.MULTILINE)
    assert "reader-study" in commands and "read" not in commands


def walked_run(folder: Path, **marks: Any) -> Run:
    """One counterfactual of an image with these marks."""
    run = Run.create(folder, about={})
    about, source = marks.pop("about", {}), marks.pop("source", "knee.png")
    run.add("a", Image(ramp(), about=about, source=source), strip("a"), case="a", **marks)
    return run


@pytest.mark.parametrize(
    "marks",
    [
        {"about": {"phantom": True}},
        {"about": {"factors": {"joint_space": 2.0}}},  # as phantoms of older runs
        {"source": "phantom"},
        {"phantoms": True},  # explained by a bundle whose images are phantoms
    ],
)
def test_phantoms_are_never_shown_as_real(tmp_path: Path, marks: dict[str, Any]) -> None:
    run = walked_run(tmp_path / "run", **marks)
    with pytest.raises(InputError, match="1 images are phantoms or generated, which are never shown as real"):
        items_of(run, "real")
    run.add("b", Image(ramp(), source="real.png"), strip("b"), case="b")
    assert [item.case for item in items_of(run, "real")] == ["b"]
    plan = plan_words({"real": 1}, Reading(run).left_out())
    assert plan[-1] == "task 'real': 1 images are left out, because they are phantoms or generated"


def test_phantoms_made_by_the_package_say_so() -> None:
    rng = np.random.default_rng(0)
    for made in (knee_phantom(draw_factors(rng), rng), lesion_phantom(rng), vessel_phantom(rng)):
        assert made.image.about["phantom"] and made.image.about["synthetic"]
    bundle = load_bundle("phantom")
    facts = display_facts(bundle.predictor, bundle)
    assert facts["phantoms"] and facts["generator_name"] == "phantom (StyleGAN2)"
    assert "phantoms" not in display_facts(bundle.predictor, load_bundle("knee"))


def test_a_frame_that_was_not_changed_is_not_called_synthetic(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    same = np.zeros(5)
    still = strip("a", frames=np.stack([ramp()] * 5), requested=same, scores=same + 2, outcome="already")
    run.add("a", Image(ramp(), source="real.png"), still, case="a")
    with pytest.raises(InputError, match="counterfactuals of real images"):
        items_of(run, "real")


@pytest.mark.parametrize(
    ("target", "classes", "name", "asked"),
    [
        ("class:1", ["wide", "narrow"], "narrow", "more severe narrow"),
        ("class:0", ["wide", "narrow"], "wide", "more severe narrow"),
        ("class:2", ["a", "b", "c"], "c", "more severe c"),
        ("grade", None, "grade", "the higher grade"),
        ("value:0", None, "age", "the higher age"),
    ],
)
def test_the_question_names_the_finding(
    tmp_path: Path, target: str, classes: list[str] | None, name: str, asked: str
) -> None:
    run = Run.create(tmp_path / "run", about={})
    made = dataclasses.replace(strip("a").record, target=target)
    extra: dict[str, Any] = {"exclusive_classes": classes} if classes else {}
    run.add("a", Image(ramp(), source="k.png"), strip("a", record=made), case="a", target_name=name, **extra)
    assert question_of(run.rows()[0]) == f"Which of the two images shows {asked}?"
    [item] = items_of(run, "worse")
    severe = (1, 4) if target != "class:0" else (4, 1)  # frame 4 is surest of the target, which is no finding
    assert (item.first, item.second) == severe
    reading = Reading(run, tasks=("worse",))
    with serving(make_reading_app(reading, reader="r", owner="o")) as site:
        assert send(site, "/api/reader", {"name": "Ada"}).status == 200
        trial = site.ask("/api/trial?reader=Ada", x_contrafact_token="r")
        assert trial.json()["question"] == f"Which of the two images shows {asked}?"


def test_truths_stand_in_the_order_of_their_names() -> None:
    line = {"task": "real", "reader": "Ada", "answer": "x", "correct": True, "seconds": None}
    lines = [{**line, "truth": letter} for letter in "fbdaec"]
    assert [list(row["by_truth"]) for row in table(lines)] == [list("abcdef")] * 2
