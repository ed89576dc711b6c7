"""The end of `contrafact explain`: its table, images that fail, folders of images, and its help."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from contrafact import load_bundle
from contrafact.cli import app, main
from contrafact.cli.arguments import model_name
from contrafact.cli.summary import summary
from contrafact.io import open_run
from contrafact.phantoms import draw_factors, knee_phantom
from contrafact.render.run_index import RunIndex

ASK = ("--bundle", "phantom", "--target", "class:1", "--no-checks", "--rescale", "--methods")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, an array, and a text that is no image."""
    folder, rng = tmp_path / "images", np.random.default_rng(3)
    folder.mkdir()
    for name in ("a.png", "b.tif"):
        values = np.clip(knee_phantom(draw_factors(rng), rng).image.values[0], 0, 255).astype(np.uint8)
        Picture.fromarray(values).save(folder / name)
    np.save(folder / "c.npy", values.astype(np.float32))
    (folder / "notes.txt").write_text("not an image")
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def test_every_image_of_a_folder_is_explained(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    code, out, err = said(capsys, "explain", folder, *ASK, "gradient", "--out", tmp_path / "run")
    assert code == 0, err
    rows = open_run(tmp_path / "run").rows()
    assert [Path(row["source"]).name for row in rows] == ["a.png", "b.tif", "c.npy"]
    assert [line.split()[0] for line in out.splitlines()] == ["image", "a.png", "b.tif", "c.npy", "report:"]


def test_a_series_stays_one_image_and_a_folder_without_images_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from pydicom.data import get_testdata_files

    from contrafact.cli.each_image import image_paths

    series = tmp_path / "series"
    series.mkdir()
    for number, path in enumerate(sorted(get_testdata_files("dicomdirtests/77654033/CT2/*"))[:2]):
        (series / f"{number}.dcm").write_bytes(Path(path).read_bytes())
    (series / "thumbnail.png").write_bytes(b"")
    assert image_paths([series]) == [series]
    (tmp_path / "empty").mkdir()
    code, _, err = said(capsys, "explain", tmp_path / "empty", *ASK, "gradient", "--out", tmp_path / "run")
    assert code == 2
    assert "expected images" in err and "empty" in err


def test_a_folder_of_class_folders_is_answered_with_what_to_give(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    for label in ("ill", "well"):
        (tmp_path / "data" / label).mkdir(parents=True)
        (tmp_path / "data" / label / f"{label}.png").write_bytes((folder / "a.png").read_bytes())
    code, _, err = said(capsys, "explain", tmp_path / "data", *ASK, "gradient", "--out", tmp_path / "run")
    assert code == 2
    assert f"got folders of images (ill, well): give these, such as {tmp_path / 'data'}/*, and --cohort" in err
    inside = [tmp_path / "data" / label for label in ("ill", "well")]
    words = ("explain", *inside, *ASK, "gradient", "--cohort", tmp_path / "data", "--out", tmp_path / "run")
    code, _, err = said(capsys, *words)
    assert code == 0, err
    table = json.loads((tmp_path / "run" / "cohort.json").read_text())
    assert '"label": "ill"' in json.dumps(table) and '"label": "well"' in json.dumps(table)


def test_results_of_earlier_commands_are_told_apart(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    words = ("explain", folder / "a.png", *ASK, "gradient", "--out", tmp_path / "run")
    assert "(with" not in said(capsys, *words)[1] + said(capsys, *words)[1]
    out = said(capsys, "explain", folder / "b.tif", *ASK, "gradient", "--out", tmp_path / "run")[1]
    assert out.splitlines()[-1].endswith(
        "(with 1 result of earlier commands in this folder: --out FOLDER begins a new one)"
    )
    own = json.loads(said(capsys, *words, "--json")[1])["results"]
    assert [Path(row["source"]).name for row in own] == ["a.png"]


@pytest.mark.parametrize("first", [True, False])
def test_an_image_that_fails_is_named_and_the_others_are_explained(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path, first: bool
) -> None:
    broken = folder / ("A-broken.png" if first else "z-broken.png")
    broken.write_text("no picture")
    np.save(folder / "d.npy", np.zeros((3, 8, 8), np.float32))  # is read, but the model cannot take it
    code, out, err = said(capsys, "explain", folder, *ASK, "gradient", "--out", tmp_path / "run")
    assert code == 1
    lines = [line for line in err.splitlines() if line.startswith("contrafact: ")]
    assert len(lines) == 3
    assert sum(broken.name in line for line in lines) == 1
    assert sum("d.npy" in line for line in lines) == 1
    assert lines[-1] == "contrafact: 2 of 5 images could not be explained"
    done = [Path(row["source"]).name for row in open_run(tmp_path / "run").rows()]
    assert done == ["a.png", "b.tif", "c.npy"]
    assert out.splitlines()[-1] == f"report: {tmp_path / 'run' / 'report.html'}"


def test_pages_call_the_models_by_their_names(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    for more in ((), ("--model", "cheat")):
        words = ("explain", folder / "a.png", *ASK, "gradient", *more, "--out", tmp_path / "run")
        assert said(capsys, *words)[0] == 0
    run = open_run(tmp_path / "run")
    assert [row["model_name"] for row in run.rows()] == ["phantom: honest", "phantom: cheat"]
    assert {case.model for case in RunIndex(run).cases().values()} == {"phantom: honest", "phantom: cheat"}
    assert model_name("folder/net.pt2", None) == "net.pt2"
    assert model_name("folder/net.pt2", load_bundle("phantom")) == "net.pt2"


def test_images_that_all_fail_leave_no_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_text("no picture")
    paths = [tmp_path / name for name in ("a.png", "b.png", "a.png")]
    words = ("explain", *paths, *ASK, "gradient", "--out", tmp_path / "run")
    code, out, err = said(capsys, *words)
    assert code == 1
    assert out == ""
    assert "3 of 3 images" in err
    code, out, err = said(capsys, *words, "--json")
    assert (code, err.splitlines()[-1]) == (1, "contrafact: 3 of 3 images could not be explained")
    told = json.loads(out)
    assert [line["image"] for line in told["failed"]] == list(map(str, paths))
    assert "'b.png' is not a readable picture" in told["failed"][1]["error"] and told["results"] == []
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_given_twice_has_two_rows(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    paths = [folder / "a.png", folder / "b.tif", folder / "a.png"]
    code, out, err = said(capsys, "explain", *paths, *ASK, "gradient", "--out", tmp_path / "run")
    assert code == 0, err
    assert [line.split()[0] for line in out.splitlines()[1:-1]] == ["a.png", "b.tif", "a.png"]


def test_the_table_has_prediction_and_outcome_of_each_image(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    words = ("explain", folder / "a.png", *ASK, "gradient,latent-walk", "--out", tmp_path / "run")
    code, out, err = said(capsys, *words)
    assert code == 0, err
    head, line, report = out.splitlines()
    assert head.split("  ")[0] == "image"
    strip = next(row for row in open_run(tmp_path / "run").rows() if row["kind"] == "strip")
    assert line.startswith("a.png  " + ", ".join(strip["answers"]))
    assert "→" in line and ("reached" in line or "not found" in line)
    assert report.startswith("report: ")
    code, out, _ = said(capsys, *words, "--json")
    assert json.loads(out)["failed"] == []


def strip(**about: object) -> dict[str, object]:
    """A row of a counterfactual from 10 % to 90 %."""
    return {
        "kind": "strip",
        "answers": ["sick 10 %"],
        "target_name": "sick",
        "scores": [-2.197, 0.0, 2.197],
        "requested": [0.0, 2.0, 4.4],
        "origin": 0,
        "outcome": "reached",
        "record": {"target": "class:1", "method": "translate"},
        **about,
    }


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({}, "sick: 10 % → 90 %, reached|not asked|–"),
        ({"trust": [{"name": "second model", "passed": True}]}, "sick: 10 % → 90 %, reached|confirms|–"),
        (
            {"trust": [{"name": "second model", "passed": False}]},
            "sick: 10 % → 90 %, reached|does not confirm|translate: second model",
        ),
        (  # the model that the user named, not that of the bundle
            {
                "trust": [{"name": "second model", "passed": False}],
                "second": [-1.0, 0.0, 1.0],
                "confirmed": True,
            },
            "sick: 10 % → 90 %, reached|does not confirm|translate: second model",
        ),
        ({"outcome": "already"}, "sick: 10 %, met before|–|–"),
        (
            {"outcome": "budget", "scores": [-2.197, -2.0, -1.0]},
            "sick: 10 % → 27 %, not found|not asked|–",
        ),
    ],
)
def test_the_row_of_an_image_says_what_was_measured(about: dict[str, object], words: str) -> None:
    [_, line] = summary([(Path("x [1].png"), [strip(**about)])], terminal=False)
    cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
    assert cells == ["x [1].png", "sick 10 %", *words.split("|")]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([f"{k} {k / 10} %" for k in range(8)], ", ".join(f"{k} {k / 10} %" for k in range(8))),
        (
            [*(f"{k} 0.0 %" for k in range(998)), "goldfish 7.2 %", "tench 92.8 %"],
            "tench 92.8 %, goldfish 7.2 %, 0 0.0 %, 1 0.0 %, 2 0.0 %, 3 0.0 %, 4 0.0 %, and 993 more",
        ),
        (
            [f"{k}: 0.{k}" for k in range(512)],
            ", ".join(f"{k}: 0.{k}" for k in range(7)) + ", and 505 more",
        ),
    ],
)
def test_of_many_answers_the_row_has_the_most_probable_or_the_first(answers: list[str], words: str) -> None:
    [_, line] = summary([(Path("x.png"), [strip() | {"answers": answers}])], terminal=False)
    assert line.split("  ")[1].strip() == words


def test_a_terminal_gets_a_frame_and_lines_of_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    lines = summary([(Path(f"{'long' * 20}.png"), [strip()])], terminal=True)
    assert max(map(len, lines)) <= 60
    assert "─" in "".join(lines)
    assert "─" not in "".join(summary([(Path("x.png"), [strip()])], terminal=False))


def test_the_help_has_headings_and_no_flags_that_empty_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in (name for name in app if not name.startswith("-")):
        code, out, _ = said(capsys, verb, "--help")
        assert code == 0
        assert "--empty-" not in out, verb
    _, out, _ = said(capsys, "explain", "--help")
    for heading in ("Models", "Questions", "Files beside the images", "Results"):
        assert f"─ {heading} ─" in out
    for verb, heading in {
        "export": "DICOM",
        "fit": "The machine",
        "reader-study": "The task decide",
        "study": "The study editor in the browser",
        "view": "Live explanations",
        "attributes": "Trust in files and code",
    }.items():
        assert f"─ {heading} ─" in said(capsys, verb, "--help")[1], verb


@pytest.mark.slow
def test_the_package_runs_as_a_module() -> None:
    program = [sys.executable, "-m", "contrafact", "list", "bundles"]
    found = subprocess.run(program, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert found.returncode == 0, found.stderr
    assert "phantom" in found.stdout


def test_a_method_that_cannot_explain_the_model_is_named_and_the_others_are_in_the_report(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    words = ("explain", folder / "a.png", folder / "b.tif", *ASK, "gradient,medxgan", "--out", tmp_path / "run")
    code, out, err = said(capsys, *words)
    assert code == 1
    lines = [line for line in err.splitlines() if line.startswith("contrafact: ")]
    assert [line.split(": ")[1:3] for line in lines[:2]] == [["a.png", "medxgan"], ["b.tif", "medxgan"]]
    assert lines[-1] == "contrafact: 2 results are missing, of medxgan; the others are in the report"
    run = open_run(tmp_path / "run")
    assert [row["record"]["method"] for row in run.rows()] == ["gradient", "gradient"]
    assert [row["method"] for row in run.failures()] == ["medxgan"] * 2
    assert out.splitlines()[-1] == f"report: {tmp_path / 'run' / 'report.html'}"
    assert "medxgan" in (tmp_path / "run" / "report.html").read_text()
    code, _, err = said(capsys, *words[:3], *ASK, "medxgan", "--out", tmp_path / "none")
    assert code != 0 and "in the report" not in err
