"""A run that grows is read on, not again; what was changed behind it is read anew."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contrafact.core import Heatmap, Image, InputError, Record
from contrafact.io import Run, open_run, row_log
from contrafact.io.packed_arrays import packed
from contrafact.io.row_log import RowLog
from contrafact.render.comparison import Comparison
from contrafact.render.run_index import RunIndex


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", about={})


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The lines of all tables that were parsed."""
    lines = list[bytes]()
    parsed = row_log.parsed

    def counted(line: bytes) -> Any:
        lines.append(line)
        return parsed(line)

    monkeypatch.setattr(row_log, "parsed", counted)
    return lines


def add(run: Run, *keys: str, model: str = "", **more: Any) -> None:
    image = Image(np.zeros((1, 4, 4), np.float32), source="a.png")
    for key in keys:
        record = Record(
            method="gradient", parameters={}, target="class:1", model=model or "m" * 8, image=key[0],
            source="a.png", seed=0, versions={}, seconds=0.0, forward_passes=1.0,
        )  # fmt: skip
        heat = Heatmap(values=np.full((4, 4), 0.5, np.float32), grid=image.grid, record=record)
        run.add(key, image, heat, case=key[0], model_name=model, **more)


def keys(run: Run) -> list[str]:
    return [row["key"] for row in run.rows()]


def test_each_line_is_parsed_once_however_many_are_added(run: Run, read: list[bytes]) -> None:
    add(run, *(f"{number}" for number in range(20)))
    for _ in range(3):
        assert run.done() == {str(number) for number in range(20)}
    assert len(read) == 20
    with pytest.raises(InputError, match="holds '7' already"):
        add(run, "7")
    assert sorted(path.name[:5] for path in (run.folder / "arrays").iterdir()) == [
        f"{number:05d}" for number in range(20)
    ]


def test_lines_of_another_process_are_seen(run: Run, read: list[bytes]) -> None:
    add(run, "a1")
    other = open_run(run.folder)
    add(other, "b1")
    with pytest.raises(InputError, match="holds 'b1' already"):
        add(run, "b1")
    assert run.done() == other.done() == {"a1", "b1"}
    assert len(read) == 4  # two by each


def test_half_a_line_is_read_when_it_is_whole(run: Run) -> None:
    add(run, "a1")
    table = run.folder / "results.jsonl"
    whole = table.read_bytes()
    line = whole.replace(b'"a1"', b'"b1"')
    for end in (5, len(line) - 2):
        table.write_bytes(whole)
        with table.open("ab") as file:
            file.write(line[:end])
        assert run.done() == {"a1"}
    with table.open("ab") as file:
        file.write(line[len(line) - 2 :])
    assert run.done() == {"a1", "b1"} and keys(run) == ["a1", "b1"]


def test_a_torn_line_costs_itself_alone(run: Run) -> None:
    add(run, "a1")
    with (run.folder / "results.jsonl").open("ab") as file:
        file.write(b'{"key": "torn", "re')
    assert run.done() == {"a1"}
    add(run, "b1")
    assert keys(run) == ["a1", "b1"] == keys(open_run(run.folder))
    assert [run.row(number)["key"] for number in range(2)] == ["a1", "b1"]


@pytest.mark.parametrize(
    "change",
    [
        lambda table, lines: table.write_text("".join(lines[1:])),
        lambda table, lines: table.write_text("".join([lines[2], *lines, lines[0].replace("a1", "d1")])),
        lambda table, lines: table.write_text("".join(lines).replace("b1", "e1")),
        lambda table, _: table.unlink(),
        lambda table, lines: (table.unlink(), table.write_text("".join(lines[:1] * 9))),
    ],
    ids=["shorter", "longer", "as long", "gone", "another file"],
)
def test_a_table_that_was_changed_is_read_anew(run: Run, change: Callable[[Path, list[str]], Any]) -> None:
    add(run, "a1", "b1", "c1")
    index, table = RunIndex(run), run.folder / "results.jsonl"
    before = run.done(), len(index.cases())
    generation = run.generation()
    change(table, table.read_text().splitlines(keepends=True))
    fresh = open_run(run.folder)
    assert run.done() == fresh.done()
    assert run.rows() == fresh.rows()
    assert run.generation() > generation and before == ({"a1", "b1", "c1"}, 3)
    assert table_of(index) == table_of(RunIndex(fresh))


def table_of(index: RunIndex) -> list[Any]:
    return [(case.id, case.order, case.model, case.failures, case.line()) for case in index.cases().values()]


def test_an_index_that_grows_is_that_of_the_whole_run(run: Run, read: list[bytes]) -> None:
    index, random = RunIndex(run), np.random.default_rng(0)
    for step in range(30):
        key = f"{'abcdef'[random.integers(6)]}{step}"
        if step % 5 == 3:
            run.add_failure(key, method="lime", error="no", source="a.png", model_name="mn"[step % 2])
        elif step % 7 == 6:
            array = run.folder / "arrays" / run.rows()[-1]["array"]
            array.unlink()
            add(run, run.rows()[-1]["key"], replace=True)
        else:
            trust = [{"name": "stability", "passed": bool(random.integers(2)), "sentence": ""}]
            add(run, key, model="mn"[step % 2], trust=trust, answers=[f"{step}"])
        assert table_of(index) == table_of(RunIndex(open_run(run.folder))), step
    run.add_failure(run.rows()[0]["key"], method="lime", error="no", source="a.png", model_name="m")
    add(run, "g99")
    read.clear()
    index.cases()
    assert sum(b'"g99"' in line for line in read) == 1  # the row itself
    assert sum(b'"array"' in line for line in read) == 2  # and the one that the last failure belongs to


def test_an_index_reads_only_new_rows_and_leaves_shown_cases_as_they_are(run: Run, read: list[bytes]) -> None:
    add(run, "a1", "b1")
    index = RunIndex(open_run(run.folder))
    shown = index.cases()
    before = [case.line() for case in shown.values()]
    add(run, "a2", "c1")
    read.clear()
    assert [case.line()["maps"] for case in index.cases().values()] == [2, 1, 1]
    assert [case.line() for case in shown.values()] == before and index.cases() is not shown
    assert len(read) == 2
    read.clear()
    assert index.row(2)["key"] == "a2" and index.scale(next(iter(index._grouped.maps)))[1:] == (4, 4)
    assert len(read) == 1 + 4


def test_no_array_is_opened_to_list_a_run_or_to_see_that_it_is_whole(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(run, "a1", "b1", "c1")
    opened = list[str]()
    real = zipfile.ZipFile.__init__

    def counted(self: zipfile.ZipFile, file: Any, *args: Any, **more: Any) -> None:
        opened.append(str(getattr(file, "name", file)))
        real(self, file, *args, **more)

    monkeypatch.setattr(zipfile.ZipFile, "__init__", counted)
    monkeypatch.setattr(zipfile, "is_zipfile", lambda path: opened.append(str(path)))
    assert run.unreadable(run.done()) == set()
    assert [case.failures for case in RunIndex(run).cases().values()] == [[], [], []]
    assert not opened
    array = run.folder / "arrays" / run.rows()[1]["array"]
    array.write_bytes(array.read_bytes()[:-1] + b"x")
    assert run.unreadable(run.done()) == set()  # its values are what they were
    own = {array.name, *run.rows()[1]["images"].values()}
    assert {Path(name).name for name in opened} == own


def test_a_run_of_the_last_version_has_no_sizes_and_is_checked_by_reading(run: Run) -> None:
    add(run, "a1", "b1")
    table = run.folder / "results.jsonl"
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    table.write_text(
        "".join(json.dumps({k: v for k, v in row.items() if k != "stored"}) + "\n" for row in rows)
    )
    assert run.unreadable(run.done()) == set()
    array = run.folder / "arrays" / rows[1]["array"]
    content = bytearray(array.read_bytes())
    content[200] ^= 255
    array.write_bytes(content)
    assert run.unreadable(run.done()) == {"b1"}
    assert "unreadable" not in str(RunIndex(run).cases())  # as before: the end of the archive is whole
    array.write_bytes(content[:99])
    assert "missing or damaged" in str(RunIndex(open_run(run.folder)).cases())


def test_models_are_compared_without_reading_rows(run: Run, read: list[bytes]) -> None:
    for model in ("one", "two"):
        add(run, *(f"{case}{model}" for case in "abc"), model=model)
    index = RunIndex(run)
    index.cases()
    read.clear()
    assert Comparison(index).models() == ["one", "two"]
    assert not read


def test_a_log_travels_to_another_process_without_its_rows(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    add(run, "a1")
    assert run.done() == {"a1"}
    other = pickle.loads(pickle.dumps(run))
    assert other == run and other.done() == {"a1"}
    assert len(pickle.dumps(run)) < 1000


def test_rows_start_at_any_number(tmp_path: Path) -> None:
    table = tmp_path / "table.jsonl"
    table.write_text("".join(f'{{"key": "{number}"}}\n' if number != 2 else "damaged\n" for number in range(6)))
    log = RowLog(table)
    whole = [(0, "0"), (1, "1"), (2, "3"), (3, "4"), (4, "5")]
    for start in (0, 3, 5, 9):
        assert [(number, row["key"]) for number, row in log.rows(start)] == whole[start:]
    for start in range(6):
        assert [(number, row["key"]) for number, row in log.rows(start)] == whole[start:]
    assert log.newlines() == 6 and [row["key"] for row in log.rows_of({"3", "5"})] == ["3", "5"]


def test_a_fresh_run_gives_any_row_by_its_number_and_refuses_others(run: Run) -> None:
    with pytest.raises(InputError, match=r"there is none in 'results\.jsonl'; got 0$"):
        open_run(run.folder).row(0)
    add(run, "a1", "b1")
    assert [open_run(run.folder).row(number)["key"] for number in (1, 0)] == ["b1", "a1"]
    opened = open_run(run.folder)
    assert opened.row(1)["key"] == "b1"
    add(run, "c1")  # by another process
    assert opened.row(2)["key"] == "c1"
    for number in (-1, 3):
        with pytest.raises(InputError, match=rf"from 0 to 2 of 'results\.jsonl'; got {number}$"):
            opened.row(number)
    (run.folder / "results.jsonl").write_bytes((run.folder / "results.jsonl").read_bytes().split(b"\n")[1])
    with pytest.raises(InputError, match="there is none|from 0 to 0"):
        opened.row(1)


@pytest.mark.parametrize("kind", ["whole", "fractions", "bool", "empty", "strided"])
def test_arrays_are_packed_as_numpy_reads_them(tmp_path: Path, kind: str) -> None:
    values = np.arange(600, dtype=np.float32).reshape(20, 30)
    array = {
        "whole": values, "fractions": values / 7, "bool": values > 9, "empty": values[:0],
        "strided": (values / 7)[::2, ::3].T,
    }[kind]  # fmt: skip
    content = packed({"image": array, "again": array})
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with np.load(path, allow_pickle=False) as file:
        assert sorted(file) == ["again", "image"]
        np.testing.assert_array_equal(file["image"], array)
        assert file["image"].dtype == array.dtype
    with zipfile.ZipFile(path) as archive:
        stored = {entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist()}
    assert stored == {kind in ("fractions", "strided")}
    assert content == packed({"image": array, "again": array})
