"""Tasks on Ray: what dies is replaced, what exceeds its limit is ended, what fails is a failure."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from contrafact.core import ContrafactError, InputError
from contrafact.jobs.on_ray import AGAIN
from contrafact.jobs.pool import run_tasks
from contrafact.jobs.tasks import Failure

pytestmark = pytest.mark.slow


def start(folder: str, device: str) -> Any:
    """Tasks that do what their name says; each is noted when it begins."""
    if folder == "broken":
        raise ValueError("the model does not load")

    def solve(task: str) -> str:
        marks = Path(folder) / f"{task}-{time.monotonic_ns()}"
        marks.touch()
        seen = len(list(Path(folder).glob(f"{task}-*")))
        if task == "fails":
            raise ValueError("no such\nclass")
        if task == "dies" or (task == "dies-once" and seen == 1):
            os._exit(7)
        if task == "hangs":
            time.sleep(600)
        return f"{task} on {device}"

    return solve


def outcomes(tasks: list[str], folder: str, **options: Any) -> dict[str, Any]:
    ray = pytest.importorskip("ray", reason="needs ray: pip install 'contrafact[ray]'")
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import tests
    found = run_tasks(tasks, start, folder, engine="ray", **options)
    return {tasks[one.number]: one.result for one in found}


def test_every_task_has_an_outcome_whatever_becomes_of_its_actor(tmp_path: Path) -> None:
    tasks = ["a", "fails", "dies-once", "b", "dies", "c"]
    found = outcomes(tasks, str(tmp_path), devices=("cpu", "cpu"))
    assert {name: found[name] for name in "abc"} == {name: f"{name} on cpu" for name in "abc"}
    assert found["dies-once"] == "dies-once on cpu"
    assert isinstance(found["fails"], Failure) and found["fails"].error == "no such class"
    assert isinstance(found["dies"], Failure) and found["dies"].kind == "died"
    assert len(list(tmp_path.glob("dies-1*")) + list(tmp_path.glob("dies-[2-9]*"))) == AGAIN + 1


def test_a_task_that_exceeds_its_limit_is_ended(tmp_path: Path) -> None:
    found = outcomes(["hangs", "a"], str(tmp_path), devices=("cpu",), limit_seconds=3)
    assert isinstance(found["hangs"], Failure) and found["hangs"].kind == "limit"
    assert found["a"] == "a on cpu"


def test_a_model_that_does_not_load_ends_the_run() -> None:
    with pytest.raises(ContrafactError, match="no worker could start: the model does not load"):
        outcomes(["a"], "broken", devices=("cpu",))


def test_an_address_at_which_nothing_answers_is_named() -> None:
    with pytest.raises(InputError, match=r"no Ray cluster at '127\.0\.0\.1:1'"):
        outcomes(["a"], ".", devices=("cpu",), address="127.0.0.1:1")
