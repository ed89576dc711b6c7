"""Readers' judgements of results: kept before they are confirmed, only ever added, and apart from results."""

from __future__ import annotations

import csv
import http.client
import io
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the viewer needs contrafact[view]")

from browsing import HOSTILE, Answer, Site, entered, planted_run, serving
from contrafact.cli import main
from contrafact.core import ContrafactError, InputError
from contrafact.io import Run
from contrafact.viewer import make_app
from contrafact.viewer.judgements import ABOUT, Judgements

RESULT = dict.fromkeys(ABOUT, "x")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return planted_run(tmp_path / "run")


@pytest.fixture
def site(run: Run) -> Iterator[Site]:
    app = make_app(run)
    [token] = app.tokens
    with serving(entered(app)) as site:
        site.headers["x-contrafact-token"] = token
        yield site


def case_of(site: Site, name: str = "Case 1") -> str:
    return str({c["name"]: c["id"] for c in site.ask("/api/cases").json()["cases"]}[name])


def post(site: Site, **changes: Any) -> Answer:
    body = {"case": case_of(site), "row": 1, "reader": "Ada", "answer": "plausible", "confidence": 4}
    return site.ask("/api/judgements", method="POST", body=body | changes)


def current(site: Site, name: str = "Case 1") -> list[tuple[Any, ...]]:
    told = site.ask(f"/api/judgements/{case_of(site, name)}").json()["judgements"]
    return [(one["row"], one["reader"], one["answer"], one["confidence"]) for one in told]


def test_a_judgement_is_there_again_and_the_results_are_as_before(site: Site, run: Run) -> None:
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    assert current(site) == [] and not (run.folder / "judgements.sqlite").exists()  # looking writes nothing
    assert "judgements" not in site.ask("/").text
    kept = post(site, reader="  Ada   Byron ")
    assert kept.status == 200 and kept.json()["reader"] == "Ada Byron"
    post(site, reader="Béla", answer="wrong region", confidence=5)
    post(site, reader="Béla", row=0, answer="not plausible", confidence=1)
    post(site, reader="Béla", answer="plausible", confidence=2)  # another mind: the last one counts
    assert current(site) == [
        (1, "Ada Byron", "plausible", 4),
        (0, "Béla", "not plausible", 1),
        (1, "Béla", "plausible", 2),
    ]
    assert current(site, "Case 2") == []
    assert {p: p.read_bytes() for p in before} == before
    assert "judgements: 3 judgements of 1 case by 2 readers" in site.ask("/").text


def test_every_judgement_is_exported_and_the_page_filters(site: Site, run: Run, tmp_path: Path) -> None:
    post(site, reader="=1+1")
    post(site, reader="Béla", answer="wrong region", confidence=5)
    post(site, reader="Béla", answer="not plausible", confidence=1)
    rows = list(csv.DictReader(io.StringIO(site.ask("/judgements.csv").text)))
    assert [(r["reader"], r["answer"], r["confidence"], r["counts"]) for r in rows] == [
        ("'=1+1", "plausible", "4", "1"),
        ("Béla", "wrong region", "5", "0"),
        ("Béla", "not plausible", "1", "1"),
    ]
    assert {(r["case_name"], r["method"], r["target"], r["result"]) for r in rows} == {
        ("Case 1", "latent-walk", "class:1", "Case 1/walk")
    }
    page = site.ask("/judgements?answer=not%20plausible").text
    assert "wrong region (0)" in page and "not plausible (1)" in page
    assert re.findall(r'data-label="reader">(.*?)<', page) == ["Béla"]
    assert f'href="/case/{case_of(site)}"' in page
    assert main(["reader-study", str(run.folder), "--csv", str(tmp_path / "all.csv")]) == 0
    assert (tmp_path / "all-judgements.csv").read_bytes() == site.ask("/judgements.csv").body


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"answer": "good"}, "expected plausible, not plausible or wrong region; got 'good'"),
        ({"confidence": 6}, "expected a confidence of 1 to 5; got 6"),
        ({"confidence": True}, "expected a confidence of 1 to 5"),
        ({"confidence": None}, "expected a confidence of 1 to 5"),
        ({"reader": " "}, "expected a name of 1 to 40 letters"),
        ({"reader": "a\u202eb"}, "expected a name of 1 to 40 letters"),
        ({"reader": 7}, "expected a short text as 'reader'"),
        ({"row": 2}, "expected a result of this case"),  # of another case
        ({"row": True}, "expected a result of this case"),
        ({"row": "1"}, "expected a result of this case"),
    ],
)
def test_what_is_no_judgement_is_refused(site: Site, run: Run, changes: dict[str, Any], words: str) -> None:
    answer = post(site, **changes)
    assert answer.status == 400 and words in answer.text
    assert not (run.folder / "judgements.sqlite").exists()


def test_judgements_need_the_token_of_the_link(site: Site, run: Run) -> None:
    token = site.headers["x-contrafact-token"]
    assert post(site, case="nothing").status == 404
    for sent in (
        {"x_contrafact_token": token + "x"},
        {"x_contrafact_token": ""},
        {"origin": "http://evil.example"},
    ):
        body = {"case": case_of(site), "row": 1, "reader": "Ada", "answer": "plausible", "confidence": 4}
        assert site.ask("/api/judgements", method="POST", body=body, **sent).status == 403
    assert not (run.folder / "judgements.sqlite").exists()
    with serving(make_app(run)) as bare:  # without the link
        for path in ("/judgements", "/judgements.csv", "/api/judgements/x"):
            assert bare.ask(path).status == 401


def test_words_stay_words(site: Site) -> None:
    assert post(site, reader=HOSTILE[:40]).status == 200
    page = site.ask("/judgements").text
    assert HOSTILE[:40] not in page and "&lt;img src=x onerror" in page


def test_judgements_are_only_added(tmp_path: Path) -> None:
    kept = Judgements.of(tmp_path)
    kept.add("Ada", "plausible", 3, about=RESULT)
    with sqlite3.connect(kept.path) as base:
        for words in ("update judgements set answer = 'wrong region'", "delete from judgements"):
            with pytest.raises(sqlite3.IntegrityError, match="only added"):
                base.execute(words)
    base.close()
    assert [line["answer"] for line in kept.lines()] == ["plausible"]


@pytest.mark.parametrize("change", ["", "no database", "insert into judgements (reader) values (7)"])
def test_a_damaged_file_of_judgements_is_told_and_the_run_still_opens(
    run: Run, site: Site, change: str
) -> None:
    post(site)
    path = run.folder / "judgements.sqlite"
    if change.startswith("insert"):
        with sqlite3.connect(path) as base:
            base.execute(change)
        base.close()
    else:
        path.write_bytes(change.encode() * 99)
    answer = site.ask("/judgements")
    if change == "":  # cut off before the first judgement was kept
        assert answer.status == 200 and "There is no judgement" in answer.text and post(site).status == 200
        return
    assert answer.status == 400 and "judgements.sqlite" in answer.text
    assert "judgements" in site.ask("/").text and site.ask(f"/api/case/{case_of(site)}").status == 200


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ContrafactError, match="judgements.sqlite.*unable to open"):
        Judgements.of(tmp_path / "nowhere").add("Ada", "plausible", 3, about=RESULT)
    (tmp_path / "judgements.sqlite").mkdir()
    with pytest.raises(InputError, match="judgements"):
        Judgements.of(tmp_path).lines()


def test_a_kill_while_readers_judge_loses_nothing_that_was_kept(run: Run) -> None:
    words = [sys.executable, "-m", "contrafact.cli", "view", str(run.folder), "--no-live"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port, token = process.stdout.readline().split("http://127.0.0.1:")[1].strip().split("/?token=")
    site, kept, lock = Site(int(port), {"x-contrafact-token": token}), [], threading.Lock()
    case = case_of(site)

    def judge(name: str) -> None:
        for number in range(1000):
            body = {
                "case": case,
                "row": 1,
                "reader": f"{name} {number}",
                "answer": "plausible",
                "confidence": 1,
            }
            try:
                if site.ask("/api/judgements", method="POST", body=body).status != 200:
                    return
            except (OSError, http.client.HTTPException):  # the server was killed
                return
            with lock:
                kept.append(body["reader"])
                if len(kept) == 12:
                    process.send_signal(signal.SIGKILL)

    threads = [threading.Thread(target=judge, args=(name,)) for name in ("Ada", "Bo", "Ci")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert process.wait(20) == -signal.SIGKILL and len(kept) >= 12
    process.communicate()
    assert set(kept) <= {line["reader"] for line in Judgements.of(run.folder).lines()}
