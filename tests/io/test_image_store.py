"""Images of a run: each is stored once, and a run of schema 1, whose results hold them, is read and goes on."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browsing import heatmap, planted_run, ramp
from contrafact.core import ContrafactError, ContrafactWarning, Grid, Image, InputError
from contrafact.export.run_files import FORMS, export_run
from contrafact.io import SCHEMA, Run, open_run
from contrafact.render.case import case_page
from contrafact.render.run_index import RunIndex
from contrafact.report.page import write_report
from earlier_run import as_schema_1


def image(level: float = 0.0) -> Image:
    return Image(ramp(level=level), window=(0.0, 200.0), source="/data/knee.png")


def files(run: Run) -> list[str]:
    return sorted(path.name for path in (run.folder / "images").iterdir())


def everything(run: Run) -> dict[str, Any]:
    """Every array of every result, by key."""
    return {row["key"]: {n: a.tobytes() for n, a in run.arrays(row).items()} for row in run.rows()}


def test_an_image_is_stored_once_for_all_its_results(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    for number in range(4):
        run.add(f"a{number}", image(), heatmap("a"))
    Run(run.folder).add("a4", image(), heatmap("a"))  # another process, which has not seen the first results
    assert len(files(run)) == 1
    run.add("b", image(1.0), heatmap("b"))
    run.add("c", Image(ramp(), Grid((16, 16), affine=np.diag([2.0, 2, 2, 1]))), heatmap("c"))  # another grid
    assert len(files(run)) == 3
    for row in run.rows():
        with np.load(run.folder / "arrays" / row["array"]) as own:
            assert set(own) == {"values"}
    arrays = run.arrays(run.rows()[4])
    np.testing.assert_array_equal(arrays["image"], image().values)
    np.testing.assert_array_equal(arrays["affine"], image().grid.affine)


def test_later_images_and_real_cases_are_stored_once_too(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run")
    row = next(row for row in run.rows() if row.get("followup"))
    assert set(row["images"]) == {"image", "followup_000"}
    assert set(row["images"].values()) <= set(files(run))
    assert {"image", "affine", "followup_000"} <= set(run.arrays(row))


@pytest.mark.parametrize("how", ["missing", "cut", "flipped", "text", "another array", "a pipe"])
def test_a_damaged_image_is_named_costs_its_own_results_and_is_put_back(tmp_path: Path, how: str) -> None:
    run = planted_run(tmp_path / "run")
    before, [first, *_] = everything(run), run.rows()
    path = run.folder / "images" / first["images"]["image"]
    content = bytearray(path.read_bytes())
    path.unlink()
    if how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "flipped":
        content[len(content) // 3] ^= 255
        path.write_bytes(content)
    elif how == "text":
        np.savez(path, values=np.array(["a"]), affine=np.eye(4))
    elif how == "another array":
        np.savez(path, other=np.ones((1, 16, 16)))
    elif how == "a pipe":
        os.mkfifo(path)
    own = {row["key"] for row in run.rows() if row["images"]["image"] == path.name}
    for fresh in (run, open_run(run.folder)):
        assert fresh.unreadable(fresh.done()) == own
        with pytest.raises(InputError, match=f"^'images/{path.name}' of the run is unreadable") as said:
            fresh.arrays(first)
        assert "\n" not in str(said.value)
    index = RunIndex(run)
    pages = [case_page(index, case) for case in index.cases().values()]
    assert sum(len(page["maps"]) + len(page["strips"]) for page in pages) == len(before) - len(own)
    assert path.name in str(pages[0]["failures"]) and path.name in write_report(run).read_text()
    with pytest.warns(ContrafactWarning, match=path.name):
        assert len(list(run.results())) == len(before) - len(own)
    if how == "a pipe":
        path.unlink()
    run.restore(Image(ramp(level=1), window=(0.0, 200.0)))
    assert everything(run) == before and run.unreadable(run.done()) == set()


@pytest.mark.parametrize("fails", ["image", "arrays", "line"])
def test_an_image_lies_there_before_the_line_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    run = Run.create(tmp_path / "run", about={})
    run.add("a", image(), heatmap("a"))
    left, sync = [{"image": 0, "arrays": 1, "line": 2}[fails]], os.fsync

    def full(file: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        sync(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ContrafactError, match="No space left"):
        run.add("b", image(9.0), heatmap("b"))
    monkeypatch.undo()
    assert len(files(run)) == (1 if fails == "image" else 2)
    assert not list(run.folder.rglob("*.part"))
    fresh = open_run(run.folder)
    for row in fresh.rows():  # a line that could not be flushed may be there, and is whole then
        assert fresh.arrays(row)
    if fails != "line":
        assert fresh.done() == {"a"}
        fresh.add("b", image(9.0), heatmap("b"))
        assert len(everything(fresh)) == 2


def test_a_damaged_image_is_written_anew_with_the_next_result_of_it(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    run.add("a", image(), heatmap("a"))
    path = run.folder / "images" / files(run)[0]
    path.write_bytes(b"torn")
    run.add("b", image(), heatmap("b"))
    assert run.unreadable(run.done()) == set() and len(files(run)) == 1


@pytest.mark.parametrize("name", ["../../secret.npz", "/etc/x.npz", "x.txt", ""])
def test_no_line_names_an_image_elsewhere(tmp_path: Path, name: str) -> None:
    run = planted_run(tmp_path / "run")
    row = {**run.rows()[0], "images": {"image": name}}
    with pytest.raises(InputError, match=r"expected the name of an \.npz file in 'images'"):
        run.arrays(row)
    assert "expected the name" in run.flaw(row)


def test_a_run_of_schema_1_is_read(tmp_path: Path) -> None:
    before = everything(planted_run(tmp_path / "run"))
    told = {form: texts(open_run(tmp_path / "run"), form, tmp_path / f"new {form}") for form in FORMS}
    run = as_schema_1(tmp_path / "run")
    assert run.manifest()["schema"] == 1 and not (run.folder / "images").exists()
    assert everything(run) == before and run.unreadable(run.done()) == set()
    assert all(case.failures == [] for case in list(RunIndex(run).cases().values())[:2])
    assert "cannot be shown" not in write_report(run).read_text()
    assert {form: texts(run, form, tmp_path / f"old {form}") for form in FORMS} == told
    assert run.manifest()["schema"] == 1  # reading changes nothing


def texts(run: Run, form: str, folder: Path) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ContrafactWarning)
        return sorted(path.name for path in export_run(run, form, folder))


def test_a_run_of_schema_1_goes_on_as_one_of_schema_2_and_keeps_its_lines(tmp_path: Path) -> None:
    planted_run(tmp_path / "run")
    run = as_schema_1(tmp_path / "run")
    before, lines = everything(run), (run.folder / "results.jsonl").read_text()
    run.add("new", image(1.0), heatmap("new"))
    assert open_run(run.folder).manifest() == {**run.manifest(), "schema": SCHEMA}
    assert (run.folder / "results.jsonl").read_text().startswith(lines)
    after = everything(open_run(run.folder))
    assert {key: after[key] for key in before} == before and len(files(run)) == 1


@pytest.mark.parametrize("change", [lambda _: None, as_schema_1], ids=["schema 2", "schema 1"])
def test_images_of_another_run_are_linked_once(tmp_path: Path, change: Callable[[Path], Any]) -> None:
    part, run = planted_run(tmp_path / "part"), Run.create(tmp_path / "run", about={})
    change(part.folder)
    part = open_run(part.folder)
    for row in part.rows():
        run.take(part, row)
    assert everything(run) == everything(part) and run.unreadable(run.done()) == set()
    if part.manifest()["schema"] == SCHEMA:
        assert files(run) == files(part)
        for name in files(run):
            assert (run.folder / "images" / name).samefile(part.folder / "images" / name)


def test_a_schema_that_is_not_known_is_refused(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run")
    (run.folder / "manifest.json").write_text(json.dumps({"schema": 3}))
    with pytest.raises(InputError, match="expected a run of schema 1 or 2; got 3"):
        open_run(run.folder)


def test_two_writers_of_one_image_do_not_disturb_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, sync, nested = Run.create(tmp_path / "run", about={}), os.fsync, list[int]()

    def other_writer(file: int) -> None:
        sync(file)
        if not nested:
            nested.append(file)
            open_run(run.folder).restore(image())  # writes the image, and ends, before the first one does

    monkeypatch.setattr(os, "fsync", other_writer)
    run.add("a", image(), heatmap("a"))
    assert nested and run.unreadable(run.done()) == set() and len(files(run)) == 1


def test_what_a_killed_merge_leaves_is_never_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, run = planted_run(tmp_path / "part"), Run.create(tmp_path / "run", about={})
    before, row = everything(part), part.rows()[0]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            run.take(part, row)
    assert list(run.folder.rglob("*.part"))  # a link to the image of the part
    name = row["images"]["image"]
    opened, written = Path.open, list[Path]()

    def watched(self: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        if "w" in mode and self.exists():
            written.append(self)
        return opened(self, mode, *args, **options)

    monkeypatch.setattr(Path, "open", watched)
    arrays = part.arrays(row)
    run.restore(Image(arrays["image"], Grid(arrays["image"].shape[1:], affine=arrays["affine"])))
    assert not [path for path in written if path.samefile(part.folder / "images" / name)]
    assert files(run)[0] == name and everything(part) == before


def test_an_image_that_is_not_that_of_its_name_is_taken_from_the_part(tmp_path: Path) -> None:
    part, run = planted_run(tmp_path / "part"), Run.create(tmp_path / "run", about={})
    row = part.rows()[0]
    (run.folder / "images").mkdir()
    np.savez(run.folder / "images" / row["images"]["image"], values=np.ones((1, 3, 3)), affine=np.eye(4))
    run.take(part, row)
    assert everything(run)[row["key"]] == everything(part)[row["key"]]


def test_two_writers_that_make_a_run_present_at_once_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    planted_run(tmp_path / "run")
    run = as_schema_1(tmp_path / "run")
    (run.folder / "manifest.json.part").mkdir()  # as if another process were writing there
    run.add("new", image(1.0), heatmap("new"))
    assert run.manifest()["schema"] == SCHEMA
