"""Data of the case page: order of frames, axes of the chart, display windows, thresholds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from contrafact.core import Grid
from contrafact.render.case import map_about, window_presets
from contrafact.render.charts import curve
from contrafact.render.map_display import MapScale
from contrafact.render.outcome import display_order
from contrafact.render.run_index import CaseResults


@pytest.mark.parametrize(
    ("origin", "order"), [(0, [0, 1, 2, 3]), (3, [3, 2, 1, 0]), (1, [0, 1, 2, 3])]
)  # a search in both directions keeps its order
def test_frames_are_shown_from_the_image_to_the_changed_image(origin: int, order: list[int]) -> None:
    assert display_order({"requested": [-1, 0, 1, 2], "origin": origin}) == order
    assert display_order({"requested": [0.0], "origin": 0}) == [0]


def test_a_chart_of_probabilities_has_them_on_its_axis() -> None:
    share = lambda score: 1 / (1 + math.exp(-score))  # noqa: E731
    made = curve([0, 1, 2], [-2, 0, 2], -2, 3.0, share=share)
    assert [text for _, text in made.y_ticks] == ["0 %", "25 %", "50 %", "75 %", "100 %"]
    heights = {text: y for y, text in made.y_ticks}
    assert made.points[1][1] == made.half_y == heights["50 %"]
    full = heights["0 %"] - heights["100 %"]
    assert heights["0 %"] - made.points[2][1] == pytest.approx(share(2) * full, abs=0.2)
    assert heights["0 %"] - made.goal_y == pytest.approx(share(3) * full, abs=0.2)
    assert made.ideal[0] == made.points[0] and made.ideal[-1][1] == made.points[1][1]  # -2 + 2 requested is 0
    down = curve([-2, -1, 0], [-2, 0, 2], 2, None, share=share)
    assert down.points[0][0] > down.points[1][0] > down.points[2][0]  # from the image on the left


def test_windows_of_radiology_are_offered_for_ct_alone() -> None:
    image = np.linspace(-1000, 1500, 251, dtype=np.float32).reshape(1, 1, -1)
    names = [name for name, _, _ in window_presets({"window": (0, 80)}, image)]
    assert names[:2] == ["as stored", "whole range"] and "CT brain" in names
    by_name = {name: (low, high) for name, low, high in window_presets({"window": (0, 80)}, image)}
    assert by_name["CT lung"] == (-1350, 150) and by_name["whole range"] == (-1000, 1500)
    assert by_name["middle 98 % of the values"] == pytest.approx((-975, 1475))
    for about in ({"Modality": "MR"}, {}):
        row = {"window": (0, 80), "about": about}
        values = image if about else image / 25  # values as an MR or a photograph has them
        assert not any("CT" in name for name, _, _ in window_presets(row, values))
    flat = np.ones((1, 4, 4), dtype=np.float32)
    assert window_presets({"window": (0, 1)}, flat) == [("as stored", 0, 1)]  # no window without a width


def test_a_volume_has_one_threshold_for_its_slices_and_its_rendering() -> None:
    values = np.arange(-500, 500, dtype=np.float32).reshape(10, 10, 10)
    made = {
        "method": "m",
        "target": "class:1",
        "seconds": 0,
        "forward_passes": 0,
        "parameters": {},
        "model": "m",
    }
    about = map_about({"record": made}, values, MapScale(1.0, 1.0))
    assert about["unit"] == "logits" and len(about["levels"]) == 100
    for share in (1, 10, 50):
        inside = (np.abs(values) >= about["levels"][100 - share]).mean()
        assert inside == pytest.approx(share / 100, abs=0.002)
    assert map_about({"record": made}, values[0], MapScale(1.0, 1.0))["levels"] == []


def test_slices_have_the_letters_of_their_sides_and_a_width_in_mm() -> None:
    from contrafact.render.case import image_measures

    for permuted, letters in (([2, 1, 0], "RLAP"), ([1, 2, 0], "RLSI"), ([0, 2, 1], "APSI")):
        affine = np.eye(4)
        affine[:3, :3] = np.diag([2.0, 3.0, 4.0])[:, permuted]  # the axes of the array, along the patient's
        found = image_measures(Grid((5, 6, 7), affine=affine))
        assert found["letters"] == letters
        across = {"R": 0, "A": 1}[letters[0]]
        assert found["mm"] == pytest.approx((5, 6, 7)[permuted.index(across)] * (2.0, 3.0, 4.0)[across])
    assert image_measures(Grid((6, 7)).of_unknown_spacing()) == {"letters": None, "mm": None}


def test_pages_have_some_of_many_answers_and_a_filter_finds_all() -> None:
    case = CaseResults("1", "x.png")
    case.answers = tuple(f"{k} {k / 1000} %" for k in range(1000))
    line = case.line()["answers"]
    assert line[0] == "999 0.999 %" and line[-1] == "and 993 more" and len(line) == 8
    assert "3 0.003 %" in case.words()
