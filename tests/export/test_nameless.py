"""A run without the names of its files: what failed is still said, under the number of its image."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from browsing import heatmap, planted_run, ramp
from contrafact.core import Image
from contrafact.export.run_files import export_run
from contrafact.export.without_names import NamelessRun
from contrafact.io import Run


def test_failures_stay_without_the_names_of_their_files(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run")
    more = {"method": "rise", "target": "class:1", "error": "'/data/anna.nii.gz' is damaged: anna, anna.nii.gz"}
    run.add_failure("anna/rise", seconds=2.0, source="/data/anna.nii.gz", **more)
    found = NamelessRun(run.folder).failures()
    assert [row["source"] for row in found] == ["image3", "image4"]  # the third image, and one without results
    assert [row["key"] for row in found] == ["image3 failure 0", "image4 failure 1"]
    assert [row["method"] for row in found] == ["lime", "rise"]
    assert found[0]["error"] == "memory was short"
    assert found[1]["error"] == "'image4' is damaged: image4, image4"
    assert found[1]["seconds"] == 2.0


def similar(folder: Path) -> Run:
    """A run of three maps of similarities to two images, whose names are those of patients."""
    run = Run.create(folder, about={})
    made, image = heatmap("x"), Image(ramp(level=1), window=(0.0, 200.0), source="/data/x.png")
    for number, file in enumerate(("/data/anna.png", "/data/berta.png", "/data/anna.png")):
        record = dataclasses.replace(made.record, target=f"similarity:{file}")
        about = {"case": "x", "target_name": f"similarity:{file}"}
        run.add(f"{number}", image, dataclasses.replace(made, record=record), **about)
    return run


def test_the_reference_of_a_similarity_stays_without_its_name(tmp_path: Path) -> None:
    run = similar(tmp_path / "run")
    about = {"method": "lime", "target": "similarity:/data/anna.png", "error": "no embedding of anna.png"}
    run.add_failure("f", seconds=1.0, source="/data/x.png", **about)
    nameless = NamelessRun(run.folder)
    first, second = "similarity:reference1", "similarity:reference2"
    assert [row["record"]["target"] for row in nameless.rows()] == [first, second, first]
    assert [row["target_name"] for row in nameless.rows()] == [first, second, first]
    assert nameless.row(1)["target_name"] == second
    [failure] = nameless.failures()
    assert (failure["target"], failure["error"]) == (first, "no embedding of reference1")
    paths = [path.name for form in ("npz", "html") for path in export_run(run, form, tmp_path / "out")]
    assert paths and not any("anna" in name or "berta" in name for name in paths)
    assert "anna" not in (tmp_path / "out" / "report.html").read_text()


def test_dicom_files_do_not_name_the_reference_of_a_similarity(tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="DICOM files need contrafact[dicom]")
    paths = list(export_run(similar(tmp_path / "run"), "dicom", tmp_path / "out"))
    assert len(paths) > 3 and any("similarity-reference2" in path.name for path in paths)
    assert not any(
        name in path.name.encode() + path.read_bytes() for path in paths for name in (b"anna", b"berta")
    )
