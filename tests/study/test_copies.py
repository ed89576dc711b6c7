"""A study whose images lie behind addresses, and whose run is copied to an object store."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image as Picture

import contrafact as cf
from contrafact.cli import main
from contrafact.core import InputError
from contrafact.io import open_run
from contrafact.io.run_copy import brought, merged, sent
from contrafact.study.planning import plan
from contrafact.study.preflight import survey
from keyed_store import KeyedStore
from small_study import write_model

STUDY = """
images = ["shop://hospital/images/*.png"]
out = "run"
copy_to = "shop://hospital/runs/one/"
targets = ["class:1"]
masks = "shop://hospital/masks/{stem}.png"
devices = ["cpu"]

[model]
path = "net.json"

[methods.gradient]
[methods.gradcam]
[metrics.auprc]
"""
COPY = "shop://hospital/runs/one"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The keys of an object store `shop://`, with four images and their masks."""
    fsspec.register_implementation("shop", KeyedStore, clobber=True)
    monkeypatch.setenv("CONTRAFACT_REMOTE", str(tmp_path / "cache"))
    KeyedStore.begin()
    rng = np.random.default_rng(1)
    for name in ("images", "masks"):
        for number in range(4):
            values = rng.integers(0, 255, (16, 16), dtype=np.uint8)
            values = values if name == "images" else np.where(values > 200, 255, 0).astype(np.uint8)
            Picture.fromarray(values).save(tmp_path / "a.png")
            KeyedStore.keys[f"hospital/{name}/{number}.png"] = (tmp_path / "a.png").read_bytes()
    return KeyedStore.keys


@pytest.fixture
def study(store: dict[str, bytes], tmp_path: Path) -> Path:
    """The study file, in a folder with its model alone."""
    folder = tmp_path / "here"
    folder.mkdir()
    write_model(folder)
    (folder / "study.toml").write_text(STUDY)
    return folder / "study.toml"


def run(study: Path, **how: Any) -> list[Any]:
    return list(cf.study(study, engine="local", **how))


def done(study: Path) -> set[str]:
    return set(open_run(study.parent / "run").done())


def lost(study: Path, *names: str) -> None:
    """The machine is gone, with its run folders and what it fetched."""
    for name in ("run", "run-shards", "../cache", *names):
        shutil.rmtree(study.parent / name, ignore_errors=True)


def test_images_and_masks_behind_addresses_are_those_of_files(study: Path, store: dict[str, bytes]) -> None:
    assert not [row.failure for row in run(study) if row.failure]
    for key, content in store.items():
        if "/runs/" not in key:
            file = study.parent / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    text = study.read_text().replace("shop://", "").replace('copy_to = "hospital/runs/one/"\n', "")
    (study.parent / "local.toml").write_text(text.replace('"run"', '"local"'))
    run(study.parent / "local.toml")
    one, two = (open_run(study.parent / name) for name in ("run", "local"))
    assert [row["key"] for row in one.rows()] == [row["key"] for row in two.rows()]
    assert [row["source"] for row in one.rows()][:2] == ["shop:/hospital/images/0.png"] * 2
    scores = [[[s["value"] for s in row["scores"]] for row in r.scores().values()] for r in (one, two)]
    assert scores[0] == scores[1] and len(scores[0]) == 4


def test_the_copy_in_the_store_is_a_whole_run(study: Path, store: dict[str, bytes], tmp_path: Path) -> None:
    run(study)
    assert brought(COPY, tmp_path / "copy") > 8
    copy = open_run(tmp_path / "copy")
    assert copy.done() == done(study) and not copy.unreadable(copy.done())
    assert not [key for key in store if "//" in key or key.rsplit("/", 1)[1].startswith(".")]
    before = dict(store)
    lost(study)
    run(study)  # nothing is left to do
    assert done(study) == set(copy.done())
    assert {key: store[key] for key in before if "/arrays/" in key} == {
        key: value for key, value in before.items() if "/arrays/" in key
    }


def test_parts_of_machines_without_a_common_disk_are_merged(study: Path) -> None:
    for index in (1, 2):
        run(study, shard=(index, 2))
        lost(study)
    assert not run(study, merge=True)
    assert len(done(study)) == 8
    sources = {row["source"] for row in open_run(study.parent / "run").rows()}
    assert sources == {f"shop:/hospital/images/{number}.png" for number in range(4)}


def test_a_part_goes_on_from_the_store_where_its_machine_was_lost(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contrafact.study.copies.EVERY_SECONDS", -1.0)
    going = cf.study(study, engine="local", shard=(1, 2))
    for _ in range(3):
        next(going)
    going.close()
    lost(study)
    now = [row for row in run(study, shard=(1, 2)) if row.task.label != "metrics"]
    assert [row.done for row in now] == [3, 4] or len(now) == 1  # two or three of four had been copied
    assert len(open_run(study.parent / "run-shards" / "00001-of-00002").done()) == 4


@pytest.mark.parametrize("at", ["manifest.json", "arrays", "results.jsonl"])
def test_a_machine_lost_while_it_copies_leaves_a_run_that_goes_on(
    study: Path, store: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    real = KeyedStore.pipe_file
    monkeypatch.setattr("contrafact.study.copies.EVERY_SECONDS", -1.0)

    def until(self: KeyedStore, path: str, value: bytes, **_: Any) -> None:
        if at in path and "/runs/" in path:
            raise KeyboardInterrupt
        real(self, path, value)

    with monkeypatch.context() as patch:
        patch.setattr(KeyedStore, "pipe_file", until)
        with pytest.raises(KeyboardInterrupt):
            run(study)
    lost(study)
    assert not [row.failure for row in run(study) if row.failure]
    assert len(done(study)) == 8


def test_what_either_side_has_is_kept(study: Path, store: dict[str, bytes], tmp_path: Path) -> None:
    run(study)
    lines = (study.parent / "run" / "results.jsonl").read_bytes().splitlines(keepends=True)
    store["hospital/runs/one/results.jsonl"] = b"".join(lines[:2] + lines[5:])
    (study.parent / "run" / "results.jsonl").write_bytes(b"".join(lines[:5]))
    sent(study.parent / "run", COPY)
    assert sorted(store["hospital/runs/one/results.jsonl"].splitlines(keepends=True)) == sorted(lines)
    brought(COPY, study.parent / "run")
    assert sorted((study.parent / "run" / "results.jsonl").read_bytes().splitlines(keepends=True)) == sorted(
        lines
    )


def test_lists_are_merged_by_key() -> None:
    one, two, torn = b'{"key": "a", "n": 1}\n', b'{"key": "b"}\n', b'{"key": "c'
    assert merged(one, one + two) == one + two == merged(one + two, one)
    assert merged(b'{"key": "a", "n": 2}\n', one + two) == b'{"key": "a", "n": 2}\n' + two
    assert merged(one + torn, two) == one + two
    assert merged(b"", one + torn) == one


def test_links_of_a_run_are_not_copied(study: Path, store: dict[str, bytes]) -> None:
    run(study)
    (study.parent / "run" / "secret.txt").symlink_to(study.parent / "net.json")
    sent(study.parent / "run", COPY)
    assert not [key for key in store if "secret" in key]


@pytest.mark.parametrize("name", ["../x", "/x", "a//b", "a\\b", "C:/x"])
def test_a_store_cannot_write_elsewhere(store: dict[str, bytes], tmp_path: Path, name: str) -> None:
    store[f"hospital/runs/one/{name}"] = b"x"
    with pytest.raises(InputError, match="expected names within"):
        brought(COPY, tmp_path / "deep" / "run")


def test_a_fetch_that_fails_once_is_tried_again_and_one_that_fails_ends_the_start(study: Path) -> None:
    KeyedStore.failing = {"hospital/images/1.png": 2}
    assert not [row.failure for row in run(study) if row.failure]
    lost(study)
    KeyedStore.failing = {"hospital/masks/1.png": 3}
    with pytest.raises(InputError, match=r"masks/1\.png' cannot be fetched: connection reset"):
        run(study)


def test_an_image_that_does_not_exist_fails_alone(study: Path, store: dict[str, bytes]) -> None:
    table = "path,patient\n" + "".join(f"shop://hospital/images/{n}.png,{n}\n" for n in (0, 1, 7))
    (study.parent / "cohort.csv").write_text(table)
    text = study.read_text().replace('images = ["shop://hospital/images/*.png"]', 'cohort = "cohort.csv"')
    study.write_text(text.replace('masks = "shop://hospital/masks/{stem}.png"\n', ""))
    failed = [row for row in run(study) if row.failure and row.task.label != "metrics"]
    assert {row.task.image for row in failed} == {"shop:/hospital/images/7.png"} and len(failed) == 2
    assert "there is no such file" in failed[0].failure.error
    assert len(done(study)) == 4


def test_a_store_that_refuses_is_told_before_the_work(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(KeyedStore, "put_file", refuse)
    with pytest.raises(InputError, match="runs/one' cannot be written: Access Denied"):
        run(study)
    assert not done(study)


def test_a_store_that_refuses_later_is_said_and_costs_neither_results_nor_report(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, calls = KeyedStore.put_file, list[str]()

    def refuse(self: KeyedStore, lpath: str, rpath: str, **_: Any) -> None:
        calls.append(rpath)
        if len(calls) > 1:
            raise OSError("no space")
        real(self, lpath, rpath)

    monkeypatch.setattr(KeyedStore, "put_file", refuse)
    assert main(["study", str(study), "--engine", "local"]) != 0
    assert "no space" in capsys.readouterr().err
    assert len(done(study)) == 8 and (study.parent / "run" / "report.html").exists()


def test_a_plan_counts_what_the_store_has(study: Path) -> None:
    run(study)
    lost(study)
    assert plan(study, engine="local").left == 0


def test_the_form_asks_no_address(study: Path, store: dict[str, bytes]) -> None:
    table = tomllib.loads(study.read_text())
    found = survey(table, study.parent, study.parent)
    assert {problem.place for problem in found.outside} == {"study.images", "study.masks", "study.copy_to"}
    (study.parent / "cohort.csv").write_text(
        "path,patient,mask\nshop://hospital/images/0.png,a,\nx.png,b,shop://hospital/masks/0.png\n"
    )
    (study.parent / "x.png").write_bytes(store["hospital/images/1.png"])
    rest = {key: table[key] for key in ("out", "model", "methods")} | {"cohort": "cohort.csv"}
    outside = survey(rest, study.parent, Path("/")).outside
    assert {problem.place for problem in outside} == {"study.cohort"}
    assert not KeyedStore.asked


@pytest.mark.parametrize(
    "address",
    ["runs/one", "shop://hospital", "shop://hospital/", "https://host/a", "shop://u:p@host/a", "shop:///"],
)
def test_copy_to_is_a_folder_in_a_bucket(study: Path, address: str) -> None:
    study.write_text(study.read_text().replace("shop://hospital/runs/one/", address))
    with pytest.raises(InputError) as caught:
        run(study)
    assert "\n" not in str(caught.value) and "p@" not in str(caught.value)


@pytest.mark.parametrize("key", ["cohort", "background", "cases"])
def test_what_is_no_image_and_no_mask_is_a_file_of_this_machine(study: Path, key: str) -> None:
    text = study.read_text()
    if key == "cohort":
        text = text.replace('images = ["shop://hospital/images/*.png"]', "")
    study.write_text(f'{key} = "shop://hospital/x.csv"\n{text}')
    with pytest.raises(InputError, match="only images and masks may lie behind one"):
        run(study)


def test_a_run_says_where_its_images_come_from(study: Path) -> None:
    run(study)
    lines = (study.parent / "run" / "results.jsonl").read_text().splitlines()
    assert all("cache" not in json.loads(line)["source"] for line in lines)
