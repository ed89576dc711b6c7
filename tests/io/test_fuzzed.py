"""What fuzzing found, by kind: each is refused in one line that names the file, and takes no memory."""

from __future__ import annotations

import importlib.util
import json
import os
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import contrafact as cf
from contrafact.bundles.fitting import fit_stages
from contrafact.core import Grid, Heatmap, Image, InputError, Record, configure, inside
from contrafact.core.errors import ContrafactError
from contrafact.core.limits import set_largest_image
from contrafact.io import Run, open_run, read_cohort, read_image, read_json
from contrafact.models import archives, read_weights
from contrafact.report.page import write_report
from contrafact.study.config import StudyConfig
from contrafact.study.inputs import existing_path
from contrafact.study.preflight import survey
from contrafact.study.torchesegeta import convert_torchesegeta
from experiments.evaluate import fuzz_changes

SITK = importlib.util.find_spec("SimpleITK")
PACKED = (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


@pytest.fixture
def limited() -> Iterator[None]:
    set_largest_image(1000)
    yield
    set_largest_image()


@pytest.fixture
def small_bomb(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(fuzz_changes, "BOMB", 2**25)
    fuzz_changes.bomb.cache_clear()
    yield
    fuzz_changes.bomb.cache_clear()


def result() -> tuple[Image, Heatmap]:
    image = Image(np.ones((1, 8, 8), np.float32), source="a.png")
    record = Record(method="m", image=image.digest, parameters={}, target="class:1", model="m", versions={})
    return image, Heatmap(values=np.ones((8, 8), np.float32), grid=Grid((8, 8)), record=record)


def stored(folder: Path) -> Run:
    run = Run.create(folder / "run", about={"title": "a"})
    run.add("a", *result())
    return run


def repacked(path: Path, packing: int) -> Path:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


HEAD = (
    "ObjectType = Image\nNDims = {n}\nDimSize = {sizes}\n{more}ElementType = MET_UCHAR\n"
    "ElementDataFile = LOCAL\n"
)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.mha", HEAD.format(n=1979, sizes="1 1 1", more=""), "must have 1 to 5 axes"),
        ("a.mha", HEAD.format(n="3\nNDims = 2", sizes="1 1 1", more=""), "the field 'NDims' twice"),
        ("a.mha", HEAD.format(n=3, sizes="4 4", more=""), "with a size for each"),
        ("a.mha", HEAD.format(n=2, sizes="4 4", more="Offset =" + " 1" * 99 + "\n"), "more than 16 numbers"),
        ("a.mha", HEAD.format(n=2, sizes="4 4", more="Comment = " + "x" * 5000 + "\n"), "no readable header"),
        ("a.nrrd", "NRRD0004\n#" + "x" * 200_000 + "\ndimension: 2\nsizes: 4 4\n\n", "no readable header"),
        ("a.nrrd", "NRRD0004\ntype: \0\ndimension: 2\nsizes: 4 4\n\n", "no readable header"),
    ],
)
def test_a_header_that_ends_its_library_is_refused_before(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    pytest.importorskip("SimpleITK")
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        read_image(tmp_path / name)
    assert name in str(caught.value)


@pytest.mark.parametrize("packing", PACKED)
def test_members_that_unpack_without_a_limit_are_refused(tmp_path: Path, packing: int) -> None:
    image, heatmap = result()
    np.savez(tmp_path / "a.npz", image=image.values)
    heatmap.save(tmp_path / "h.npz")
    torch.save({"a": torch.zeros(2)}, tmp_path / "w.pt")
    run = stored(tmp_path)
    row = run.rows()[0]
    repacked(run.folder / "arrays" / row["array"], packing)
    reads: dict[str, Callable[[], Any]] = {
        "a.npz": lambda: read_image(repacked(tmp_path / "a.npz", packing)),
        "h.npz": lambda: cf.read_result(repacked(tmp_path / "h.npz", packing)),
        "w.pt": lambda: read_weights(repacked(tmp_path / "w.pt", packing)),
        row["array"]: lambda: run.arrays(row),
    }
    for name, read in reads.items():
        with pytest.raises(InputError, match="compression") as caught:
            read()
        assert name in str(caught.value)


def test_stored_results_unpack_no_further_than_the_limit(
    tmp_path: Path, limited: None, small_bomb: None
) -> None:
    run, path = stored(tmp_path), result()[1].save(tmp_path / "h.npz")
    array = run.folder / "arrays" / run.rows()[0]["array"]
    for place in (path, array):
        place.write_bytes(fuzz_changes.with_bomb("values.npy", place.read_bytes(), honest=True))
    with pytest.raises(InputError, match=r"'h.npz'.*in all; got 3 of 33,55"):
        cf.read_result(path)
    with pytest.raises(InputError, match=r"arrays/.*in all; got .* of 33,55"):
        run.arrays(run.rows()[0])


@pytest.mark.parametrize("honest", [True, False])
def test_compressed_members_of_a_model_unpack_no_further_than_the_limit(
    tmp_path: Path, small_bomb: None, monkeypatch: pytest.MonkeyPatch, honest: bool
) -> None:
    monkeypatch.setattr(archives, "LARGEST_COMPRESSED", 10**6)
    torch.save({"a": torch.zeros(2)}, tmp_path / "w.pt")
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.endswith("data/0"))
    path.write_bytes(fuzz_changes.with_bomb(name, path.read_bytes(), honest=honest))
    with pytest.raises(InputError, match=r"w.pt.*(unpack to too much|another size|not a model)"):
        archives.read_members(path)
    with pytest.raises(InputError, match=r"w.pt"):
        read_weights(path)


def test_members_in_one_place_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("w/a", bytes(1000))
        again = zipfile.ZipInfo("w/b")
        first = archive.infolist()[0]
        again.header_offset, again.CRC = first.header_offset, first.CRC
        again.file_size = again.compress_size = 1000
        archive.filelist.append(again)
    with pytest.raises(InputError, match="several in one place"):
        archives.check_unpacked(tmp_path / "w.pt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_no_table_of_a_run_and_no_configuration_is_a_pipe(tmp_path: Path) -> None:
    run = stored(tmp_path)
    for name in ("results.jsonl", "failures.jsonl", "scores.jsonl"):
        (run.folder / name).unlink(missing_ok=True)
        os.mkfifo(run.folder / name)
    os.mkfifo(tmp_path / "c.json")
    other = stored(tmp_path / "other")
    row = other.rows()[0]
    (other.folder / "arrays" / row["array"]).unlink()
    os.mkfifo(other.folder / "arrays" / row["array"])
    assert "missing or damaged" in other.flaw(row)
    with pytest.raises(InputError, match="a pipe, a device or a socket"):
        other.arrays(row)
    for read in (run.rows, run.failures, run.scores, lambda: convert_torchesegeta(tmp_path / "c.json")):
        with pytest.raises(InputError, match="a pipe, a device or a socket"):
            read()


def test_a_deep_line_and_a_member_that_is_no_array_cost_their_row_alone(tmp_path: Path) -> None:
    run = stored(tmp_path)
    with (run.folder / "results.jsonl").open("a") as file:
        file.write('{"key": ' + "[" * 100_000 + "\n")
    row = open_run(run.folder).rows()[0]
    with zipfile.ZipFile(run.folder / "arrays" / row["array"], "a") as archive:
        archive.writestr("note.txt", "hello")
    with pytest.raises(InputError, match="members that are no arrays"):
        run.arrays(row)


def test_a_later_image_that_is_missing_is_named(tmp_path: Path) -> None:
    from experiments.evaluate.fuzz_files import KINDS

    KINDS["run folder"].write(tmp_path)
    run = open_run(tmp_path / "run")
    row = next(row for row in run.rows() if row["kind"] == "strip")
    del row["images"]["followup_000"]
    with pytest.raises(InputError, match="the array 'followup_000' is missing"):
        run.arrays(row)
    table = run.folder / "results.jsonl"
    table.write_text("".join(json.dumps(row if r["key"] == row["key"] else r) + "\n" for r in run.rows()))
    assert row["array"] in write_report(open_run(run.folder)).read_text()


def test_deep_configurations_of_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="nested too deeply"):
        convert_torchesegeta(tmp_path / "c.json")


def test_a_number_beyond_floats_is_refused() -> None:
    table = {"images": ["a"], "out": "b", "methods": {"gradient": {}}, "model": {"path": "m"}}
    with pytest.raises(InputError, match=r"study.limit_seconds must be a number up to 1e300; got one of 401 d"):
        configure(StudyConfig, {**table, "limit_seconds": 10**400}, where="study")


def test_whatever_a_message_holds_it_is_one_printable_line(tmp_path: Path) -> None:
    assert str(ContrafactError("a\nb\x00c\u2028d \ud800")) == "a b\\x00c d \\ud800"
    (tmp_path / "a.json").write_bytes(b"\xff")
    with pytest.raises(InputError) as caught:
        read_json(tmp_path / "a.json")
    assert str(caught.value).isprintable()


def test_a_wrong_preprocessing_is_named_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"model": "m.onnx", "preprocessing": {"window": [3, 1]}}')
    with pytest.raises(InputError, match=r"'m.json': window must be"):
        cf.load_predictor(tmp_path / "m.json")


def test_rows_longer_than_their_header_are_named(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("file\na.png,b,c\n")
    with pytest.raises(InputError, match=r"a column 'path' in 'c.csv'; got \['file'\]"):
        read_cohort(tmp_path / "c.csv")


def test_a_circle_of_links_is_no_file_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "a")
    with pytest.raises(InputError, match="cannot be opened"):
        inside(tmp_path, "a", what="a file")


def test_a_survey_of_a_bundle_without_predictors_tells_it(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "bundle.json").write_text('{"predictors": [1]}')
    found = survey({"model": {"bundle": "b"}, "images": [], "out": "r"}, tmp_path, tmp_path)
    assert any("'predictors' (a table)" in problem.text for problem in found.missing)


def test_weights_of_another_size_are_no_generator_of_a_fit(tmp_path: Path) -> None:
    from PIL import Image as Picture

    (tmp_path / "images").mkdir()
    for number in range(8):
        Picture.fromarray(np.full((16, 16), 30 * number, np.uint8)).save(tmp_path / "images" / f"{number}.png")
    (tmp_path / "fit.toml").write_text(
        'name = "a"\nout = "out"\n[data]\npath = "images"\n[generator]\nresolution = 16\n'
    )
    (tmp_path / "out").mkdir()
    cf.io.write_tensors(tmp_path / "out" / "generator.safetensors", {"a": torch.zeros(2)})
    with pytest.raises(InputError, match=r"'generator.safetensors' is not the generator of this configuration"):
        list(fit_stages(tmp_path / "fit.toml", stage="encoder", device="cpu"))


def answers(folder: Path) -> Any:
    pytest.importorskip("starlette")
    from experiments.evaluate.fuzz_files import KINDS

    KINDS["reader study"].write(folder)
    return KINDS["reader study"].read


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("update trials set shows = '[['", "not a readable file of answers"),
        ("update trials set shows = '[[0, 99], [0, 99]]'", "is damaged"),
        ("update trials set task = 'x'", "is damaged"),
        ("update settings set value = '{'", "not a readable file of answers"),
        ("delete from trials", "expected a reader of this study"),
        ("update answers set correct = 'x'", "is damaged: 'correct' of trial 0 of 'Ada' is 'x'"),
        ("update trials set truth = x'00'", "is damaged"),
        ("drop table answers; create table answers (a text)", "reading.sqlite"),
        (None, "file is not a database"),
    ],
)
def test_a_damaged_file_of_answers_is_named(tmp_path: Path, change: str | None, words: str) -> None:
    judge = answers(tmp_path)
    if change is None:
        (tmp_path / "reading.sqlite").write_bytes(b"no database" * 100)
    else:
        base = sqlite3.connect(tmp_path / "reading.sqlite")
        base.executescript(change)
        base.close()
    with pytest.raises(ContrafactError, match=words) as caught:
        judge(tmp_path / "reading.sqlite")
    assert "reading.sqlite" in str(caught.value)


def test_files_that_are_no_dicom_are_not_sent(tmp_path: Path) -> None:
    pytest.importorskip("pynetdicom")
    from contrafact.export.dicom.send import Archive, send

    (tmp_path / "a.dcm").write_bytes(b"hello" * 100)
    with pytest.raises(InputError, match=r"'a.dcm' is not a readable DICOM file"):
        list(send(tmp_path, Archive("127.0.0.1", 9, "TEST")))


def test_names_that_no_file_can_have_are_missing_files(tmp_path: Path) -> None:
    name = "x" * 5000
    (tmp_path / "c.csv").write_text(f"path\n{name}\n")
    with pytest.raises(InputError, match=r"line 2 of 'c.csv': .* does not exist"):
        read_cohort(tmp_path / "c.csv")
    with pytest.raises(InputError, match="cannot be opened"):
        read_image(tmp_path / name)
    with pytest.raises(InputError, match="relative to the study file; it does not exist"):
        existing_path(tmp_path, name)
    with pytest.raises(InputError, match="expected a bundle"):
        cf.load_bundle(name)
    if SITK:
        head = HEAD.format(n=2, sizes="4 4", more="").replace("LOCAL", "x" * 3000)
        (tmp_path / "a.mhd").write_text(head)
        with pytest.raises(InputError, match="which is no file beside it"):
            read_image(tmp_path / "a.mhd")


def test_settings_of_other_kinds_are_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"timeout": [60], "methods": {"captum_Saliency": {}}}')
    with pytest.raises(InputError, match=r"'c.json' is not a TorchEsegeta configuration that can be converted"):
        convert_torchesegeta(tmp_path / "c.json")


def test_a_study_whose_methods_cannot_be_made_is_named(tmp_path: Path) -> None:
    text = 'images = ["*.png"]\nout = "r"\n[model]\npath = "m.json"\n[methods.gradient]\n'
    (tmp_path / "mine.toml").write_text(text + "inner = 1\n")
    with pytest.raises(InputError, match=r"'mine.toml': gradient takes absolute; got 'inner'"):
        list(cf.study(tmp_path / "mine.toml", engine="local"))
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(InputError, match=r"'mine.toml': no image matches"):
        list(cf.study(tmp_path / "mine.toml", engine="local"))


def test_a_circle_of_links_is_no_key_and_no_folder_of_a_fit(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    from contrafact.bundles.fitting import read_config
    from contrafact.export.dicom.export import read_key
    from experiments.evaluate.fuzz_files import FIT

    (tmp_path / "out").symlink_to(tmp_path / "out")
    with pytest.raises(InputError, match=r"expected a key of UIDs; got '.*out', which cannot be opened"):
        read_key(tmp_path / "out", tmp_path / "exported")
    (tmp_path / "fit.toml").write_text(FIT)
    with pytest.raises(InputError, match=r"expected a folder as 'out' of 'fit.toml'; got '.*', which cannot"):
        read_config(tmp_path / "fit.toml")


@pytest.mark.slow
def test_a_fit_with_other_images_names_its_configuration(tmp_path: Path) -> None:
    from PIL import Image as Picture

    from experiments.evaluate.fuzz_files import KINDS

    KINDS["fit, continued"].write(tmp_path)
    Picture.fromarray(np.zeros((16, 16), np.uint8)).save(tmp_path / "images" / "0.png")
    with pytest.raises(InputError, match=r"'fit.toml': the saved run was trained with other images"):
        list(fit_stages(tmp_path / "fit.toml", device="cpu"))


def test_a_patient_in_two_splits_is_told_with_the_table(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 4)))
    rows = "path,patient,split\na.npy,p,train\na.npy,p,val\n"
    (tmp_path / "mine.csv").write_text(rows)
    with pytest.raises(InputError, match=r"'mine.csv': patient 'p' is in the splits 'train' and 'val'"):
        read_cohort(tmp_path / "mine.csv")


def test_an_array_whose_header_is_no_python_is_damaged(tmp_path: Path) -> None:
    run = stored(tmp_path)
    row = run.rows()[0]
    path = run.folder / "arrays" / row["array"]
    arrays = {name: array for name, array in run.arrays(row).items() if name != "values"}
    np.savez(path, **arrays)
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (8L, 8"
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("values.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(InputError, match=r"of the run is unreadable \(TokenError\)"):
        run.arrays(row)


@pytest.mark.parametrize("width", [-4, 10**15])
def test_a_network_that_cannot_be_made_is_named(tmp_path: Path, width: int) -> None:
    from experiments.evaluate.fuzz_models import described

    described(tmp_path)
    about = read_json(tmp_path / "model.json")
    cf.io.write_json(tmp_path / "model.json", about | {"arguments": {"widths": [width]}})
    with pytest.raises(InputError, match=r"'model.json': .* that takes these arguments; got .*PlainNetwork'"):
        cf.load_predictor(tmp_path / "model.json")
