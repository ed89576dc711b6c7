"""The job from data to pages: its steps, their order, and that it goes on where it ended."""

import importlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from experiments.evaluate import real_truth_job as job
from experiments.evaluate.real_truth_job import Spent, Step


def test_every_step_names_a_script_and_needs_steps_that_are_there(tmp_path):
    steps = job.steps_of(tmp_path / "data", tmp_path)
    names = [step.name for step in steps]
    assert len(set(names)) == len(names)
    for step in steps:
        assert set(step.needs) <= set(names)
        assert importlib.util.find_spec(f"experiments.{step.module}"), step.module


def test_steps_wait_for_what_they_need_and_done_ones_are_skipped(tmp_path, monkeypatch):
    steps = [
        Step("page", "m", [], ["maps", "bundle"]),
        Step("maps", "m", [], ["bundle"]),
        Step("bundle", "m", []),
    ]
    bundle = {"clock": 7.0, "processor": 6.0, "done": True}
    (tmp_path / "steps.json").write_text(json.dumps({"bundle": bundle}))
    (tmp_path / "calls.json").write_text("[7.0]")
    order = []

    def run(step: Step, out: Path, before: Spent) -> Spent:
        order.append(step.name)
        return Spent(1.0, 1.0, True)

    monkeypatch.setattr(job, "run", run)
    spent, calls = job.work(steps, tmp_path, cores=2)
    assert spent == {"bundle": Spent(**bundle), "maps": Spent(1.0, 1.0, True), "page": Spent(1.0, 1.0, True)}
    assert calls[0] == 7.0 and len(calls) == 2
    assert order == ["maps", "page"]


def test_a_step_that_fails_ends_the_job_and_the_one_beside_it_is_done(tmp_path, monkeypatch):
    failed = threading.Event()

    def run(step: Step, out: Path, before: Spent) -> Spent:
        if step.name == "fails":
            failed.set()
            return Spent(3.0, 2.0, False)
        assert failed.wait(60)
        return Spent(2.0, 2.0, True)

    monkeypatch.setattr(job, "run", run)
    with pytest.raises(SystemExit, match=r"fails failed; see .*fails.txt, then begin the job again"):
        job.work([Step("beside", "m", []), Step("fails", "m", [])], tmp_path, cores=2)
    written = json.loads((tmp_path / "steps.json").read_text())
    assert [written[name]["done"] for name in ("beside", "fails")] == [True, False]


def test_a_step_counts_all_its_runs(tmp_path, monkeypatch):
    (tmp_path / "logs").mkdir()
    monkeypatch.setattr(job.sys, "executable", "false")
    first = job.run(Step("a: b", "m", []), tmp_path, Spent())
    monkeypatch.setattr(job.sys, "executable", "true")
    both = job.run(Step("a: b", "m", []), tmp_path, first)
    assert not first.done and both.done
    assert both.clock > first.clock > 0 and both.processor > first.processor > 0


def test_a_failed_command_keeps_what_it_said(tmp_path):
    (tmp_path / "logs").mkdir()
    assert not job.run(Step("no: such", "evaluate.none_such", []), tmp_path, Spent()).done
    assert "none_such" in (tmp_path / "logs" / "no-such.txt").read_text()


ENDED = """
import sys
from experiments.evaluate import real_truth_job as job
job.steps_of = lambda data, out: [job.Step("long: step", "m", [])]
sys.executable, sys.argv = sys.argv[1], ["job", "--data", ".", "--out", sys.argv[2]]
job.main()
"""


def test_a_job_that_is_ended_ends_its_steps_and_counts_them(tmp_path):
    step = tmp_path / "step.sh"
    step.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 600\n")
    step.chmod(0o755)
    running = subprocess.Popen([sys.executable, "-c", ENDED, str(step), str(tmp_path / "out")])
    try:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            assert running.poll() is None
            time.sleep(0.05)
        running.terminate()
        assert running.wait() == 1
    finally:
        running.kill()
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()
    [spent] = json.loads((tmp_path / "out" / "steps.json").read_text()).values()
    assert not spent["done"] and spent["clock"] > 0
