"""Figures for a slide or a paper: large, marked, described, and named by their case."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image as Picture

from browsing import planted_run, record, strip
from contrafact.core import Grid, Heatmap, Image
from contrafact.export.movie import found_ffmpeg
from contrafact.export.paper_files import STRIP, framed, frames_gif
from contrafact.export.run_files import export_run
from contrafact.io import Run
from contrafact.render.case import LETTERS
from contrafact.render.paper import MARK, change_sheet, drawn, heatmap_sheet
from contrafact.render.run_index import RunIndex

pytestmark = pytest.mark.slow  # matplotlib draws panels of a thousand pixels a side


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Figures of one case with a map and a counterfactual."""
    folder = tmp_path_factory.mktemp("figures")
    return list(export_run(planted_run(folder / "run", 1), "figure", folder / "out", keep_names=True))


def one(files: list[Path], ending: str, method: str) -> Path:
    [path] = [path for path in files if path.name.endswith(ending) and method in path.name]
    return path


def test_every_result_is_there_in_every_form_and_named_by_its_case(files: list[Path]) -> None:
    movies = [".mp4"] if found_ffmpeg() else []
    suffixes = [".gif", *movies, *[".pdf"] * 2, *[".png"] * 2, *[".svg"] * 2]
    assert all("Case-1" in path.name for path in files) and sorted(path.suffix for path in files) == suffixes


def test_a_figure_of_a_counterfactual_is_large_and_says_what_it_shows(files: list[Path]) -> None:
    with Picture.open(one(files, "figure.png", "walk")) as picture:
        drawn = np.asarray(picture.convert("RGB")).astype(int)
        title, said = picture.text["Title"], picture.text["Description"]
    assert drawn.shape[1] >= 3 * 1024 and drawn.shape[0] >= 1024
    assert title.startswith("Case 1: Prediction narrow: 12 % → 83 %")
    for words in (
        "target narrow",
        "original, narrow: 12 %",
        f"changed image, narrow: 83 % {MARK}",
        "for research",
    ):
        assert words in said
    assert (drawn[:, :8] == 255).all()  # a white edge
    row = drawn[len(drawn) // 2]
    first, second = row[60:1100].mean(), row[1190:2250].mean()
    assert second - first == pytest.approx(40 / 200 * 255, abs=3)  # 40 grey levels brighter
    assert (row[2400:3300, 0] > row[2400:3300, 2] + 20).all()  # and so all of the difference is orange


def test_text_of_svg_and_pdf_can_be_searched(files: list[Path]) -> None:
    svg = one(files, "figure.svg", "walk").read_text()
    assert MARK in svg and "<dc:title>Case 1: " in svg and "brighter by 50" in svg and "<dc:date>" not in svg
    heat = one(files, "figure.svg", "gradcam").read_text()
    assert "for narrow: 1" in heat and "0 (logits)" in heat and MARK not in heat
    pdf = one(files, "figure.pdf", "walk").read_bytes()
    assert pdf.startswith(b"%PDF") and b"/Subject" in pdf and b"CreationDate" not in pdf


def test_equal_results_give_equal_files(tmp_path: Path, files: list[Path]) -> None:
    again = list(export_run(planted_run(tmp_path / "run", 1), "figure", tmp_path / "out", keep_names=True))
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in files]


def test_frames_move_from_the_image_to_the_changed_image_and_strips_cover_no_image(files: list[Path]) -> None:
    middle = []
    with Picture.open(one(files, "frames.gif", "walk")) as moving:
        assert moving.size == (1024, 1024 + 2 * STRIP) and moving.n_frames == 8
        for k in range(5):
            moving.seek(k)
            pixels = np.asarray(moving.convert("RGB")).astype(float)
            middle.append(pixels[STRIP : STRIP + 1024, 512].mean())
            assert pixels[STRIP + 1024 :].max() > 150  # its mark
    assert np.diff(middle) == pytest.approx(10 / 200 * 255, abs=4)
    image = np.random.default_rng(0).integers(0, 255, (1024, 1030, 3)).astype(np.uint8)
    np.testing.assert_array_equal(framed(image, "above", "below")[STRIP:-STRIP], image)


def test_names_of_files_are_numbers_unless_they_are_kept(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run", 1)
    for form in ("figure", "png"):
        paths = list(export_run(run, form, tmp_path / form))
        assert all("image1" in path.name and "Case" not in path.name for path in paths)
        assert not any(b"Case 1" in path.read_bytes() or b"knee1" in path.read_bytes() for path in paths)


def test_a_volume_has_letters_a_scale_and_the_slice_that_changes(tmp_path: Path) -> None:
    affine = np.array([[0, 0, -2.0, 12], [0, -1.5, 0, 5], [3.0, 0, 0, -7], [0, 0, 0, 1]])
    grid = Grid((6, 10, 8), affine=affine)
    values = np.zeros(grid.shape, dtype=np.float32)
    values[4, 3:6, 2:5] = 1
    frames = np.stack([100 + 20 * k * values[None] for k in range(3)])
    run = Run.create(tmp_path / "run", about={})
    image = Image(frames[0], grid=grid, window=(0.0, 200.0), source="v.nii.gz")
    run.add("m", image, Heatmap(values=values, grid=grid, record=record("gradcam", "v")), case="V")
    steps = np.arange(3.0)
    made = strip("v", frames=frames, grid=grid, reconstruction=frames[0], requested=steps, scores=steps - 1,
                 latent_distance=steps)  # fmt: skip
    run.add("s", image, made, case="V")
    row = run.rows()[1]
    sheet = change_sheet(row, run.arrays(row), grid)
    assert sheet.letters == "RLAP" and sheet.mm == 16.0 and "Slice 5 of 6." in sheet.words
    assert sheet.panels[1].pixels.astype(int).max() == round(140 / 200 * 255)
    paths = list(export_run(run, "figure", tmp_path / "out"))
    svg = next(path for path in paths if path.suffix == ".svg").read_text()
    assert all(f">{letter}</text>" in svg for letter in "RLAP") and ">2 mm</text>" in svg
    with Picture.open(io.BytesIO(frames_gif(row, run.arrays(row)["frames"], grid))) as gif:
        assert gif.size[1] - 2 * STRIP > gif.size[0] * 0.9  # 15 mm of 16: true proportions


def test_sides_and_scale_of_a_frame_are_drawn_at_their_places() -> None:
    image = np.full((1024, 800, 3), 90, np.uint8)
    made = framed(image, "above", "below", letters="RLAP", mm=80.0)[STRIP:-STRIP].astype(int)
    changed = (made != 90).any(axis=2)
    for rows, columns in ((512, 24), (512, 776), (31, 400), (993, 400)):  # left, right, top, bottom
        assert changed[rows - 10 : rows + 10, columns - 10 : columns + 10].any()
    assert not changed[100:450].any() and not changed[200:900, 100:500].any()
    white = (made[973] == 255).all(axis=1).nonzero()[0]
    assert np.ptp(white) == pytest.approx(200, abs=2)  # 20 mm of 80
    assert (framed(image, "above", "below", letters=None, mm=None)[STRIP:-STRIP] == 90).all()


@pytest.mark.parametrize("form", ["png", "animation"])
def test_pictures_of_a_volume_have_the_letters_of_their_own_plane(tmp_path: Path, form: str) -> None:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    grid, rng = Grid((12, 10, 8), affine=affine), np.random.default_rng(0)
    values = rng.normal(size=grid.shape).astype(np.float32)
    image = Image(np.zeros((1, *grid.shape), np.float32), grid=grid, window=(0.0, 200.0), source="v.nii.gz")
    run = Run.create(tmp_path / "run", about={})
    run.add("m", image, Heatmap(values=values, grid=grid, record=record("gradcam", "v")), case="V")
    given = []

    def kept(pixels: Any, above: str, mark: str, *, letters: str | None = None, mm: float | None = None) -> Any:
        given.append((above.split(", ")[-1], letters, mm, pixels.shape[1] / pixels.shape[0]))
        return framed(pixels, above, mark, letters=letters, mm=mm)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("contrafact.export.run_files.framed", kept)
        patch.setattr("contrafact.export.paper_files.framed", kept)
        list(export_run(run, form, tmp_path / "out"))
    sizes = {"sagittal": 10.0, "coronal": 12.0, "axial": 12.0}
    for view, letters, mm, _ in given:
        plane = view if form == "png" else "sagittal"
        assert letters == LETTERS[plane] and mm == sizes[plane]
    assert len(given) == (6 if form == "png" else 12)


def test_a_picture_without_an_original_is_marked_from_the_first_panel_on(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run", 1)
    [row] = [row for row in run.rows() if row["kind"] == "strip"]
    arrays, grid = run.arrays(row), Grid(run.arrays(row)["frames"].shape[2:])
    assert [panel.mark for panel in change_sheet(row, arrays, grid).panels] == ["", MARK, MARK]
    assert [panel.mark for panel in change_sheet({**row, "picture": True}, arrays, grid).panels] == [MARK] * 3


def test_control_characters_and_long_names_spoil_no_figure(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    values, grid = np.eye(8, dtype=np.float32), Grid((8, 8))
    image = Image(np.ones((1, 8, 8), dtype=np.float32), grid=grid, window=(0.0, 2.0), source="x.png")
    about = {"case": "a\x01\u202eb", "target_name": "\u202e<t>" + 100 * "n"}
    run.add("m", image, Heatmap(values=values, grid=grid, record=record("gradcam", "x")), **about)
    paths = list(export_run(run, "figure", tmp_path / "out", keep_names=True))
    svg = ElementTree.parse(next(path for path in paths if path.suffix == ".svg"))
    text = "".join(svg.getroot().itertext())
    assert "a\\x01\\u202eb" in text and "\u202e" not in text
    [row] = run.rows()
    figure = drawn(heatmap_sheet(row, run.arrays(row), grid, RunIndex(run).map_scale(row, values)))
    figure.canvas.draw()
    boxes = [part.get_window_extent() for part in figure.texts if part.get_text()[:3] in ("aga", "0 (", "for")]
    boxes.sort(key=lambda box: box.x0)
    assert len(boxes) == 3 and all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))
