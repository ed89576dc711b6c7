"""Captures in DICOM: large enough to be seen, and no word lies on an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from test_dicom_out import CAPTURE, CT, add_map, add_strip, exported, series, written

from contrafact.export.dicom.captures import GEOMETRY, sheet_pixels, shown_row
from contrafact.export.dicom.export import export_dicom
from contrafact.io import Run, read_image
from contrafact.render.captions import font_of, over_words
from contrafact.render.difference import enlarged
from contrafact.render.paper import Panel, Sheet, heatmap_sheet
from contrafact.render.run_index import RunIndex

TEXT = "SYNTHETIC - NOT FOR DIAGNOSIS"


def ultrasound(tmp_path: Path, **changes: Any) -> Path:
    """A picture that is neither CT nor MR: its frames become captures."""
    data = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.6.1"
    data.Modality = "US"
    for name, value in changes.items():
        setattr(data, name, value)
    data.save_as(tmp_path / "us.dcm")
    return tmp_path / "us.dcm"


@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 3), (700, 120)])
def test_words_lie_below_a_picture_and_change_none_of_it(shape: tuple[int, ...]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    framed = over_words(picture, [TEXT, "a long line of words " * 9, "W" * 300])
    np.testing.assert_array_equal(framed[: shape[0]], picture)
    strip = framed[shape[0] :]
    assert framed.shape[1:] == shape[1:] and len(strip) > 40
    assert strip.max() > 200 and (strip == 0).mean() > 0.5  # bright letters on black
    assert (strip[:, -2:] == 0).all()  # no line runs over the edge


def test_a_strip_of_values_has_the_values_of_the_window() -> None:
    framed = over_words(np.full((512, 512), 40.0, np.float32), [TEXT], low=-160, high=240)
    strip = framed[512:]
    assert framed.dtype == np.float32 and (framed[:512] == 40).all()
    assert strip.min() == -160 and strip.max() == pytest.approx(240, abs=4)


def test_a_sheet_keeps_every_pixel_of_its_images() -> None:
    random = np.random.default_rng(0)
    images = [random.integers(1, 256, (512, 300, 3), np.uint8) for _ in range(3)]
    panels = tuple(Panel(image, f"title {k} " * (9 * k + 1), TEXT) for k, image in enumerate(images))
    pixels = sheet_pixels(Sheet("What changed", ("one line",), panels, 1.0, "RLAP", 90.0))
    for k, image in enumerate(images):
        np.testing.assert_array_equal(pixels[:512, k * 308 : k * 308 + 300], image)
    assert pixels.shape[1] == 3 * 300 + 2 * 8 and pixels[512:].max() > 200


def test_captures_have_512_pixels_and_words_below_the_image(tmp_path: Path) -> None:
    image = read_image(ultrasound(tmp_path))
    run = Run.create(tmp_path / "run", about={"bundles": [{"name": "toy"}]})
    add_map(run, image)
    frames = add_strip(run, image)
    found = written(export_dicom(run, tmp_path / "dicom"))[CAPTURE]
    assert len(found) == 5 and all(data.Columns >= 512 and data.Rows > 512 for data in found)
    single = sorted((d for d in found if d.SamplesPerPixel == 1), key=lambda d: d.InstanceNumber)
    assert [d.get("SyntheticData") for d in single] == ["YES", None, "YES"]
    for data, frame in zip(single, frames, strict=True):
        values = data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept)
        np.testing.assert_allclose(values[:512], enlarged(frame, 512)[0], atol=0.51)  # the whole image is bare
        low, high = image.window
        assert values[512:].min() == pytest.approx(low, abs=1) and values[512:].max() > high - 0.1 * (
            high - low
        )


def test_a_picture_of_a_counterfactual_shows_original_changed_image_and_difference(tmp_path: Path) -> None:
    image = read_image(series(tmp_path / "source"))
    found = exported(tmp_path, image, strip=True)
    sheets = [d for d in found[CAPTURE] if str(d.SeriesDescription).startswith("SYNTHETIC picture")]
    assert len(sheets) == 1 and len(found[CT]) == 12
    data = sheets[0]
    assert data.SyntheticData == "YES" and data.ContributingEquipmentSequence[0].ManufacturerModelName == "toy"
    assert data.Columns >= 3 * 512 and data.pixel_array[512:].max() > 200
    assert not any(name in data for name in GEOMETRY)  # three images side by side have no position
    heat = next(d for d in found[CAPTURE] if d is not data)
    assert "SyntheticData" not in heat and heat.Columns >= 2 * 512


def test_an_enlarged_capture_lies_where_its_source_lies(tmp_path: Path) -> None:
    path = ultrasound(tmp_path, FrameOfReferenceUID="1.2.3.4", PixelSpacing=[0.6, 0.9])
    image = read_image(path)
    source = pydicom.dcmread(path)
    frame = next(d for d in exported(tmp_path, image, strip=True)[CAPTURE] if d.SamplesPerPixel == 1)
    assert [float(v) for v in frame.PixelSpacing] == pytest.approx([0.15, 0.225])

    def corner(data: Any) -> np.ndarray:
        """The outer corner of the first pixel, in mm."""
        down, across = (float(v) for v in data.PixelSpacing)
        sides = np.reshape([float(v) for v in data.ImageOrientationPatient], (2, 3))
        first = np.array([float(v) for v in data.ImagePositionPatient])
        return np.asarray(first - (across * sides[0] + down * sides[1]) / 2)

    np.testing.assert_allclose(corner(frame), corner(source), atol=1e-3)


def test_the_source_of_an_enlarged_frame_stays_as_it_is(tmp_path: Path) -> None:
    """The region beside the captures has the size of the image, not of what was written before it."""
    found = exported(tmp_path, read_image(ultrasound(tmp_path)), strip=True)
    region = next(d for group in found.values() for d in group if d.Modality == "SEG")
    assert (region.Rows, region.Columns) == (128, 128)


def test_no_word_of_a_capture_names_the_file(tmp_path: Path) -> None:
    image = read_image(series(tmp_path / "source"))
    run = Run.create(tmp_path / "run", about={})
    add_map(run, image, case="Miller John", answers=["yes 97 %"])
    [(row, arrays)] = run.results()
    assert row["case"] == "Miller John"
    scale = RunIndex(run).map_scale(row, arrays["values"])
    for declared in ("YES", ""):
        header = pydicom.Dataset()
        header.SyntheticData = declared
        sheet = heatmap_sheet(shown_row(header, row), arrays, image.grid, scale)
        assert "Miller" not in sheet.words and "target yes" in sheet.words
        assert ("SYNTHETIC" in sheet.words) == (declared == "YES")


def test_every_letter_of_a_caption_can_be_drawn() -> None:
    """A glyph that is missing would be a box."""
    font = font_of(20)
    words = "KL 2-4: 99 % → 10 %, 4 × 4 cells, ±63.8, −1, ≈ 5, · ÄÖÜ ñ Ελ Ж"
    box = bytes(font.getmask(chr(0xE0FF)))
    assert [c for c in words if c != " " and bytes(font.getmask(c)) == box] == []
