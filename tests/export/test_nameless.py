"""A run without the names of its files: what failed is still said, under the number of its image."""

from __future__ import annotations

from pathlib import Path

from browsing import planted_run
from contrafact.export.without_names import NamelessRun


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
