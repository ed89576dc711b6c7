"""Every exported file of a counterfactual names the engine behind it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import nibabel
from PIL import Image as Picture

from browsing import heatmap, ramp, record, strip
from contrafact.core import Image
from contrafact.export.run_files import export_run
from contrafact.io import Run


def test_pictures_headers_and_names_of_files_name_the_engine(tmp_path: Path) -> None:
    run, image = Run.create(tmp_path / "run", about={}), Image(ramp(), window=(0.0, 200.0), source="knee.png")
    made = dataclasses.replace(record("counterfactual", "one"), details={"engine": "translate"})
    run.add("one", image, strip("one", record=made), case="One")
    run.add("two", image, heatmap("one"), case="One")
    frames = [path for path in export_run(run, "png", tmp_path / "png") if "frame-" in path.name]
    assert len(frames) == 5 and all("-translate-class-1_" in path.name for path in frames)
    assert all("engine translate" in Picture.open(path).text["Description"] for path in frames)
    volumes = list(export_run(run, "nifti", tmp_path / "nifti"))
    assert ["translate" in path.name for path in volumes] == [True, False]
    assert b"translate" in nibabel.load(volumes[0]).header["descrip"].item()
