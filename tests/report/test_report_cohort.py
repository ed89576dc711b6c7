"""The cohort in the report: the figures that were planted, and nothing where there is nothing to say."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from browsing import planted_run
from contrafact.render.run_index import RunIndex
from contrafact.report import cohort
from contrafact.report.cohort import cohort_sections
from contrafact.report.page import write_report
from labelled import labelled_run


def words_of(page: str) -> str:
    section = page.partition('aria-labelledby="cohort"')[2].partition("</section>")[0]
    return " ".join(re.sub(r"<[^>]+>", " ", section).split())


def test_truth_subgroups_anatomy_and_means_stand_in_the_report(tmp_path: Path) -> None:
    run = labelled_run(tmp_path / "run")  # 20 patients, two images each; the last has no label
    page = write_report(run).read_text()
    words = words_of(page)
    assert words.startswith("> The cohort: 30 of 39 cases right (78 % over 20 patients, 95 % interval")
    assert "labelled wide 20 69 % of the row, right 9 31 % of the row, wrong" in words
    assert "labelled narrow 0 10 100 % of the row, right" in words
    assert "1 of 40 cases have no label." in words
    assert "site A 20 75 %" in words and "site B 19 80 %" in words
    assert "flips confirmed by a second model" in words and "Look here first" in words
    assert "site A: flips confirmed by a second model 100 %, others 0 %" in words
    assert "In 19 of 39 flips most of the change lies outside the anatomy you marked." in words
    assert "Mean changes by truth and prediction" in words and "Mean changes by site" in words
    assert "false positives: labelled wide, predicted narrow changed towards wide" in words
    assert '<a href="#cohort">Cohort</a>' in page


def test_a_mean_has_the_colour_of_its_change(tmp_path: Path) -> None:
    [section] = cohort_sections(RunIndex(labelled_run(tmp_path / "run")))
    colours = {}
    for tile in section["means"]["ways"][0]["tiles"]:
        content = base64.b64decode(tile["picture"].partition(",")[2])
        pixel = np.asarray(Picture.open(io.BytesIO(content)).convert("RGB")).astype(int)[10, 10]
        colours[tile["towards"]] = bool(pixel[0] > pixel[2])
    assert colours == {"changed towards wide": False, "changed towards narrow": True}  # darker; brighter


def test_a_run_without_labels_has_no_cohort(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run")
    assert cohort_sections(RunIndex(run)) == []
    assert 'id="cohort"' not in write_report(run).read_text()


def test_a_large_run_is_not_read_for_its_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohort, "MOST", 10)
    [section] = cohort_sections(RunIndex(labelled_run(tmp_path / "run")))
    assert section["means"]["ways"] == [] and "39 counterfactuals are in the viewer" in section["means"]["left"]


def test_labels_of_files_do_not_travel_with_a_report_without_names(tmp_path: Path) -> None:
    from contrafact.export.run_files import export_run

    [path] = export_run(labelled_run(tmp_path / "run", 3), "html", tmp_path / "out")
    assert "knee1" not in path.read_text()


@pytest.mark.parametrize(
    ("share", "said"), [(0.001, "<1 %"), (0.0, "0 %"), (0.999, ">99 %"), (1.0, "100 %"), (0.5, "50 %")]
)
def test_percentages_that_round_to_all_or_none_say_so(share: float, said: str) -> None:
    assert cohort.percent(share) == said
