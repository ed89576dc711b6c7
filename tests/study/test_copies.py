"""A study whose images lie behind addresses, and whose run is copied to an object store."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from PIL import Image as Picture
from safetensors.torch import save_file

import contrafact as cf
from contrafact.core import ContrafactWarning, InputError
from contrafact.io import open_run
from contrafact.io.remote import brought, sent
from contrafact.models.example_networks import ResidualNetwork
from contrafact.study.preflight import survey

STUDY = """
images = ["shop://images/*.png"]
out = "run"
copy_to = "shop://runs/one"
targets = ["class:1"]
masks = "shop://masks/{stem}.png"
devices = ["cpu"]

[model]
path = "net.json"

[methods.gradient]
[methods.gradcam]
[metrics.auprc]
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An object store `shop://` that is a folder."""
    folder = tmp_path / "shop"
    folder.mkdir()

    class Shop(DirFileSystem):  # type: ignore[misc]
        protocol = "shop"

        def __init__(self, **_: Any) -> None:
            super().__init__(str(folder), LocalFileSystem(auto_mkdir=True), skip_instance_cache=True)

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return str(path).removeprefix("shop://").strip("/")

        def unstrip_protocol(self, name: str) -> str:
            return f"shop://{self._strip_protocol(name)}"

    fsspec.register_implementation("shop", Shop, clobber=True)
    monkeypatch.setenv("CONTRAFACT_REMOTE", str(tmp_path / "fetched"))
    return folder


@pytest.fixture
def study(store: Path, tmp_path: Path) -> Path:
    """The study file, in a folder with its model alone."""
    import torch

    folder = tmp_path / "here"
    folder.mkdir()
    torch.manual_seed(0)
    network = ResidualNetwork(channels=1, outputs=2, width=4, stages=2)
    save_file(network.state_dict(), folder / "net.safetensors")
    (folder / "net.json").write_text(
        '{"factory": "contrafact.models.example_networks:ResidualNetwork", "weights": "net.safetensors", '
        '"arguments": {"channels": 1, "outputs": 2, "width": 4, "stages": 2}, '
        '"preprocessing": {"window": [0, 255]}}'
    )
    rng = np.random.default_rng(1)
    for name in ("images", "masks"):
        (store / name).mkdir()
        for number in range(4):
            values = rng.integers(0, 255, (16, 16), dtype=np.uint8)
            values = values if name == "images" else np.where(values > 200, 255, 0).astype(np.uint8)
            Picture.fromarray(values).save(store / name / f"{number}.png")
    (folder / "study.toml").write_text(STUDY)
    return folder / "study.toml"


def run(study: Path, **how: Any) -> list[Any]:
    return list(cf.study(study, engine="local", **how))


def test_images_and_masks_behind_addresses_are_those_of_files(study: Path, store: Path) -> None:
    assert not [row.failure for row in run(study) if row.failure]
    local = study.read_text().replace("shop://images/*.png", str(store / "images"))
    local = local.replace("shop://", f"{store}/").replace(f'copy_to = "{store}/runs/one"\n', "")
    (study.parent / "local.toml").write_text(local.replace('"run"', '"local"'))
    run(study.parent / "local.toml")
    one, two = (open_run(study.parent / name) for name in ("run", "local"))
    assert [row["key"] for row in one.rows()] == [row["key"] for row in two.rows()]
    text = [(study.parent / name / "scores.csv").read_text() for name in ("run", "local")]
    assert text[0].replace(str(one.folder), "") == text[1].replace(str(two.folder), "")


def test_the_copy_in_the_store_is_a_whole_run(study: Path, store: Path) -> None:
    run(study)
    copy = open_run(store / "runs" / "one")
    assert copy.done() == open_run(study.parent / "run").done()
    assert not copy.unreadable(copy.done())
    assert not [file for file in (store / "runs" / "one").rglob("*") if file.name.startswith(".")]


def test_parts_of_machines_without_a_common_disk_are_merged(study: Path, store: Path) -> None:
    for index in (1, 2):
        run(study, shard=(index, 2))
        shutil.rmtree(study.parent / "run-shards")  # the machine is gone
    assert not run(study, merge=True)
    assert open_run(study.parent / "run").done() == open_run(store / "runs" / "one").done()
    assert len(open_run(study.parent / "run").done()) == 8


def test_a_part_goes_on_from_the_store_where_its_machine_was_lost(
    study: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contrafact.study.copies.EVERY_SECONDS", -1.0)
    going = cf.study(study, engine="local")
    for _ in range(4):
        next(going)
    going.close()
    shutil.rmtree(study.parent / "run")
    done = [row for row in run(study) if row.task.key in open_run(study.parent / "run").done()]
    assert len(done) < 8
    assert len(open_run(study.parent / "run").done()) == 8


def test_what_is_here_is_never_replaced_by_less(study: Path, store: Path) -> None:
    run(study)
    lines = store / "runs" / "one" / "results.jsonl"
    longer = (study.parent / "run" / "results.jsonl").read_text()
    lines.write_text(longer[: len(longer) // 2])
    brought("shop://runs/one", study.parent / "run")
    assert (study.parent / "run" / "results.jsonl").read_text() == longer
    assert sent(study.parent / "run", "shop://runs/one") >= 1
    assert lines.read_text() == longer


def test_a_store_that_refuses_is_said_and_the_run_goes_on(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("contrafact.study.copies.EVERY_SECONDS", -1.0)

    def refuse(*_: Any) -> int:
        raise InputError("'shop://runs/one' cannot be written: no space")

    monkeypatch.setattr("contrafact.study.copies.sent", refuse)
    with pytest.warns(ContrafactWarning, match="no space"), pytest.raises(InputError, match="no space"):
        run(study)
    assert len(open_run(study.parent / "run").done()) == 8


def test_the_form_asks_no_address(study: Path, store: Path) -> None:
    import tomllib

    table = tomllib.loads(study.read_text())
    found = survey(table, study.parent, study.parent)
    assert {problem.place for problem in found.outside} == {"study.images", "study.masks", "study.copy_to"}
    (study.parent / "cohort.csv").write_text(
        "path,patient,mask\nshop://images/0.png,a,\nx.png,b,shop://masks/0.png\n"
    )
    (study.parent / "x.png").write_bytes((store / "images" / "1.png").read_bytes())
    rest = {k: v for k, v in table.items() if k not in ("images", "masks", "copy_to")} | {
        "cohort": "cohort.csv"
    }
    outside = survey(rest, study.parent, Path("/")).outside
    assert {problem.place for problem in outside} == {"study.cohort"}
    assert not (store.parent / "fetched").exists()


def test_copy_to_is_an_address(study: Path) -> None:
    study.write_text(study.read_text().replace("shop://runs/one", "runs/one"))
    with pytest.raises(InputError, match="copy_to must be an address"):
        run(study)
