"""Studies: many methods on many images; what fails is a row, what hangs is stopped, what is done stays."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from pydicom.data import get_testdata_file
from safetensors.torch import save_file
from torch import nn

from conftest import small_network
from contrafact.cli import main
from contrafact.core import ContrafactError, ContrafactWarning, InputError, Trust
from contrafact.io import Run, open_run, set_largest_image
from contrafact.io.run_cohort import stem
from contrafact.jobs.pool import run_tasks
from contrafact.jobs.tasks import Failure
from contrafact.study import read_study
from contrafact.study.inputs import cases_of, images_of, stem_of
from contrafact.study.runner import StudyTask, TaskProgress, study, tasks_of
from earlier_run import as_schema_1


def solver(setting: str, device: str) -> Any:
    """What a cell asks: a number is answered, a word is obeyed."""
    if setting == "no model":
        raise InputError("there is no such model")

    def solve(cell: Any) -> Any:
        if cell == "hang":
            time.sleep(600)
        if cell == "die":
            import os

            os._exit(7)
        if cell == "fail":
            raise ValueError("this method cannot")
        return f"{setting} {device} {cell}"

    return solve


@pytest.mark.slow
def test_what_fails_hangs_or_dies_is_an_outcome_and_the_others_go_on() -> None:
    cells = [1, "fail", "hang", "die", 2, 3]
    outcomes = {
        o.number: o.result for o in run_tasks(cells, solver, "m", devices=["a", "b"], limit_seconds=2.0)
    }
    assert sorted(outcomes) == list(range(6))
    assert outcomes[0] in ("m a 1", "m b 1")
    assert [outcomes[n].split()[-1] for n in (4, 5)] == ["2", "3"]
    kinds = {n: outcomes[n].kind for n in (1, 2, 3)}
    assert kinds == {1: "error", 2: "limit", 3: "died"}
    assert outcomes[1].error == "this method cannot"
    assert "ValueError" in outcomes[1].trace
    assert "exit code 7" in outcomes[3].error


def test_a_model_that_does_not_load_is_no_cells_failure() -> None:
    with pytest.raises(ContrafactError, match="no worker could start: there is no such model"):
        list(run_tasks([1, 2], solver, "no model", devices=["cpu"]))


def test_in_this_process_the_same_cells_give_the_same() -> None:
    outcomes = list(run_tasks([1, "fail"], solver, "m", devices=["cpu"], engine="local"))
    assert outcomes[0].result == "m cpu 1"
    assert isinstance(outcomes[1].result, Failure)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_file(small_network().eval().state_dict(), tmp_path / "net.safetensors")
    about = {
        "factory": "conftest:small_network",
        "arguments": {},
        "weights": "net.safetensors",
        "classes": ["no", "yes"],
    }
    (tmp_path / "net.json").write_text(json.dumps(about))
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", rng.uniform(0, 1, (1, 16, 16)).astype(np.float32))
    write(tmp_path)
    return tmp_path


def write(folder: Path, text: str = "", methods: str = "[methods.gradient]\n[methods.gradcam]\n") -> Path:
    path = folder / "study.toml"
    head = 'images = ["*.npy"]\nout = "run"\ntargets = ["class:1"]\n' + text
    path.write_text(head + '[model]\npath = "net.json"\n' + methods)
    return path


def rows(path: Path, **more: Any) -> list[tuple[str, str, str]]:
    found = study(path, engine="local", trust_code=True, **more)
    return [(Path(r.task.image).name, r.task.label, r.failure.kind if r.failure else "") for r in found]


def test_the_task_of_a_progress_is_found_by_its_old_name_with_a_warning() -> None:
    task = StudyTask("key", "a.npy", "gradient", "class:1")
    with pytest.warns(DeprecationWarning, match="TaskProgress.cell is called TaskProgress.task now"):
        assert TaskProgress(task, 1, 1, None).cell is task


def test_every_method_on_every_image_and_again_nothing(folder: Path) -> None:
    path = folder / "study.toml"
    assert rows(path) == [(f"{i}.npy", m, "") for i in "ab" for m in ("gradient", "gradcam")]
    run = open_run(folder / "run")
    assert [row["label"] for row in run.rows()] == ["gradient", "gradcam"] * 2
    assert rows(path) == []
    np.save(folder / "c.npy", np.ones((1, 16, 16), np.float32))
    assert rows(path) == [("c.npy", "gradient", ""), ("c.npy", "gradcam", "")]
    write(folder, methods="[methods.gradient]\n[methods.far]\nmethod = 'gradcam'\nlayer = '0'\n")
    assert rows(path) == [(f"{i}.npy", "far", "") for i in "abc"]
    write(folder, methods="[methods.far]\nmethod = 'gradcam'\nlayer = '3'\n")
    assert [label for _, label, _ in rows(path)] == ["far"] * 3  # another layer is another question


def test_another_model_under_the_same_name_is_asked_again(folder: Path) -> None:
    path = folder / "study.toml"
    assert len(rows(path)) == 4
    network = small_network().eval()
    network[0].weight.data.mul_(2)
    save_file(network.state_dict(), folder / "net.safetensors")
    assert len(rows(path)) == 4


def test_what_failed_is_a_row_and_is_tried_again_only_when_asked(folder: Path) -> None:
    path = write(folder, methods="[methods.gradient]\n[methods.gradcam]\nlayer = 'nowhere'\n")
    assert [kind for *_, kind in rows(path)] == ["", "error"] * 2
    failures = open_run(folder / "run").failures()
    assert len(failures) == 2
    assert "expected a layer" in failures[0]["error"]
    assert "Traceback" in failures[0]["trace"]
    assert rows(path) == []
    assert [kind for *_, kind in rows(path, retry=True)] == ["error"] * 2


@pytest.mark.slow
def test_in_processes_by_the_command_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    path = write(
        folder,
        "limit_seconds = 3.0\nworkers_per_device = 2\n",
        "[methods.gradient]\n[methods.rise]\nmasks = 100000000\ncells = 4\n",
    )
    assert main(["study", str(path), "--trust-code", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert sorted(r["method"] for r in said["now"]) == ["gradient"] * 2 + ["rise"] * 2
    assert {f["kind"] for f in said["failed"]} == {"limit"}
    assert "limit of 3 s" in said["failed"][0]["error"]
    page = (folder / "run" / "report.html").read_text()
    assert "gradient" in page
    assert "limit of 3 s" in page


def test_background_region_reference_and_smooth_of_an_inner_method(folder: Path) -> None:
    (folder / "others").mkdir()
    np.save(folder / "others" / "x.npy", np.zeros((1, 16, 16), np.float32))
    mask = np.zeros((1, 16, 16), np.float32)
    mask[0, 4:8] = 1
    (folder / "masks").mkdir()
    for name in "ab":
        np.save(folder / "masks" / f"{name}.npy", mask)
    path = write(
        folder,
        'background = "others"\nregion = "masks/{stem}.npy"\n',
        "[methods.expected-gradients]\nsamples = 4\n[methods.smooth]\nsamples = 2\n"
        "inner = { name = 'gradcam', layer = '3' }\n",
    )
    assert [kind for *_, kind in rows(path)] == [""] * 4
    run = open_run(folder / "run")
    values = run.arrays(run.rows()[0])["values"]
    assert values[4:8].any() and not values[8:].any()
    assert run.rows()[1]["record"]["parameters"]["inner"]


def test_real_cases_are_stored_with_the_first_method_and_others_are_another_result(folder: Path) -> None:
    (folder / "others").mkdir()
    rng = np.random.default_rng(5)
    for number in range(8):
        values = rng.uniform(0, 4 * (number % 2) + 0.1, (1, 16, 16)).astype(np.float32)
        np.save(folder / "others" / f"case{number}.npy", values)
    path = write(folder, 'cases = "others"\n', "[methods.gradient]\n[methods.input-x-gradient]\n")
    assert [kind for *_, kind in rows(path)] == [""] * 4
    run = open_run(folder / "run")
    assert [("nearest" in row) for row in run.rows()] == [True, False] * 2
    assert all("of 8 cases" in row["nearest"]["words"] for row in run.rows() if "nearest" in row)
    assert rows(path) == []
    (folder / "others" / "case7.npy").unlink()
    assert [label for _, label, _ in rows(path)] == ["gradient"] * 2
    with pytest.raises(InputError, match="expected 'nowhere' relative to the study file"):
        rows(write(folder, 'cases = "nowhere"\n'))


@pytest.mark.parametrize(
    ("text", "methods", "said"),
    [
        ("limit_second = 3.0\n", "[methods.gradient]\n", "did you mean 'limit_seconds'"),
        ("", "[methods.gradcan]\n", "did you mean 'gradcam'"),
        ("", "[methods.gradcam]\nlayr = '1'\n", "did you mean 'layer'"),
        ("limit_seconds = 0.0\n", "[methods.gradient]\n", "above 0"),
        ("workers_per_device = 0\n", "[methods.gradient]\n", "at least 1"),
    ],
)
def test_a_study_that_cannot_begin_says_why(folder: Path, text: str, methods: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_study(write(folder, text, methods))


def test_no_image_a_missing_model_and_an_unknown_engine(folder: Path) -> None:
    path = folder / "study.toml"
    with pytest.raises(InputError, match="engine must be one of"):
        list(study(path, engine="proceses"))
    path.write_text(path.read_text().replace("*.npy", "*.nii.gz"))
    with pytest.raises(InputError, match="no image matches"):
        list(study(path))
    write(folder)
    (folder / "net.json").unlink()
    with pytest.raises(InputError, match=r"expected 'net.json'"):
        list(study(path))


def test_the_same_cell_twice_is_one_and_region_and_reference_are_told_apart(folder: Path) -> None:
    path = write(folder, methods="[methods.gradient]\n")
    path.write_text(path.read_text().replace('["class:1"]', '["class:1", "class:1"]'))
    with pytest.warns(ContrafactWarning, match="class:1, class:1 are the same, class:1, and run once"):
        assert len(rows(path)) == 2
    (folder / "masks").mkdir()
    for name in "ab":
        np.save(folder / "masks" / f"{name}.npy", np.ones((1, 16, 16), np.float32))
    config = read_study(write(folder, 'region = "masks/{stem}.npy"\n', "[methods.gradient]\n"))
    other = read_study(write(folder, 'reference = "masks/{stem}.npy"\n', "[methods.gradient]\n"))
    trust = Trust(factories=True)
    pairs = [tasks_of(c, folder, cases_of(c, folder), trust) for c in (config, other)]
    keys = [{cell.key for cell in cells} for cells in pairs]
    assert not keys[0] & keys[1]


def test_a_target_is_one_cell_however_it_is_written(folder: Path) -> None:
    """By the name of its class, and of a model without names by its number."""
    path = write(folder, methods="[methods.gradient]\n")
    text = path.read_text()
    path.write_text(text.replace('["class:1"]', '["yes", "class:1", "class:yes", "class:0"]'))
    with pytest.warns(
        ContrafactWarning, match="the targets yes, class:1, class:yes are the same, class:1, and"
    ):
        assert len(rows(path)) == 4
    run = open_run(folder / "run")
    assert [row["record"]["target"] for row in run.rows()] == ["class:1", "class:0"] * 2
    keys = {row["key"] for row in run.rows()}
    assert {key.split("/")[2] for key in keys} == {"class:1", "class:0"}
    path.write_text(text)
    assert rows(path) == []  # what another text asked is there
    about = json.loads((folder / "net.json").read_text())
    (folder / "net.json").write_text(json.dumps({k: v for k, v in about.items() if k != "classes"}))
    path.write_text(text.replace('["class:1"]', '["1", "class:1"]'))
    with pytest.warns(ContrafactWarning, match="the targets 1, class:1 are the same"):
        assert len(rows(path)) == 2


def test_a_target_that_does_not_fit_is_the_failure_of_its_cells(folder: Path) -> None:
    path = write(folder, methods="[methods.gradient]\n")
    path.write_text(path.read_text().replace('["class:1"]', '["class:7", "maybe"]'))
    assert [kind for *_, kind in rows(path)] == ["error"] * 4
    assert {row["target"] for row in open_run(folder / "run").failures()} == {"class:7", "maybe"}


def test_a_folder_of_dicom_files_is_one_series(folder: Path) -> None:
    (folder / "series").mkdir()
    slices = pydicom.dcmread(get_testdata_file("CT_small.dcm"))  # of one series by its header
    for number in range(3):
        slices.save_as(folder / "series" / f"{number}.dcm")
    write(folder).write_text((folder / "study.toml").read_text().replace("*.npy", "series"))
    assert images_of(read_study(folder / "study.toml"), folder) == [folder / "series"]


def test_odd_letters_and_a_cut_line_lose_no_row(folder: Path) -> None:
    run = Run.create(folder / "odd", about={})
    run.add_failure("a", error="wide\u2028line\x85")
    with (folder / "odd" / "failures.jsonl").open("ab") as file:
        file.write('{"key": "M\u00fc'.encode()[:-1])
    run.add_failure("b", error="after")
    assert {row["key"] for row in run.failures()} == {"a", "b"}


def segmenter() -> nn.Module:
    """Two classes from two convolutions."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1))


def test_a_segmenter_that_takes_patches_explains_the_whole_image(folder: Path) -> None:
    save_file(segmenter().state_dict(), folder / "net.safetensors")
    about = {"factory": "test_study:segmenter", "weights": "net.safetensors", "classes": ["no", "yes"]}
    (folder / "net.json").write_text(json.dumps(about))
    path = folder / "study.toml"
    text = 'images = ["a.npy"]\nout = "run"\ntargets = ["volume:1"]\n[model]\npath = "net.json"\n'
    methods = "[methods.gradient]\n[methods.gradcam]\n"
    path.write_text(text + methods)
    assert [kind for *_, kind in rows(path)] == ["", ""]
    path.write_text(text.replace('"run"', '"patched"') + "patch = [8, 8]\noverlap = 0.5\n" + methods)
    assert [kind for *_, kind in rows(path)] == ["", "error"]  # a layer has no map of the whole image
    patched = open_run(folder / "patched")
    assert patched.arrays(patched.rows()[0])["values"].shape == (16, 16)
    assert "takes patches" in patched.failures()[0]["error"]


def test_a_study_sets_how_large_an_image_may_be(folder: Path) -> None:
    try:
        assert rows(write(folder, "largest_image = 100\n")) == [
            (f"{i}.npy", m, "error") for i in "ab" for m in ("gradient", "gradcam")
        ]
        assert "the limit is 100" in open_run(folder / "run").failures()[0]["error"]
        assert {kind for *_, kind in rows(write(folder, "largest_image = 256\n"), retry=True)} == {""}
    finally:
        set_largest_image()
    with pytest.raises(InputError, match="largest_image must be at least 1"):
        read_study(write(folder, "largest_image = 0\n"))


def test_a_damaged_result_whose_repetition_fails_is_a_failure_once(folder: Path) -> None:
    path = write(folder, methods="[methods.gradient]\n")
    rows(path)
    run = open_run(folder / "run")
    row = run.rows()[0]
    (run.folder / "arrays" / row["array"]).unlink()
    run.add_failure(row["key"], method="gradient", error="it took too long", kind="limit")
    assert [failure["key"] for failure in run.failures()] == [row["key"]]
    assert rows(path) == []  # known as a failure; with `retry` it is computed again
    assert len(rows(path, retry=True)) == 1
    assert open_run(folder / "run").failures() == []


@pytest.mark.parametrize("how", ["cut", "flipped", "missing"])
def test_a_result_whose_array_is_damaged_is_computed_again_in_its_line(folder: Path, how: str) -> None:
    path = write(folder, methods="[methods.gradient]\n[metrics.sparseness]\n")
    rows(path)
    run = open_run(folder / "run")
    before = [(row["key"], run.arrays(row)["values"]) for row in run.rows()]
    summary = (run.folder / "summary.json").read_text()
    array = run.folder / "arrays" / run.rows()[0]["array"]
    content = bytearray(array.read_bytes())
    if how == "missing":
        array.unlink()
    elif how == "cut":
        array.write_bytes(content[: len(content) // 2])
    else:
        content[100] ^= 255
        array.write_bytes(content)
    done = [(image, label) for image, label, _ in rows(path)]
    assert ("a.npy", "gradient") in done
    assert ("b.npy", "gradient") not in done
    after = [(row["key"], run.arrays(row)["values"]) for row in run.rows()]
    assert [key for key, _ in after] == [key for key, _ in before]
    for (_, first), (_, second) in zip(before, after, strict=True):
        np.testing.assert_array_equal(first, second)
    assert (run.folder / "summary.json").read_text() == summary
    assert rows(path) == []


def test_an_image_that_is_lost_is_put_back_and_its_results_are_kept(folder: Path) -> None:
    path = write(folder)
    rows(path)
    run = open_run(folder / "run")
    before = {row["key"]: run.arrays(row) for row in run.rows()}
    lines = (run.folder / "results.jsonl").read_text()
    lost, torn = sorted((run.folder / "images").iterdir())
    lost.unlink()
    torn.write_bytes(torn.read_bytes()[:99])
    assert len(run.unreadable(run.done())) == len(before)
    assert rows(path) == []
    for row in run.rows():
        for name, array in run.arrays(row).items():
            np.testing.assert_array_equal(array, before[row["key"]][name])
    assert (run.folder / "results.jsonl").read_text() == lines


def test_a_study_of_schema_1_goes_on(folder: Path) -> None:
    path = write(folder)
    rows(path)
    before = len(as_schema_1(folder / "run").rows())
    assert rows(path) == []  # nothing was left to do
    np.save(folder / "c.npy", np.ones((1, 16, 16), np.float32))
    assert {image for image, *_ in rows(path)} == {"c.npy"}
    run = open_run(folder / "run")
    assert [bool(row.get("images")) for row in run.rows()] == [False] * before + [True] * (before // 2)
    assert run.unreadable(run.done()) == set() and len(list(run.results())) == before * 3 // 2


def test_a_study_goes_on_without_reading_the_arrays_that_are_as_they_were_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(folder, methods="[methods.gradient]\n")
    rows(path)
    read, array_file = list[str](), Run.array_file

    def counted(self: Run, name: str, images: Any = ()) -> Any:
        read.append(name)
        return array_file(self, name, images)

    monkeypatch.setattr(Run, "array_file", counted)
    assert rows(path) == [] and not read
    run = open_run(folder / "run")
    array = run.folder / "arrays" / run.rows()[1]["array"]
    array.write_bytes(array.read_bytes())  # copied from elsewhere: of the same size, of another time
    assert rows(path) == [] and read == [array.name]


@pytest.mark.parametrize("name", ["a.nii.gz", "A.NII.GZ", "b.tar.gz", "c.npy", "d"])
def test_a_study_and_a_table_of_labels_mean_the_same_stem(name: str) -> None:
    assert stem_of(Path(name)) == stem(name)
