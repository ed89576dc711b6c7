"""A study in parts, and the run that takes them in."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

import contrafact as cf
from contrafact.core import InputError
from contrafact.io import Run, open_run
from contrafact.study.shards import Shard, read_shard, shards_of
from earlier_run import as_schema_1
from small_study import write_model

STUDY = """
images = ["images"]
out = "run"
targets = ["class:1"]

[model]
path = "net.json"

[methods.gradient]
[methods.gradcam]
[metrics.deletion]
[metrics.sparseness]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of five small images."""
    write_model(tmp_path)
    rng = np.random.default_rng(1)
    (tmp_path / "images").mkdir()
    for number in range(5):
        values = rng.integers(0, 255, (16, 16), dtype=np.uint8)
        Picture.fromarray(values).save(tmp_path / "images" / f"{number}.png")
    (tmp_path / "study.toml").write_text(STUDY)
    return tmp_path


def run_study(folder: Path, **how: Any) -> list[Any]:
    return list(cf.study(folder / "study.toml", engine=how.pop("engine", "local"), **how))


def contents(folder: Path) -> dict[str, Any]:
    """Every result of a run by its key, without times."""
    found: dict[str, Any] = {}
    for row, arrays in open_run(folder).results():
        record = {k: v for k, v in row["record"].items() if k not in ("seconds", "peak_memory_mb")}
        found[row["key"]] = record, {name: array.tobytes() for name, array in arrays.items()}
    return found


def tables(folder: Path) -> str:
    return (folder / "summary.csv").read_text()


def test_parts_together_are_what_one_run_is(folder: Path) -> None:
    for index in (1, 2, 3):
        run_study(folder, shard=(index, 3))
        assert not (folder / "run").exists()
    assert [len(run.done()) for run in shards_of(folder / "run")] == [4, 4, 2]
    merged = run_study(folder, merge=True)
    assert merged == []  # nothing was left to do
    together, table = contents(folder / "run"), tables(folder / "run")
    assert len(open_run(folder / "run").scores()) == 5

    (folder / "run").rename(folder / "other")
    run_study(folder)
    alone = contents(folder / "run")
    assert alone == together
    assert tables(folder / "run") == table


def test_merging_twice_and_after_an_end_in_between_takes_each_result_once(folder: Path) -> None:
    run_study(folder, shard="1/2")
    run_study(folder, shard="2/2")
    first = shards_of(folder / "run")[0]
    run = Run.create(folder / "run", about={})
    run.take(first, first.rows()[0])  # an earlier merge ended here
    run_study(folder, merge=True)
    run_study(folder, merge=True)
    keys = Counter(row["key"] for row in open_run(folder / "run").rows())
    assert len(keys) == 10 and set(keys.values()) == {1}
    with pytest.raises(InputError, match="already"):
        run.take(first, first.rows()[0])


def test_each_image_of_the_parts_is_stored_once(folder: Path) -> None:
    run_study(folder, shard="1/2")
    run_study(folder, shard="2/2")
    as_schema_1(shards_of(folder / "run")[1].folder)
    run_study(folder, merge=True)
    first, run = shards_of(folder / "run")[0], open_run(folder / "run")
    stored = sorted((run.folder / "images").iterdir())
    assert [path.name for path in stored] == sorted(p.name for p in (first.folder / "images").iterdir())
    assert len(stored) == 3 and len(list(run.results())) == 10
    assert all(path.samefile(first.folder / "images" / path.name) for path in stored)


@pytest.mark.parametrize("out", [".", "", "..", "runs/.."])
def test_the_run_has_a_folder_of_its_own(folder: Path, out: str) -> None:
    (folder / "study.toml").write_text(STUDY.replace('out = "run"', f'out = "{out}"'))
    with pytest.raises(InputError, match="out must be a folder of its own"):
        run_study(folder, shard="1/2")
    assert not list(folder.parent.glob("*-shards"))


def test_what_a_part_lacks_is_run_when_all_are_merged(folder: Path) -> None:
    run_study(folder, shard="1/2")
    run_study(folder, shard="2/2")
    second = shards_of(folder / "run")[1]
    lines = (second.folder / "results.jsonl").read_text().splitlines(keepends=True)
    (second.folder / "results.jsonl").write_text("".join(lines[:-1]))
    (second.folder / "arrays" / open_run(second.folder).rows()[0]["array"]).write_bytes(b"damaged")
    done = run_study(folder, merge=True)
    assert len([row for row in done if row.task.label != "metrics"]) == 2  # the lost line, and the damaged file
    assert len(open_run(folder / "run").done()) == 10


def test_results_of_other_settings_are_left(folder: Path) -> None:
    run_study(folder, shard="1/1")
    (folder / "study.toml").write_text(STUDY.replace("[methods.gradcam]\n", "[methods.occlusion]\nbox = 4\n"))
    run_study(folder, merge=True)
    run = open_run(folder / "run")
    assert Counter(row["label"] for row in run.rows()) == {"gradient": 5, "occlusion": 5}
    methods = {score["method"] for row in run.scores().values() for score in row["scores"]}
    assert "occlusion" in methods and "gradcam" not in methods


@pytest.mark.parametrize("text", ["", "0/3", "4/3", "3", "1/0", "a/b", "1/2/3", "-1/3"])
def test_a_shard_is_a_number_of_a_count(text: str) -> None:
    with pytest.raises(InputError, match="expected a shard"):
        read_shard(text)


def test_every_image_is_in_one_part() -> None:
    items = list(range(10))
    parts = [Shard(index, 4).of(items) for index in (1, 2, 3, 4)]
    assert sorted(item for part in parts for item in part) == items
    assert max(map(len, parts)) - min(map(len, parts)) == 1
    with pytest.raises(InputError, match="at most 10 shards"):
        Shard(11, 11).of(items)


def test_a_missing_part_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match="got none: run it with --shard"):
        run_study(folder, merge=True)
    run_study(folder, shard="1/3")
    with pytest.raises(InputError, match="missing: 2/3, 3/3"):
        run_study(folder, merge=True)
    run_study(folder, shard="1/2")
    with pytest.raises(InputError, match="parts of 2 and of 3"):
        run_study(folder, merge=True)


def test_what_goes_together(folder: Path) -> None:
    with pytest.raises(InputError, match="address is of the engine ray"):
        run_study(folder, address="auto")
    with pytest.raises(InputError, match="a shard or merge"):
        run_study(folder, shard="1/2", merge=True)


@pytest.mark.slow
def test_ray_gives_the_same_results(folder: Path) -> None:
    pytest.importorskip("ray", reason="needs ray: pip install 'contrafact[ray]'")
    run_study(folder, engine="ray")
    on_ray = contents(folder / "run")
    (folder / "run").rename(folder / "other")
    run_study(folder)
    assert contents(folder / "run") == on_ray


def test_without_ray_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'contrafact\[ray\]'"):
        run_study(folder, engine="ray")


def test_a_plan_runs_the_first_image_and_reckons_the_rest(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from contrafact.cli import main
    from contrafact.study.planning import plan

    found = plan(folder / "study.toml", engine="local")
    assert (found.images, found.left, found.workers) == (5, 4, 1)
    assert {one.method: one.passes for one in found.methods} == {"gradient": 1.0, "gradcam": 1.0}
    assert all(one.seconds > 0 and one.memory_mb > 0 and not one.error for one in found.methods)
    assert found.scoring > 0
    per_image = sum(one.seconds for one in found.methods) + found.scoring
    assert found.seconds == pytest.approx(found.begin + 4 * per_image)
    assert len(open_run(folder / "run").done()) == 2  # kept: the study goes on from there
    assert not (folder / "run" / "summary.csv").exists()
    done = run_study(folder)
    assert len(done) == 4 * 3
    again = plan(folder / "study.toml", engine="local")
    assert again.left == 0 and again.seconds == 0.0
    main(["study", str(folder / "study.toml"), "--plan", "--engine", "local"])
    said = capsys.readouterr().out
    assert "gradcam" in said and "0 of 5 images are left" in said


def test_a_plan_says_which_method_fails(folder: Path) -> None:
    from contrafact.study.planning import plan

    (folder / "study.toml").write_text(STUDY.replace("[methods.gradcam]", '[methods.gradcam]\nlayer = "none"'))
    found = plan(folder / "study.toml", engine="local")
    failed = [one for one in found.methods if one.error]
    assert [one.method for one in failed] == ["gradcam"] and "none" in failed[0].error
    assert found.left == 4  # what failed is not run again
    run = open_run(folder / "run")
    [failure] = run.failures()
    run.add_failure(**{**failure, "seconds": 600.0})  # as one that was stopped after its limit
    again = plan(folder / "study.toml", engine="local")
    assert again.seconds > 4 * 600.0


def test_a_second_plan_has_the_metrics_of_the_first(folder: Path) -> None:
    from contrafact.study.planning import plan

    plan(folder / "study.toml", engine="local")
    [scores] = open_run(folder / "run").scores().values()
    again = plan(folder / "study.toml", engine="local")
    assert again.left == 4
    assert again.scoring == pytest.approx(sum(one["seconds"] for one in scores["scores"])) and again.scoring > 0


@pytest.mark.parametrize("how", [["--shard", "1/2"], ["--merge"], ["--retry"], ["--address", "auto"]])
def test_a_plan_goes_with_no_word_that_it_would_leave_out(
    folder: Path, capsys: pytest.CaptureFixture[str], how: list[str]
) -> None:
    from contrafact.cli import main

    assert main(["study", str(folder / "study.toml"), "--plan", *how]) == 2
    assert f"{how[0]} does not go with --plan" in capsys.readouterr().err
    assert not (folder / "run").exists()


def test_a_plan_names_the_engines(folder: Path) -> None:
    from contrafact.study.planning import plan

    with pytest.raises(InputError, match="engine must be one of processes, local, ray"):
        plan(folder / "study.toml", engine="proceses")


def test_a_failure_of_a_part_is_not_told_where_the_result_is_there(folder: Path) -> None:
    run_study(folder, shard="1/1")
    run_study(folder, merge=True)
    part = shards_of(folder / "run")[0]
    row = part.rows()[0]
    (part.folder / "results.jsonl").write_text("")  # it failed there, and was run where the parts were merged
    part.add_failure(row["key"], method="gradient", error="out of memory", kind="error", trace="")
    for _ in range(2):
        run_study(folder, merge=True)
        assert not (folder / "run" / "failures.jsonl").exists()
