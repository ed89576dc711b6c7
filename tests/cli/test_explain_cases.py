"""Real cases beside a counterfactual: in the run, in the report, on the page and in exports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from contrafact.cli import main
from contrafact.export.without_names import NamelessRun
from contrafact.io import Run, open_run
from contrafact.phantoms import draw_factors, knee_phantom
from contrafact.render.case import case_page
from contrafact.render.run_index import RunIndex
from contrafact.report.case import shown_case


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten phantoms as cases, and an image that is one of them under the same name."""
    folder = tmp_path_factory.mktemp("cases")
    rng = np.random.default_rng(3)
    for number in range(10):
        (folder / "cases").mkdir(exist_ok=True)
        phantom = knee_phantom(draw_factors(rng), rng)
        values = np.clip(phantom.image.values[0], 0, 255).astype(np.uint8)
        Picture.fromarray(values).save(folder / "cases" / f"patient{number}.png")
    (folder / "patient0.png").write_bytes((folder / "cases" / "patient0.png").read_bytes())
    return folder


def explained(folder: Path, out: Path, *words: str) -> Run:
    asked = ["explain", str(folder / "patient0.png"), "--bundle", "phantom", "--no-checks", "--rescale"]
    code = main([*asked, "--cases", str(folder / "cases"), "--out", str(out), *words])
    assert code == 0
    return open_run(out)


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("run") / "run"
    return explained(folder, out, "--methods", "gradient,counterfactual", "--target", "class:1")


def test_the_cases_are_stored_with_the_counterfactual_alone(run: Run) -> None:
    rows = {row["kind"]: row for row in run.rows()}
    assert "nearest" not in rows["heatmap"]
    near = rows["strip"]["nearest"]
    assert 1 <= len(near["cases"]) <= 3
    assert "patient0.png" not in {one["name"] for one in near["cases"]}
    assert "1 of the same patient left out" in near["words"]
    before = rows["strip"]["scores"][rows["strip"]["origin"]]
    for number, one in enumerate(near["cases"]):
        assert (("100 %" in one["answer"]) or "%" in one["answer"]) and one["distance"] > 0
        assert one["other_rank"] >= 1  # the bundle's second model
        values = run.arrays(rows["strip"])[f"nearest_{number:03d}"]
        stored = np.asarray(Picture.open(folder_of(run, one["name"])), np.float32)
        low, high = one["window"]
        np.testing.assert_allclose((values[0] - low) / (high - low), stored / 255, atol=1e-6)
    assert np.isfinite(before)


def folder_of(run: Run, name: str) -> Path:
    """The file of a case, from the folder beside the explained image."""
    return Path(run.rows()[0]["source"]).parent / "cases" / name


def test_report_and_page_show_them_as_real(run: Run) -> None:
    page = (run.folder / "report.html").read_text()
    assert "REAL</b>" in page
    assert "Real cases on the other side of the decision" in page
    index = RunIndex(run)
    [case] = index.cases().values()
    [near] = case_page(index, case)["nearest"]
    strip = next(row for row in run.rows() if row["kind"] == "strip")
    assert [one["name"] for one in near["cases"]] == [one["name"] for one in strip["nearest"]["cases"]]
    assert near["cases"][0]["place"][0].startswith("distance ")
    shown = shown_case(index, case)
    assert len(shown.stills[near["row"]]["nearest"]) == len(near["cases"])
    assert f"/array/{near['row']}/nearest_000" in shown.arrays


def test_exports_without_names_name_no_case(run: Run) -> None:
    row = next(row for row in NamelessRun(run.folder).rows() if row["kind"] == "strip")
    assert [one["name"] for one in row["nearest"]["cases"]][:2] == ["real case 1", "real case 2"][
        : len(row["nearest"]["cases"])
    ]
    assert "patient" not in str(row["nearest"]["cases"])


def test_a_run_without_a_counterfactual_has_them_with_the_first_method(folder: Path, tmp_path: Path) -> None:
    run = explained(folder, tmp_path / "run", "--methods", "gradient,input-x-gradient", "--target", "class:1")
    first, second = run.rows()
    assert first["nearest"]["cases"]
    assert "nearest" not in second
    assert "REAL</b>" in (tmp_path / "run" / "report.html").read_text()


def test_another_case_in_the_folder_is_another_result(folder: Path, tmp_path: Path) -> None:
    words = ("--methods", "gradient", "--target", "class:1")
    cases = tmp_path / "own"
    (cases / "cases").mkdir(parents=True)
    for file in [*(folder / "cases").iterdir(), folder / "patient0.png"]:
        (cases / file.relative_to(folder)).write_bytes(file.read_bytes())
    assert len(explained(cases, tmp_path / "run", *words).rows()) == 1
    assert len(explained(cases, tmp_path / "run", *words).rows()) == 1
    (cases / "cases" / "patient9.png").unlink()
    assert len(explained(cases, tmp_path / "run", *words).rows()) == 2


def test_cases_that_are_none_are_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["explain", str(folder / "patient0.png"), "--bundle", "phantom", "--out", str(tmp_path / "run")]
    assert main([*words, "--cases", str(folder / "nothing")]) == 2
    assert main([*words, "--cases", str(folder / "patient0.png")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2
    assert "does not exist" in lines[0]
    assert "a folder of images or a cohort's CSV" in lines[1]
