"""The job from data to pages: its steps, their order, and that it goes on where it ended."""

import importlib
import json
from pathlib import Path

import pytest

from experiments.evaluate import real_truth_job as job
from experiments.evaluate.real_truth_job import Step


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
    (tmp_path / "steps.json").write_text(json.dumps({"bundle": 7.0}))
    order = []

    def run(step: Step, out: Path) -> float:
        order.append(step.name)
        return 1.0

    monkeypatch.setattr(job, "run", run)
    (tmp_path / "calls.json").write_text("[7.0]")
    seconds, calls = job.work(steps, tmp_path, cores=2)
    assert seconds == {"bundle": 7.0, "maps": 1.0, "page": 1.0}
    assert calls[0] == 7.0 and len(calls) == 2
    assert order == ["maps", "page"]


def test_a_step_that_fails_ends_the_job_and_what_was_done_stays(tmp_path, monkeypatch):
    def run(step: Step, out: Path) -> float:
        if step.name == "second":
            raise SystemExit("second ended with 1")
        return 2.0

    monkeypatch.setattr(job, "run", run)
    with pytest.raises(SystemExit, match="second ended"):
        job.work([Step("first", "m", []), Step("second", "m", [], ["first"])], tmp_path, cores=1)
    assert json.loads((tmp_path / "steps.json").read_text()) == {"first": 2.0}


def test_a_failed_command_names_its_log(tmp_path):
    (tmp_path / "logs").mkdir()
    with pytest.raises(SystemExit, match=r"no-such.txt, then begin the job again"):
        job.run(Step("no: such", "evaluate.none_such", []), tmp_path)
    assert "none_such" in (tmp_path / "logs" / "no-such.txt").read_text()
