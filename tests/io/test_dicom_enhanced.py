"""Enhanced multi-frame DICOM: each frame by its own position and rescale, or refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from contrafact.core import InputError
from contrafact.export.dicom.source import dicom_source
from contrafact.io import read_cohort, read_image
from experiments.evaluate.fuzz_images import GREY, enhanced

TILTED = ["1", "0", "0", "0", "0.9396926", "0.3420201"]


def written(folder: Path, data: Any, name: str = "e.dcm") -> Path:
    folder.mkdir(exist_ok=True)
    data.save_as(folder / name, enforce_file_format=True)
    return folder / name


def groups(data: Any) -> list[Any]:
    return list(data.PerFrameFunctionalGroupsSequence)


def places(data: Any, positions: list[list[float]]) -> Any:
    for group, position in zip(groups(data), positions, strict=True):
        group.PlanePositionSequence[0].ImagePositionPatient = position
    return data


def test_each_frame_has_its_own_rescale_and_place(tmp_path: Path) -> None:
    data = places(enhanced(3), [[5, 6, 4], [5, 6, 0], [5, 6, 2]])
    image = read_image(written(tmp_path, data))
    order = (1, 2, 0)  # frames by their positions, not as they are stored
    stored = [GREY.astype(float) + k for k in range(3)]
    expected = np.stack([stored[k] * (k + 1) - 1024 for k in order])
    np.testing.assert_allclose(image.values[0], expected)
    np.testing.assert_allclose(image.grid.spacing_mm, (2, 0.5, 0.7))
    np.testing.assert_allclose(image.grid.affine @ [1, 2, 3, 1], [-(5 + 3 * 0.7), -(6 + 2 * 0.5), 2, 1])
    assert image.about["slices"] == 3
    assert image.about["RescaleSlope"] == "by frame"
    assert image.about["RescaleIntercept"] == -1024
    assert image.about["RescaleType"] == "HU"
    assert image.window == (-160, 240)


@pytest.mark.parametrize("orientation", [["1", "0", "0", "0", "1", "0"], TILTED], ids=["axial", "tilted"])
def test_values_and_places_are_those_of_highdicom(tmp_path: Path, orientation: list[str]) -> None:
    highdicom = pytest.importorskip("highdicom")
    normal = np.cross(*np.array(orientation, float).reshape(2, 3))
    data = places(enhanced(4), [(3 * k * normal + [1, 2, 3]).round(5).tolist() for k in (2, 0, 3, 1)])
    data.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient = orientation
    path = written(tmp_path, data)
    ours, theirs = read_image(path), highdicom.imread(path).get_volume(dtype=np.float64)
    lps_to_ras = np.diag([-1.0, -1, 1, 1])
    flipped = np.dot((lps_to_ras @ theirs.affine)[:3, 0], ours.grid.affine[:3, 0]) < 0
    theirs = theirs.flip_spatial(0) if flipped else theirs  # a volume is stored in either direction
    np.testing.assert_allclose(ours.values[0], theirs.array, atol=1e-3)
    np.testing.assert_allclose(ours.grid.affine, lps_to_ras @ theirs.affine, atol=1e-4)


def test_what_all_frames_share_need_not_be_said_by_each(tmp_path: Path) -> None:
    data = enhanced(2)
    data.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence = groups(data)[
        0
    ].PixelValueTransformationSequence
    for group in groups(data):
        del group.PixelValueTransformationSequence
    image = read_image(written(tmp_path, data))
    np.testing.assert_allclose(image.values[0, 1], GREY.astype(float) + 1 - 1024)
    assert image.about["RescaleSlope"] == 1


def test_values_without_a_rescale_stay_as_they_are_stored(tmp_path: Path) -> None:
    data = enhanced(2, Modality="MR")
    for group in groups(data):
        del group.PixelValueTransformationSequence
    image = read_image(written(tmp_path, data))
    np.testing.assert_array_equal(image.values[0, 0], GREY)
    assert "RescaleSlope" not in image.about


def test_one_frame_is_a_picture_and_without_spacing_its_spacing_is_unknown(tmp_path: Path) -> None:
    data = enhanced(1)
    assert read_image(written(tmp_path, data)).values.shape == (1, 16, 20)
    del data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert not read_image(written(tmp_path, data)).grid.spacing_known


def test_an_enhanced_radiograph_is_inverted_in_the_declared_range(tmp_path: Path) -> None:
    data = enhanced(2, Modality="XA", PhotometricInterpretation="MONOCHROME1")
    for group in groups(data):
        del group.PixelValueTransformationSequence
    image = read_image(written(tmp_path, data))
    assert image.about["inverted"]
    np.testing.assert_array_equal(image.values[0, 0], 4095 - GREY.astype(float))


def one_slope_less(data: Any) -> None:
    del groups(data)[1].PixelValueTransformationSequence[0].RescaleSlope


def one_rescale_less(data: Any) -> None:
    del groups(data)[2].PixelValueTransformationSequence


def one_emptied_place(data: Any) -> None:
    groups(data)[1].PlanePositionSequence[0].ImagePositionPatient = None


def one_group_less(data: Any) -> None:
    data.PerFrameFunctionalGroupsSequence = groups(data)[:2]


def two_times(data: Any) -> None:
    places(data, [[0, 0, 0], [0, 0, 0], [0, 0, 2]])


def a_gap(data: Any) -> None:
    places(data, [[0, 0, 0], [0, 0, 2], [0, 0, 7]])


def own(name: str, **values: Any) -> Any:
    def change(data: Any) -> None:
        item = Dataset()
        for key, value in values.items():
            setattr(item, key, value)
        setattr(groups(data)[1], name, [item])

    return change


def segmentation(data: Any) -> None:
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"


def part_of_a_concatenation(data: Any) -> None:
    data.ConcatenationUID, data.InConcatenationNumber, data.InConcatenationTotalNumber = "1.2.9", 1, 2
    data.ConcatenationFrameOffsetNumber = 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (one_slope_less, "frame 2 of 'e.dcm' has no RescaleSlope"),
        (one_rescale_less, "frame 3 of 'e.dcm' has no RescaleSlope"),
        (one_emptied_place, "frame 2 of 'e.dcm' has no position in the patient"),
        (one_group_less, "of 3 frames with functional groups for 2"),
        (two_times, "two at the position of frame 1 of 'e.dcm'"),
        (a_gap, "evenly spaced slices; got gaps of 2 to 5 mm"),
        (own("PlaneOrientationSequence", ImageOrientationPatient=TILTED), "differs in size or orientation"),
        (own("PixelMeasuresSequence", PixelSpacing=[1, 1]), "frame 2 of 'e.dcm' differs in pixel spacing"),
        (segmentation, "'e.dcm' is a segmentation, not an image"),
        (part_of_a_concatenation, "'e.dcm' is one part of a concatenation"),
    ],
)
def test_what_is_no_volume_is_refused_in_words(tmp_path: Path, change: Any, words: str) -> None:
    data = enhanced(3)
    change(data)
    with pytest.raises(InputError, match=words) as caught:
        read_image(written(tmp_path, data))
    assert "\n" not in str(caught.value)
    assert "e.dcm" in str(caught.value)


def test_several_enhanced_files_of_one_series_are_refused_and_a_folder_with_one_is_read(tmp_path: Path) -> None:
    one = written(tmp_path / "a", enhanced(3))
    np.testing.assert_array_equal(read_image(tmp_path / "a").values, read_image(one).values)
    assert [case.path for case in read_cohort(tmp_path)] == [one]
    written(tmp_path / "a", enhanced(3), "f.dcm")
    with pytest.raises(InputError, match="one enhanced multi-frame file in .* got 2 files"):
        read_image(tmp_path / "a")


def test_an_export_finds_the_patient_of_an_enhanced_source(tmp_path: Path) -> None:
    image = read_image(written(tmp_path, enhanced(3)))
    found = dicom_source(image.source, image.grid, about=image.about, digest=image.digest, keep_patient=True)
    assert str(found.headers[0].PatientName) == "Name^A"
    assert any("multi-frame" in line for line in found.missing)
