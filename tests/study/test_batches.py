"""Images that a method explains at once: the same results, and what fails of a batch fails alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import contrafact as cf
from contrafact.core import InputError
from contrafact.io import open_run
from contrafact.jobs.tasks import Failure, Outcome
from contrafact.models.example_networks import ResidualNetwork
from contrafact.perturbation import memory
from contrafact.study import ModelChoice, StudyConfig, read_study, runner, solving
from contrafact.study.batches import Batch, StudyTask, batches_of

STUDY = """
images = ["images"]
out = "run"
batch = 3
[model]
path = "net.json"
[methods.gradient]
[methods.gradcam]
[methods.rise]
masks = 8
[methods.gradient-shap]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of seven images of two sizes, which follow one another, and one that is no image."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ResidualNetwork(channels=1, outputs=3, width=4, stages=2)
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    (tmp_path / "net.json").write_text(
        '{"factory": "contrafact.models.example_networks:ResidualNetwork", "weights": "net.safetensors", '
        '"arguments": {"channels": 1, "outputs": 3, "width": 4, "stages": 2}}'
    )
    (tmp_path / "images").mkdir()
    for number in range(7):
        side = 20 if number in (1, 4) else 16
        values = np.random.default_rng(number).uniform(0, 0.3 + number / 10, (1, side, side))
        np.save(tmp_path / "images" / f"{number}.npy", values.astype(np.float32))
    (tmp_path / "images" / "5.npy").write_bytes(b"no image")
    (tmp_path / "study.toml").write_text(STUDY)
    return tmp_path


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images were explained at once."""
    found, before = list[int](), solving.solve_together

    def counted(names: Any, images: Any, *args: Any) -> Any:
        found.append(len(images))
        return before(names, images, *args)

    monkeypatch.setattr(solving, "solve_together", counted)
    return found


def run_study(folder: Path, text: str = STUDY) -> dict[str, Any]:
    """Run the study, and return every result by its key."""
    (folder / "study.toml").write_text(text)
    for _ in cf.study(folder / "study.toml", engine="local"):
        pass
    return {row["key"]: (row, arrays) for row, arrays in open_run(folder / "run").results()}


def test_results_and_failures_are_those_of_one_image_at_a_time(folder: Path, sizes: list[int]) -> None:
    together = run_study(folder)
    assert max(sizes) == 2 and sizes.count(2) == 4  # blocks 0 1 2, 3 4 5 (no image), 6, of two sizes
    failures = open_run(folder / "run").failures()
    (folder / "run").rename(folder / "together")
    alone = run_study(folder, STUDY.replace("batch = 3\n", ""))
    assert list(together) != [] and set(together) == set(alone) and len(alone) == 6 * 4
    for key, (row, arrays) in together.items():
        other, expected = alone[key]
        limit = 1e-5 * np.abs(expected["values"]).max()
        np.testing.assert_allclose(arrays["values"], expected["values"], atol=limit, rtol=0)
        np.testing.assert_array_equal(arrays["image"], expected["image"])
        same = ("case", "answers", "target_name", "source", "label", "window")
        assert {name: row[name] for name in same} == {name: other[name] for name in same}
        record = ("method", "parameters", "target", "image", "seed", "forward_passes")
        assert [row["record"][name] for name in record] == [other["record"][name] for name in record]
    again = open_run(folder / "run").failures()
    assert [(f["key"], f["error"]) for f in failures] == [(f["key"], f["error"]) for f in again]
    assert {Path(f["source"]).name for f in failures} == {"5.npy"} and len(failures) == 4


def test_what_fails_in_a_batch_fails_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = solving.solve_together

    def poisoned(names: Any, images: Any, *args: Any) -> Any:
        if "2.npy" in names:
            raise RuntimeError(f"it cannot explain {len(names)}")
        return before(names, images, *args)

    monkeypatch.setattr(solving, "solve_together", poisoned)
    found = run_study(folder)
    assert len(found) == 5 * 4
    failed = [f for f in open_run(folder / "run").failures() if Path(f["source"]).name == "2.npy"]
    assert [f["error"] for f in failed] == ["it cannot explain 1"] * 4


@pytest.mark.parametrize("kind", ["limit", "died"])
def test_a_batch_whose_worker_ends_runs_again_one_at_a_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    before, given = runner.run_tasks, list[int]()

    def ended(tasks: Any, start: Any, setting: Any, **options: Any) -> Iterator[Outcome]:
        given.extend(len(one.tasks) for one in tasks)
        for outcome in before(tasks, start, setting, **options):
            several = len(tasks[outcome.number].tasks) > 1
            yield Outcome(outcome.number, Failure(kind, "ended"), 1.0) if several else outcome

    monkeypatch.setattr(runner, "run_tasks", ended)
    assert len(run_study(folder)) == 6 * 4
    assert given == [3] * 8 + [1] * 4 + [1] * 24
    assert {f["kind"] for f in open_run(folder / "run").failures()} == {"error"}  # of the file that is no image


def test_large_images_are_explained_fewer_at_once(
    folder: Path, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "VOXELS", 16 * 16)
    assert len(run_study(folder)) == 6 * 4 and set(sizes) == {1}


def test_a_study_that_ends_inside_a_batch_goes_on(folder: Path, sizes: list[int]) -> None:
    for _ in itertools.islice(cf.study(folder / "study.toml", engine="local"), 2):
        pass
    done = open_run(folder / "run").done()
    assert len(done) == 2
    assert len(run_study(folder)) == 6 * 4
    keys = [row["key"] for row in open_run(folder / "run").rows()]
    assert len(keys) == len(set(keys)) and done < set(keys)


def config(**more: Any) -> StudyConfig:
    return StudyConfig(
        out="run", images=("a",), model=ModelChoice(path="m"), methods={"gradient": {}, "gradcam": {}}, **more
    )


def tasks(images: str) -> list[StudyTask]:
    return [StudyTask(f"{i}/{label}", i, label, "") for i in images for label in ("gradient", "gradcam")]


def test_batches_have_one_method_and_know_what_follows() -> None:
    found = batches_of(tasks("abc"), config(batch=2))
    assert [("".join(t.image for t in b.tasks), b.tasks[0].label) for b in found] == [
        ("ab", "gradient"), ("ab", "gradcam"), ("c", "gradient"), ("c", "gradcam"),
    ]  # fmt: skip
    assert [(b.images, b.ahead) for b in found] == [(("a", "b"), ("c",))] * 2 + [(("c",), ())] * 2
    assert batches_of([], config()) == []


@pytest.mark.parametrize("own", ["region", "keep", "reference", "cases"])
def test_images_with_masks_of_their_own_are_explained_one_at_a_time(own: str) -> None:
    given = tasks("ab")
    expected = [Batch((task,), (task.image,), ("b",) if task.image == "a" else ()) for task in given]
    assert batches_of(given, config(batch=8, **{own: "masks/{stem}.png"})) == expected
    assert batches_of(given, config()) == expected


@pytest.mark.parametrize("number", [0, -1, 17])
def test_a_batch_has_a_size(folder: Path, number: int) -> None:
    (folder / "study.toml").write_text(STUDY.replace("batch = 3", f"batch = {number}"))
    with pytest.raises(InputError, match="batch must be from 1 to 16 images"):
        read_study(folder / "study.toml")
