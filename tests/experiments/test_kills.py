"""A handful of the kills of `experiments.evaluate.kills`: what goes on after SIGKILL ends as if undisturbed."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime", reason="its inputs are those of fuzzing")
pytest.importorskip("starlette", reason="kills a reader study too")

from contrafact.io import open_run
from experiments.evaluate.kills import TRIALS, of_command, run_left, timeless
from experiments.evaluate.kills_processes import Moment, changes_of, run_until
from experiments.evaluate.kills_reader import reader_study

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="reads processor times of Linux"
)
TOLD = argparse.Namespace(kills=2, seed=5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["study", "explain", "export", "fit, translator"])
def test_a_killed_command_goes_on_to_the_same_end(name: str) -> None:
    kills, _, wrong = of_command(name, TOLD)
    assert kills >= 2
    assert not wrong


@pytest.mark.slow
def test_a_killed_reader_study_keeps_what_it_took() -> None:
    kills, _, wrong = reader_study(TOLD)
    assert kills == 2
    assert not wrong


@pytest.mark.slow
def test_a_result_that_is_there_twice_or_changed_is_noticed(tmp_path: Path) -> None:
    TRIALS["export"].prepare(tmp_path)
    before, path = run_left(tmp_path), tmp_path / "run" / "results.jsonl"
    lines = path.read_text()
    path.write_text(lines + lines.splitlines()[0] + "\n")
    with pytest.raises(RuntimeError, match="holds a key twice"):
        run_left(tmp_path)
    path.write_text(lines.replace("yes 90 %", "yes 80 %", 1))
    assert run_left(tmp_path) != before
    path.write_text(lines)
    assert run_left(tmp_path) == before
    assert len(open_run(tmp_path / "run").rows()) == 4


@pytest.mark.slow
def test_a_command_is_ended_before_the_change_that_is_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "case"
    folder.mkdir()
    TRIALS["export"].prepare(folder)
    assert run_until(TRIALS["export"].words(folder), folder, Moment(change=1))[1]
    assert not (folder / "out").exists()
    assert not run_until(TRIALS["export"].words(folder), folder)[1]
    names = [path.name for path in (folder / "out").iterdir()]
    assert len(names) == 4
    assert changes_of(folder) == 3 * len(names)  # the folder made, the file opened and renamed


def test_times_are_left_out() -> None:
    assert timeless({"a": [{"seconds": 1, "b": 2}], "peak_memory_mb": 3}) == {"a": [{"b": 2}]}
