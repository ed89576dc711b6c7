"""Live questions: every route, every refusal, work that is really ended, and answers that are the library's."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("starlette", reason="the viewer needs contrafact[view]")

import contrafact as cf
from browsing import Answer, Site, entered, planted_run, serving
from contrafact.cli import main
from contrafact.core import ContrafactError, Image, InputError
from contrafact.io import Run
from contrafact.io.lock import sole_writer
from contrafact.render.run_index import RunIndex
from contrafact.viewer import make_app
from contrafact.viewer.live import make_live
from contrafact.viewer.live.app import live_app
from contrafact.viewer.live.queue import Job, JobQueue
from contrafact.viewer.live.service import LiveService, _amount
from contrafact.viewer.live.tasks import LiveSetting, Task
from contrafact.viewer.security import BODY
from pretending import BAD, DEAD, HOSTILE, SLOW, start


@dataclass
class Page:
    """A page in a browser: its case, its session, its token."""

    site: Site
    token: str
    case: str
    session: str = ""

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        sent = {"x_contrafact_token": self.token, **headers}
        return self.site.ask(f"/live/{path}", method="POST", body=body, **sent)

    def enter(self) -> dict[str, Any]:
        ends = time.monotonic() + 600
        while True:
            told: dict[str, Any] = self.post("about", {"case": self.case}).json()
            if told["state"] != "loading":
                self.session = told["session"]
                return told
            assert time.monotonic() < ends
            time.sleep(0.05)

    def words(self, **more: Any) -> dict[str, Any]:
        plain = {"session": self.session, "case": self.case, "target": "class:1", "method": "latent-walk"}
        return {**plain, "by": "asked", "amount": 1.0, **more}

    def ask(self, **more: Any) -> str:
        answer = self.post("ask", self.words(**more))
        assert answer.status == 200, answer.text
        return str(answer.json()["job"])

    def state(self, job: str) -> dict[str, Any]:
        told: dict[str, Any] = self.site.ask(f"/live/job/{job}").json()
        return told

    def until(self, job: str, *states: str) -> dict[str, Any]:
        ends = time.monotonic() + 600
        while (told := self.state(job))["state"] not in states:
            assert time.monotonic() < ends, told
            time.sleep(0.02)
        return told

    def done(self, **more: Any) -> tuple[str, dict[str, Any]]:
        job = self.ask(**more)
        told = self.until(job, "done", "failed")
        assert told["state"] == "done", told
        return job, told


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return planted_run(tmp_path_factory.mktemp("live") / "run")


@pytest.fixture(scope="module")
def desk(run: Run) -> Iterator[LiveService]:
    desk = LiveService(run, LiveSetting(bundles=("toy",)), begin=start)
    yield desk
    desk.close()


@pytest.fixture(scope="module")
def site(run: Run, desk: LiveService) -> Iterator[Page]:
    """A page of case 1, not entered; others are made from it."""
    app = make_app(run, live_app(desk))
    [token] = app.tokens
    with serving(entered(app)) as site:
        case = {c["name"]: c["id"] for c in site.ask("/api/cases").json()["cases"]}["Case 1"]
        yield Page(site, token, case)


@pytest.fixture
def page(site: Page) -> Page:
    page = dataclasses.replace(site)
    page.enter()
    return page


def test_a_page_learns_what_can_be_asked(page: Page) -> None:
    told = page.enter()
    assert told["state"] == "ready" and [t["text"] for t in told["targets"]] == ["class:1", "class:0"]
    assert page.post("about", {"case": "nothing"}).json()["state"] == "none"
    assert page.post("about", {"case": 7}).status == 400


def test_a_move_is_answered_once_the_image_is_found(desk: LiveService, page: Page) -> None:
    desk._latents.clear()
    early = page.post("move", page.words())
    assert early.status == 409 and "not inverted yet" in early.text
    _, told = page.done(method="find")
    assert told["kind"] == "latent"
    for amount in (1.0, -2.5):
        moved = page.post("move", page.words(amount=amount, hold=["b/c"])).json()
        values = np.frombuffer(base64.b64decode(moved["frame"]), "<f4").reshape(moved["shape"])
        image = np.frombuffer(page.site.ask("/array/0/image").body, "<f4").reshape(moved["shape"])
        np.testing.assert_allclose(values, image + amount, rtol=1e-6)
        followed = page.post("move", page.words(amount=amount, follow=True)).json()
        assert (moved["score"], followed["score"]) == (amount - 2, amount - 1)
        assert moved["held"][0]["name"] == "b/c"


def test_a_counterfactual_comes_with_its_arrays(page: Page) -> None:
    job, told = page.done(amount=4.0)
    assert told["kind"] == "strip" and told["about"]["requested"] == [0, 1, 2, 3, 4]
    assert told["about"]["row"] == job and not told["kept"]
    answer = page.site.ask(f"/live/array/{job}/frames")
    frames = np.frombuffer(answer.body, "<f4").reshape([int(n) for n in answer.headers["x-shape"].split(",")])
    np.testing.assert_array_equal(frames[4] - frames[0], 4.0)
    assert page.site.ask(f"/live/array/{job}/secret").status == 400
    assert page.site.ask(f"/live/array/{job}/frames?slice=-1").status == 400
    assert page.site.ask(f"/live/array/{job}x/frames").status == 404
    assert page.site.ask("/live/job/none").text == "this result is no longer available: compute it again"


def test_a_map_is_drawn_on_the_scale_of_the_run(page: Page) -> None:
    _, told = page.done(method="gradcam", target="class:0")
    assert told["kind"] == "map" and told["about"]["scale_from"] == [3, 3]
    _, told = page.done(method="occlusion")
    assert told["about"]["scale_from"] == [0, 0] and told["about"]["scale"] > 0


WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"target": "class:9"}, "target must be one of class:1, class:0; got 'class:9'"),
    ({"target": ["class:1"]}, "target must be one of"),
    ({"target": HOSTILE * 20}, "target must be one of"),
    ({"method": "lime"}, "method must be one of"),
    ({"method": None}, "method must be one of"),
    ({"target": "class:0"}, "method must be one of gradcam, occlusion"),
    ({"target": "class:0", "method": "find"}, "has no direction"),
    ({"amount": math.nan}, "finite number"),
    ({"amount": math.inf}, "finite number"),
    ({"amount": "1"}, "finite number"),
    ({"amount": True}, "finite number"),
    ({"amount": 10**400}, "finite number"),
    ({"amount": None}, "finite number"),
    ({"amount": 1e9}, "finite number"),
    ({"amount": 1.0, "by": "reached"}, "probability above 0 and below 1"),
    ({"by": "force"}, "by must be one of"),
    ({"hold": ["nobody"]}, "hold must be one of"),
    ({"hold": "b/c"}, "list of scores"),
    ({"hold": [[]]}, "hold must be one of"),
    ({"hold": ["b/c"], "method": "medxgan"}, "cannot keep scores constant"),
    ({"case": "nothing"}, "expected a case of this run"),
    ({"case": None}, "expected a case of this run"),
    ({"session": "other"}, "session of this page"),
    ({"session": None}, "session of this page"),
)


@pytest.mark.parametrize(("words", "said"), WRONG)
def test_what_cannot_be_asked_is_refused_in_one_line(page: Page, words: dict[str, Any], said: str) -> None:
    answer = page.post("ask", page.words(**words))
    assert answer.status == 400 and said in answer.text and "\n" not in answer.text
    assert answer.headers["content-type"].startswith("text/plain")


def test_amounts_reach_as_far_as_the_slider() -> None:
    volume = {"start": 5000.0, "span": 1200.0, "odds": False}
    assert _amount(6200.0, "reached", volume) == 6200
    for amount in (6200.1, math.nan):
        with pytest.raises(InputError, match="from -6200 to 6200"):
            _amount(amount, "reached", volume)
    assert _amount(1000.0, "asked", {"start": 0.0, "span": 2.0, "odds": False}) == 1000


def test_bodies_that_are_no_question_are_refused(page: Page) -> None:
    for body in (b"", b"{", b"[]", b"7", b"\xff", b"[" * 50000, b'{"session": "\\ud800", "job": "\\ud800"}'):
        for path in ("about", "move", "ask", "cancel", "keep"):
            answer = page.post(path, body, content_type="application/json")
            assert answer.status == 400, (path, body[:9], answer.status)
        assert page.post("ask", body, content_type="text/plain").status == 400
    assert page.post("ask", b"a" * (BODY + 1), content_type="application/json").status == 413
    for path in ("cancel", "keep"):
        assert page.post(path, {"job": "none"}).status == 404
        assert page.post(path, {"job": "x" * 300}).status == 400


def test_nothing_is_computed_or_kept_for_strangers(page: Page, run: Run) -> None:
    job, _ = page.done()
    rows = len(run.rows())
    for path, words in (("about", {"case": page.case}), ("ask", page.words()), ("keep", {"job": job})):
        for headers in (
            {"x_contrafact_token": ""},
            {"x_contrafact_token": page.token + "x"},
            {"origin": "http://evil.example"},
            {"origin": "null"},
            {"sec_fetch_site": "cross-site"},
            {"host": "evil.example"},
        ):
            assert page.post(path, words, **headers).status in (403, 421), (path, headers)
        assert page.site.ask(f"/live/{path}").status == 405
    cross = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}
    assert page.site.ask(f"/live/array/{job}/frames", **cross).status == 403  # type: ignore[arg-type]
    assert len(run.rows()) == rows


def test_cancel_ends_the_process_and_the_next_question_is_answered(page: Page) -> None:
    job = page.ask(amount=SLOW)
    page.until(job, "running")
    busy = page.post("ask", page.words())
    assert busy.status == 409 and "is running already" in busy.text
    ends = time.monotonic() + 20
    while not (before := page.state(job).get("count")):  # the worker tells its number
        assert time.monotonic() < ends
    os.kill(before, 0)
    assert page.post("cancel", {"job": job}).status == 200
    assert page.until(job, "cancelled")["state"] == "cancelled"
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)
    assert page.done()[1]["state"] == "done"
    assert page.post("cancel", {"job": job}).status == 200  # again: nothing happens
    assert page.state(job)["state"] == "cancelled"


def test_a_job_that_waits_is_cancelled_before_it_begins(site: Page) -> None:
    one, two = dataclasses.replace(site), dataclasses.replace(site)
    one.enter()
    two.enter()
    first = one.ask(amount=SLOW)
    one.until(first, "running")
    second = two.ask()
    assert "1 before" in two.state(second)["words"] or two.state(second)["state"] == "waiting"
    two.post("cancel", {"job": second})
    assert two.state(second)["state"] == "cancelled" and one.state(first)["state"] == "running"
    moved = two.post("move", two.words())  # moves are answered meanwhile
    assert moved.status in (200, 409)
    one.post("cancel", {"job": first})
    one.until(first, "cancelled")


def test_two_browsers_at_once_do_not_mix(site: Page) -> None:
    pages = [dataclasses.replace(site) for _ in range(2)]
    for page in pages:
        page.enter()
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda k: pages[k].done(amount=float(k + 2)), range(2)))
    assert [told["about"]["requested"][-1] for _, told in found] == [2, 3]
    assert found[0][0] != found[1][0] and pages[0].session != pages[1].session


def test_errors_come_back_as_one_line(page: Page) -> None:
    job = page.ask(amount=BAD)
    assert page.until(job, "failed")["error"] == "expected another goal; got this"
    assert page.site.ask(f"/live/array/{job}/frames").status == 400
    assert page.post("keep", {"job": job}).status == 400
    job = page.ask(amount=DEAD)
    assert "exit code 3" in page.until(job, "failed")["error"]
    assert page.done()[1]["state"] == "done"


def test_a_job_beyond_its_limit_is_ended(run: Run, site: Page) -> None:
    desk = LiveService(run, LiveSetting(bundles=("toy",)), begin=start, limit_seconds=0.3)
    app = make_app(run, live_app(desk))
    [token] = app.tokens
    try:
        with serving(entered(app)) as served:
            page = Page(served, token, site.case)
            page.enter()
            assert "limit of 0.3 s" in page.until(page.ask(amount=SLOW), "failed")["error"]
    finally:
        desk.close()


def waiting_job() -> Job:
    return Job(Task(kind="find", case="c", image=Image(np.zeros((1, 4, 4), dtype=np.float32)), model="m"))


def test_a_job_that_nobody_waits_for_leaves_the_worker_alone() -> None:
    job, untouched = waiting_job(), object()
    with pytest.raises(ContrafactError, match="the machine is busy"):
        job.answer(0)
    JobQueue(start, LiveSetting(bundles=("toy",)))._do(untouched, job)  # type: ignore[arg-type]
    assert job.state == "cancelled"


def test_jobs_that_wait_end_with_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    line, job = JobQueue(start, LiveSetting(bundles=("toy",))), waiting_job()
    line.put(job)
    line.close()
    assert job.ended.wait(10) and (job.state, job.error) == ("failed", "the viewer is being closed")

    def none(*given: Any, **more: Any) -> None:
        raise OSError("no memory")

    monkeypatch.setattr("contrafact.viewer.live.queue.Worker", none)
    line, job = JobQueue(start, LiveSetting(bundles=("toy",))), waiting_job()
    line.put(job)
    assert job.ended.wait(10) and "does not start: OSError: no memory" in job.error
    assert line.put(waiting_job()).state == "failed"


def test_a_result_is_kept_only_when_asked(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run", 1)
    before = (run.folder / "results.jsonl").read_bytes()
    desk = LiveService(run, LiveSetting(bundles=("toy",)), begin=start)
    app = make_app(run, live_app(desk))
    [token] = app.tokens
    try:
        with serving(entered(app)) as site:
            case = site.ask("/api/cases").json()["cases"][0]["id"]
            page = Page(site, token, case)
            page.enter()
            job, _ = page.done(amount=4.0)
            page.done(method="gradcam")
            assert (run.folder / "results.jsonl").read_bytes() == before
            key = page.post("keep", {"job": job}).json()["key"]
            again = page.post("keep", {"job": job})
            assert again.status == 400 and "already" in again.text
            assert page.state(job)["kept"]
            [row] = [row for row in run.rows() if row["key"] == key]
            assert row["record"]["method"] == "latent-walk" and row["requested"][-1] == 4
            assert row["record"]["model"] and row["case"] == "Case 1"
            assert run.methods() == {"latent-walk": {"about": "Pretends."}}
            frames = np.frombuffer(site.ask(f"/live/array/{job}/frames").body, "<f4")
            np.testing.assert_array_equal(run.arrays(row)["frames"].ravel(), frames)
            assert key in {r["key"] for r in Run(run.folder).rows()}
    finally:
        desk.close()


def test_a_result_kept_in_a_run_of_several_models_has_its_models_name(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run", 1)
    rows = [{**row, "model_name": "old"} for row in run.rows()]
    (run.folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    desk = LiveService(run, LiveSetting(bundles=("toy",)), begin=start)
    app = make_app(run, live_app(desk))
    [token] = app.tokens
    try:
        with serving(entered(app)) as site:
            page = Page(site, token, site.ask("/api/cases").json()["cases"][0]["id"])
            page.enter()
            page.post("keep", {"job": page.done(method="gradcam")[0]})
    finally:
        desk.close()
    assert [row["model_name"] for row in run.rows()] == ["old"] * 3
    without = {name: value for name, value in run.rows()[-1].items() if name != "model_name"}
    with (run.folder / "results.jsonl").open("a") as file:  # as an older version kept it
        file.write(json.dumps({**without, "key": "older"}) + "\n")
    assert [case.model for case in RunIndex(run).cases().values()] == ["old", "old"]


def test_a_model_that_does_not_load_is_said(run: Run, site: Page) -> None:
    desk = LiveService(run, LiveSetting(bundles=("broken",)), begin=start)
    app = make_app(run, live_app(desk))
    [token] = app.tokens
    try:
        with serving(entered(app)) as served:
            page = Page(served, token, site.case)
            told = page.enter()
            assert told["state"] == "none" and told["reason"] == "expected a bundle; got none"
            assert page.post("ask", page.words()).status in (400, 500)
    finally:
        desk.close()


def test_only_bundles_that_the_run_names_or_the_user_gives_are_live(tmp_path: Path) -> None:
    plain = planted_run(tmp_path / "plain", 1)
    assert make_live(plain) is None
    with pytest.raises(InputError, match="expected a bundle"):
        make_live(plain, "kneee")
    named = Run.create(tmp_path / "named", about={"bundles": [{"name": "knee"}, {"name": 5}, "x"]})
    made = make_live(named)
    assert made is not None
    assert made[1].quick._about[1] == LiveSetting(bundles=("knee",), shipped=True)
    made[1].close()


@pytest.mark.slow
def test_a_live_answer_is_the_librarys(tmp_path: Path, record_property: Any) -> None:
    """A real worker with the phantom bundle: the same frames as `contrafact.explain`, latents kept."""
    from contrafact.api.case import Plan, explain_case
    from contrafact.counterfactual import LatentWalk
    from contrafact.phantoms import draw_factors, knee_phantom

    bundle = cf.load_bundle("phantom")
    rng = np.random.default_rng(0)
    image = knee_phantom(draw_factors(rng), rng).image
    run = Run.create(tmp_path / "run", about={"bundles": [{"name": "phantom"}]})
    model = bundle.predictors["cheat"]
    plan = Plan(predictor=model, methods=["gradcam"], target="class:1", bundle=bundle)
    explain_case(run, "Phantom", image, plan)
    made = make_live(run)
    assert made is not None
    app = make_app(run, made[0])
    [token] = app.tokens
    try:
        with serving(entered(app)) as site:
            page = Page(site, token, site.ask("/api/cases").json()["cases"][0]["id"])
            told = page.enter()
            assert told["model"] == "cheat" and told["targets"][0]["holds"] == ["honest/class:1"]
            assert page.done(method="find")[1]["reconstruction_error"] < 5
            began = time.perf_counter()
            moved = page.post("move", page.words(amount=-1.0)).json()
            record_property("seconds_of_a_move", time.perf_counter() - began)
            job, told = page.done(amount=-1.0, hold=["honest/class:1"])
            page.post("keep", {"job": job})
            assert page.done(method="gradcam")[1]["kind"] == "map"
    finally:
        made[1].close()
    assert np.isfinite(moved["score"])
    steps = tuple(np.linspace(0, -1.0, 9).tolist())
    walk, threads = LatentWalk(steps=steps, hold=("honest/class:1",)), torch.get_num_threads()
    torch.set_num_threads(min(threads, max(1, (os.cpu_count() or 1) // 2)))  # others round otherwise
    try:
        ours = cf.explain(walk, model, image, target="class:1", bundle=bundle)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_allclose(told["about"]["scores"], ours.scores, atol=1e-4)
    row = run.rows()[-1]
    np.testing.assert_allclose(run.arrays(row)["frames"], ours.frames, atol=0.01)
    assert row["record"]["parameters"] == _plain(ours.record.parameters)
    assert row["record"]["notes"]["latents_kept"] == 1 and ours.record.notes == {}
    assert row["record"]["forward_passes"] < ours.record.forward_passes - 10
    assert row["held"][0]["name"] == "honest/class:1"


def _plain(parameters: Any) -> Any:
    return json.loads(json.dumps(parameters))


def test_control_c_ends_the_workers_too(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run", 1)
    words = [sys.executable, "-m", "contrafact.cli", "view", str(run.folder), "--live", "phantom"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port, token = process.stdout.readline().strip().rsplit(":", 1)[1].split("/?token=")
    site = Site(int(port), {"x-contrafact-token": token})
    page = Page(site, token, site.ask("/api/cases").json()["cases"][0]["id"])
    assert page.post("about", {"case": page.case}).json()["state"] == "loading"
    time.sleep(1)
    listed = Path(f"/proc/{process.pid}/task").glob("*/children")  # none where there is no /proc
    children = [int(pid) for file in listed for pid in file.read_text().split()]
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=120)[1] == "" and process.returncode == 0
    ends = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in children):
        assert time.monotonic() < ends
        time.sleep(0.05)


@pytest.mark.parametrize("words", [["--live", "kneee"], ["--live", "phantom", "--no-live"]])
def test_a_bundle_that_is_not_there_is_the_users_mistake(run: Run, words: list[str]) -> None:
    assert main(["view", str(run.folder), *words]) == 2


def test_the_viewer_with_live_questions_starts_without_torch(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={"bundles": [{"name": "knee"}]})
    code = (
        "import sys, contrafact.viewer.live as l; from contrafact.io import open_run; "
        f"l.make_live(open_run({str(run.folder)!r})); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_result_is_not_kept_while_another_process_writes_the_run(page: Page, run: Run) -> None:
    job, _ = page.done()
    rows = len(run.rows())
    with sole_writer(run.folder):
        answer = page.post("keep", {"job": job})
    assert answer.status == 400 and "another run is writing" in answer.text
    assert len(run.rows()) == rows
    assert page.post("keep", {"job": job}).status == 200
    assert len(run.rows()) == rows + 1


BOX = {"mode": "only", "columns": [4, 7], "rows": [2, 9]}


def test_a_box_limits_the_counterfactual_and_is_kept_with_it(page: Page, run: Run) -> None:
    job, told = page.done(by="reached", amount=0.9, box=BOX)
    assert told["about"]["box"]["words"].startswith(
        "Change only here: columns 4 to 7, rows 2 to 9. Every pixel"
    )
    answer = page.site.ask(f"/live/array/{job}/frames")
    frames = np.frombuffer(answer.body, "<f4").reshape([int(n) for n in answer.headers["x-shape"].split(",")])
    inside = np.zeros(frames.shape[-2:], dtype=bool)
    inside[2:10, 4:8] = True
    np.testing.assert_array_equal((frames[-1] != frames[0])[0], inside)
    page.done(method="find", box=BOX)
    moved = page.post("move", page.words(amount=1.0, box=BOX)).json()
    image = np.frombuffer(page.site.ask("/array/0/image").body, "<f4").reshape(moved["shape"])
    values = np.frombuffer(base64.b64decode(moved["frame"]), "<f4").reshape(moved["shape"])
    np.testing.assert_array_equal((values != image)[0], inside)
    keys = [page.post("keep", {"job": job}).json()["key"]]
    for other in ({**BOX, "mode": "keep"}, {**BOX, "rows": [2, 8]}, None):
        job, _ = page.done(by="reached", amount=0.9, box=other)
        keys.append(page.post("keep", {"job": job}).json()["key"])
    assert len(set(keys)) == 4
    rows = {row["key"]: row for row in run.rows()}
    assert rows[keys[0]]["box"] == {**BOX, "slices": None, "exact": True} and "box" not in rows[keys[3]]
    cases = {case["id"] for case in page.site.ask("/api/cases").json()["cases"] if case["name"] == "Case 1"}
    told = [page.site.ask(f"/api/case/{case}").json() for case in cases]  # this worker has digests of its own
    modes = [strip["box"] and strip["box"]["mode"] for case in told for strip in case["strips"]]
    assert (modes.count("only"), modes.count("keep")) == (2, 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"box": {**BOX, "mode": "burn"}}, "expected only or keep as the mode of a box; got 'burn'"),
        ({"box": {**BOX, "columns": [4, 16]}}, "expected columns from 0 to 15; got 16"),
        ({"box": {**BOX, "columns": [1e9, 2e9]}}, "expected the first and the last of the columns"),
        ({"box": {**BOX, "slices": [0, 0]}}, "expected a box with slices on a volume, and without on an image"),
        ({"box": [1, 2]}, "expected a box with its mode, columns and rows"),
        ({"box": {"mode": "keep", "columns": [0, 15], "rows": [0, 15]}}, "got the whole image"),
        ({"box": BOX, "method": "gradcam"}, "expected a box with a counterfactual"),
    ],
)
def test_what_is_no_box_is_refused(page: Page, changes: dict[str, Any], words: str) -> None:
    answer = page.post("ask", page.words(**changes))
    assert answer.status == 400 and words in answer.text
