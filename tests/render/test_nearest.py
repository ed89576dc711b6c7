"""Real cases that are volumes: of other depth and spacing than the image, shown at the same place, upright."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browsing import record
from contrafact.core import Grid, Heatmap, Image, InputError, NearestCases, RealCase
from contrafact.io import Run
from contrafact.render.case import case_page, pixels
from contrafact.render.run_index import RunIndex
from contrafact.report.page import write_report


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "run", about={"title": "Volumes"})
    image = Image(np.zeros((1, 4, 8, 8), np.float32), Grid((4, 8, 8)), (0.0, 1.0), source="own.nii.gz")
    deep = np.arange(8, dtype=np.float32)[:, None, None] * np.ones((8, 6, 6), np.float32)
    real = Image(deep[None], Grid((8, 6, 6), spacing_mm=(1.0, 2.0, 1.0)), (0.0, 7.0), source="real.nii.gz")
    told: Any = {
        "label": "",
        "score": -1.0,
        "answer": "no 90 %",
        "distance": 0.5,
        "nearer": None,
        "other_rank": None,
    }
    place: Any = {"target": "class:1", "layer": "f", "other_layer": "", "across": 1, "same": 0, "left_out": 0}
    near = NearestCases(cases=(RealCase(image=real, **told),), by_other=(), **place)
    heat = Heatmap(values=np.ones((4, 8, 8), np.float32), grid=image.grid, record=record("gradcam", "own"))
    run.add("a", image, heat, nearest=near, case="Case 1", target_name="sick")
    return run


def test_a_slice_shows_the_real_case_at_the_same_place_and_in_its_proportions(run: Run) -> None:
    row = run.rows()[0]
    assert [float(pixels(run, row, "nearest_000", at=at).mean()) for at in range(4)] == [1.0, 3.0, 5.0, 7.0]
    index = RunIndex(run)
    [near] = case_page(index, next(iter(index.cases().values())))["nearest"]
    [real] = near["cases"]
    assert real["aspect"] == pytest.approx(0.5)  # upright, the third axis goes up: 1 mm high, 2 mm wide
    assert (real["window"], real["place"]) == ([0.0, 7.0], ["distance 0.50"])
    assert "no independent network" in near["words"]
    assert "REAL</b>" in write_report(run).read_text()


def test_a_damaged_case_costs_its_row_alone(run: Run) -> None:
    row = run.rows()[0]
    row["nearest"]["cases"].append({**row["nearest"]["cases"][0]})
    with pytest.raises(InputError, match="the array 'nearest_001' is missing"):
        run.arrays(row)
    row["nearest"] = {"words": "w", "cases": [{"name": "x"}]}
    with pytest.raises(InputError, match="the field 'nearest' is damaged"):
        run.arrays(row)
