"""Reading images, cohorts and runs, and refusing what cannot be read."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image as Picture
from pydicom.data import get_testdata_file

from contrafact.core import ContrafactError, Counterfactual, Grid, Heatmap, Image, InputError, Record
from contrafact.core.stored import RENAMED
from contrafact.io import open_run, read_cohort, read_image, read_tensors, write_atomic, write_tensors
from contrafact.io.run import Run

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("name", "array", "shape", "top"),
    [
        ("a.png", RNG.integers(0, 256, (5, 7), dtype=np.uint8), (1, 5, 7), 255),
        ("b.png", RNG.integers(0, 65536, (5, 7)).astype(np.uint16), (1, 5, 7), 65535),
        ("c.png", RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8), (3, 5, 7), 255),
        ("d.png", RNG.integers(0, 256, (5, 7, 4), dtype=np.uint8), (3, 5, 7), 255),
        ("e.tiff", RNG.integers(0, 65536, (5, 7)).astype(np.uint16), (1, 5, 7), 65535),
        ("f.tif", RNG.normal(size=(5, 7)).astype(np.float32), (1, 5, 7), None),
    ],
)
def test_pictures_keep_their_values(
    tmp_path: Path, name: str, array: np.ndarray, shape: tuple[int, ...], top: int | None
) -> None:
    Picture.fromarray(array).save(tmp_path / name)
    image = read_image(tmp_path / name, spacing_mm=(0.2, 0.3))
    assert image.values.shape == shape
    expected = array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)[:3]
    np.testing.assert_array_equal(image.values, expected.astype(np.float32))
    assert image.grid.spacing_mm == (0.2, 0.3)
    if top is not None:
        assert image.window == (0, top)


def test_jpeg_is_read_as_decoded(tmp_path: Path) -> None:
    Picture.fromarray(np.full((16, 16), 77, np.uint8)).save(tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg").values.mean() == pytest.approx(77, abs=1)


def test_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", RNG.normal(size=(6, 7)))
    np.save(tmp_path / "v.npy", RNG.normal(size=(9, 6, 7)))
    np.savez(tmp_path / "z.npz", image=np.ones((3, 6, 7)), other=np.zeros((2, 2)))
    assert read_image(tmp_path / "a.npy").values.shape == (1, 6, 7)
    assert read_image(tmp_path / "v.npy").values.shape == (1, 9, 6, 7)
    assert read_image(tmp_path / "z.npz").values.shape == (3, 6, 7)
    np.savez(tmp_path / "two.npz", a=np.ones((3, 6)), b=np.zeros((2, 2)))
    with pytest.raises(InputError, match="expected one array"):
        read_image(tmp_path / "two.npz")
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="real numbers; 'o.npy' holds object"):
        read_image(tmp_path / "o.npy")
    np.save(tmp_path / "nan.npy", np.full((4, 4), np.nan))
    with pytest.raises(InputError, match="NaN"):
        read_image(tmp_path / "nan.npy")


def test_nifti_voxels_stay_where_they_are_in_the_patient(tmp_path: Path) -> None:
    affine = np.array([[-0.8, 0, 0.1, 90], [0, 0.9, 0, -120], [0, 0.2, 3.0, -70], [0, 0, 0, 1]])
    values = RNG.normal(size=(5, 6, 7)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "v.nii.gz")
    image = read_image(tmp_path / "v.nii.gz")
    assert image.grid.shape == (7, 6, 5)
    assert image.values[0, 6, 2, 4] == values[4, 2, 6]
    np.testing.assert_allclose(image.grid.affine @ [6, 2, 4, 1], affine @ [4, 2, 6, 1], atol=1e-4)


def dicom(path: Path, **changes: object) -> Path:
    data = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    for name, value in changes.items():
        setattr(data, name, value)
    data.save_as(path)
    return path


def test_dicom_ct_is_in_hounsfield_units_with_its_geometry_and_window() -> None:
    data = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    image = read_image(get_testdata_file("CT_small.dcm"))
    raw = data.pixel_array.astype(np.float32)
    np.testing.assert_allclose(image.values[0], raw * data.RescaleSlope + data.RescaleIntercept)
    assert image.grid.spacing_mm == pytest.approx(tuple(float(v) for v in data.PixelSpacing))
    place = image.grid.affine[:3, 3]
    np.testing.assert_allclose(place, np.array(data.ImagePositionPatient, float) * [-1, -1, 1])
    assert image.about["Modality"] == "CT"
    assert "transfer_syntax" in image.about


def test_dicom_series_sorts_by_position_and_refuses_gaps(tmp_path: Path) -> None:
    for number, place in enumerate((2.0, 0.0, 1.0)):
        changes = {"ImagePositionPatient": [0, 0, place], "SOPInstanceUID": f"1.2.{number}"}
        path = dicom(tmp_path / f"{number}.dcm", **changes)
        data = pydicom.dcmread(path)
        data.PixelData = (data.pixel_array * 0 + int(place)).tobytes()
        data.RescaleIntercept, data.RescaleSlope = 0, 1
        data.save_as(path)
    image = read_image(tmp_path)
    np.testing.assert_array_equal(image.values[0, :, 0, 0], [0, 1, 2])
    assert image.grid.spacing_mm[0] == pytest.approx(1.0)
    dicom(tmp_path / "9.dcm", ImagePositionPatient=[0, 0, 9.0])
    with pytest.raises(InputError, match="evenly spaced"):
        read_image(tmp_path)
    dicom(tmp_path / "8.dcm", SeriesInstanceUID="9.9")
    with pytest.raises(InputError, match="one series"):
        read_image(tmp_path)


def test_monochrome1_is_turned_round_and_said(tmp_path: Path) -> None:
    plain = read_image(dicom(tmp_path / "a.dcm", Modality="DX"))
    turned = read_image(dicom(tmp_path / "b.dcm", Modality="DX", PhotometricInterpretation="MONOCHROME1"))
    assert turned.about["inverted"]
    assert pydicom.dcmread(tmp_path / "b.dcm").PixelRepresentation == 1
    ends = -32768 + 32767 + 2 * float(pydicom.dcmread(tmp_path / "b.dcm").RescaleIntercept)
    np.testing.assert_allclose(turned.values, ends - plain.values)


def test_physical_units_are_never_inverted(tmp_path: Path) -> None:
    image = read_image(dicom(tmp_path / "b.dcm", PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(image.values, read_image(dicom(tmp_path / "a.dcm")).values)
    assert not image.about["inverted"]


def test_a_radiograph_series_is_turned_round_as_one(tmp_path: Path) -> None:
    for number in range(3):
        changes = {"ImagePositionPatient": [0, 0, float(number)], "Modality": "DX"}
        path = dicom(tmp_path / f"{number}.dcm", PhotometricInterpretation="MONOCHROME1", **changes)
        data = pydicom.dcmread(path)
        pixels = np.full(data.pixel_array.shape, 100, np.int16)
        pixels[0, 0] = 1000 * (number + 1)
        data.PixelData = pixels.tobytes()
        data.RescaleIntercept, data.RescaleSlope, data.PixelRepresentation = 0, 1 + number, 0
        data.save_as(path)
    values = read_image(tmp_path).values[0]
    assert [float(v) for v in values[:, 5, 5]] == [3 * 65535 - 100 * (1 + number) for number in range(3)]


def test_colour_dicom_is_converted_once(tmp_path: Path) -> None:
    data = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "YBR_FULL", 0
    data.Rows, data.Columns, data.BitsAllocated, data.BitsStored, data.HighBit = 2, 2, 8, 8, 7
    data.PixelRepresentation = 0
    data.PixelData = bytes([76, 85, 255] * 4)  # red
    del data.RescaleSlope, data.RescaleIntercept
    data.save_as(tmp_path / "red.dcm")
    np.testing.assert_allclose(read_image(tmp_path / "red.dcm").values[:, 0, 0], [254, 0, 0], atol=2)


def test_enhanced_multiframe_without_groups_of_its_frames_is_refused(tmp_path: Path) -> None:
    data = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    data.SharedFunctionalGroupsSequence = pydicom.Sequence([pydicom.Dataset()])
    del data.PixelSpacing
    data.save_as(tmp_path / "e.dcm")
    with pytest.raises(InputError, match="enhanced multi-frame file of 1 frames with functional groups for 0"):
        read_image(tmp_path / "e.dcm")


def test_a_tilted_gantry_shifts_the_slices(tmp_path: Path) -> None:
    tilt = np.radians(20)
    direction = [1.0, 0, 0, 0, float(np.cos(tilt)), float(np.sin(tilt))]
    for number in range(3):
        changes = {"ImagePositionPatient": [0, 0, 5.0 * number], "ImageOrientationPatient": direction}
        dicom(tmp_path / f"1.2.3.{number}", **changes)  # named by UID, without a suffix
    (tmp_path / "README").write_text("not a slice")
    grid = read_image(tmp_path).grid
    np.testing.assert_allclose((grid.affine @ [2, 0, 0, 1])[:3], [0, 0, 10], atol=1e-6)


def test_no_patient_identity_is_kept() -> None:
    about = read_image(get_testdata_file("CT_small.dcm")).about
    assert not {"PatientID", "PatientName", "PatientBirthDate"} & set(about)


def test_truncated_and_empty_dicom_are_refused_in_one_line(tmp_path: Path) -> None:
    whole = Path(get_testdata_file("MR_small.dcm")).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "text.dcm").write_text("hello")
    for name in ("cut", "empty", "text"):
        with pytest.raises(InputError) as caught:
            read_image(tmp_path / f"{name}.dcm")
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="with readable pixels"):
        read_image(get_testdata_file("MR_truncated.dcm"))


def test_shared_dicom_files_of_every_kind_are_read_or_refused_in_one_line(shared: Path) -> None:
    read = 0
    for path in sorted((shared / "dicom").rglob("*.dcm")):
        try:
            image = read_image(path)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            read += 1
            assert np.isfinite(image.values).all()
    assert read >= 70
    flair = read_image(shared / "dicom" / "series_PGBM-003_FLAIR")
    assert flair.values.shape[1] == 22


def test_a_real_volume_keeps_its_geometry(shared: Path) -> None:
    path = next((shared / "msd_task04_hippocampus").rglob("*.nii.gz"))
    image, file = read_image(path), nibabel.load(path)
    assert image.grid.shape == file.shape[::-1]
    assert image.grid.spacing_mm == pytest.approx(file.header.get_zooms()[::-1], abs=1e-3)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.png", b"this is text", "not a readable picture"),
        ("a.png", b"", "is empty"),
        ("a.nii", b"not nifti", "not a readable NIfTI"),
        ("a.npy", b"nope", "not a readable array"),
        ("a.npz", b"PK\x03\x04 cut short", "not a readable array"),
        ("a.nii.gz", b"\x1f\x8b\x08 cut short", "not a readable NIfTI"),
        ("a.xyz", b"nope", "an image file ends in"),
    ],
)
def test_what_is_not_what_its_name_says_is_refused(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_image(tmp_path / name)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_image(tmp_path / "none.png")


def pictures(folder: Path) -> None:
    for label in ("sick", "well"):
        (folder / label).mkdir()
        for patient in range(10):
            for side in "LR":
                name = f"{patient + 10 * (label == 'sick'):03d}{side}.png"
                Picture.fromarray(np.zeros((4, 4), np.uint8)).save(folder / label / name)


def test_a_cohort_from_folders_splits_by_patient(tmp_path: Path) -> None:
    pictures(tmp_path)
    cohort = read_cohort(tmp_path, patient=r"(\d+)[LR]")
    assert len(cohort) == 40
    assert cohort.classes == ("sick", "well")
    parts = cohort.split((0.5, 0.3, 0.2), seed=1)
    assert sum(map(len, parts)) == 40
    patients = [{c.patient for c in part} for part in parts]
    assert not (patients[0] & patients[1] or patients[0] & patients[2] or patients[1] & patients[2])
    assert [len(p) for p in patients] == [10, 6, 4]
    with pytest.raises(InputError, match="expected a patient by"):
        read_cohort(tmp_path, patient=r"(x)")
    with pytest.raises(InputError, match="sum to 1"):
        cohort.split((0.5, 0.6))


def test_a_cohort_from_csv(tmp_path: Path) -> None:
    pictures(tmp_path)
    table = tmp_path / "c.csv"
    table.write_text("path,patient,label,sex\nsick/010L.png,10,1,f\nwell/001R.png,1,0,m\n")
    cohort = read_cohort(table)
    assert [c.patient for c in cohort] == ["10", "1"]
    assert cohort.cases[0].extra == {"sex": "f"}
    assert cohort.cases[0].read().values.shape == (1, 4, 4)
    table.write_text("path\nnone.png\n")
    with pytest.raises(InputError, match="line 2"):
        read_cohort(table)
    table.write_text("file\nx.png\n")
    with pytest.raises(InputError, match="a column 'path'"):
        read_cohort(table)


def test_an_empty_cohort_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="empty cohort"):
        read_cohort(tmp_path)
    (tmp_path / "c.csv").write_text("path\n")
    with pytest.raises(InputError, match="empty cohort"):
        read_cohort(tmp_path / "c.csv")


def heat(value: float = 1.0) -> Heatmap:
    record = Record(method="m", parameters={}, target="class:1", model="x", image="i")
    return Heatmap(values=np.full((4, 5), value), grid=Grid((4, 5)), record=record)


def test_a_run_gives_back_what_was_put_and_goes_on(tmp_path: Path) -> None:
    image = Image(RNG.normal(size=(1, 4, 5)), Grid((4, 5), spacing_mm=(0.5, 0.5)), source="x.png")
    run = Run.create(tmp_path / "r", about={"title": "t"})
    run.add("a", image, heat(), case="one")
    with pytest.raises(InputError, match="holds 'a' already"):
        run.add("a", image, heat())
    run = Run.create(tmp_path / "r", about={"title": "t"})
    run.add(
        "b",
        image,
        Counterfactual(
            frames=np.ones((2, 1, 4, 5)),
            requested=np.array([0.0, 1.0]),
            scores=np.array([0.0, 1.0]),
            latent_distance=np.array([0.0, 1.0]),
            origin=0,
            reconstruction_error=0.0,
            above_tolerance=False,
            outcome="reached",
            goal=1.0,
            reconstruction=np.zeros((1, 4, 5)),
            grid=Grid((4, 5)),
            record=heat().record,
        ),
        followup=[(image, "sick 80 %")],
    )
    rows = open_run(tmp_path / "r").rows()
    assert [r["key"] for r in rows] == ["a", "b"]
    arrays = run.arrays(rows[0])
    np.testing.assert_array_equal(arrays["values"], np.ones((4, 5)))
    np.testing.assert_array_equal(arrays["image"], image.values)
    assert rows[1]["followup"] == [{"name": "x.png", "answer": "sick 80 %"}]
    assert set(run.arrays(rows[1])) >= {"frames", "reconstruction", "followup_000"}
    path, old = tmp_path / "r" / "results.jsonl", {new: name for name, new in RENAMED.items()}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    earlier = [{old.get(name, name): value for name, value in line.items()} for line in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in earlier))
    assert earlier[1]["lengths"] == [0.0, 1.0]
    assert open_run(tmp_path / "r").rows() == rows


def test_a_run_that_goes_on_has_the_cards_of_all_bundles(tmp_path: Path) -> None:
    first, second = ({"name": name, "bundle": name * 8, "warning": "a"} for name in "ab")
    Run.create(tmp_path / "r", about={"title": "t", "bundles": [first]})
    run = Run.create(tmp_path / "r", about={"title": "other", "bundles": [first, second]})
    assert run.manifest()["bundles"] == [first, second] and run.manifest()["title"] == "t"
    assert Run.create(tmp_path / "r", about={}).manifest()["bundles"] == [first, second]


def test_a_line_cut_short_by_a_crash_is_passed_over(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r", about={})
    run.add("a", Image(np.zeros((1, 4, 5))), heat())
    with (tmp_path / "r" / "results.jsonl").open("a") as file:
        file.write('{"key": "b", "arr')
    assert run.done() == {"a"}
    run.add("c", Image(np.zeros((1, 4, 5))), heat())
    assert run.done() == {"a", "c"}


def test_a_full_disk_is_said_and_keeps_what_was_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.create(tmp_path / "r", about={})
    run.add("a", Image(np.zeros((1, 4, 5))), heat())

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("contrafact.io.weights.os.fsync", full)
    with pytest.raises(ContrafactError, match=r"No space left.*finished results are kept"):
        run.add("b", Image(np.zeros((1, 4, 5))), heat())
    monkeypatch.undo()
    assert run.done() == {"a"}
    assert not list((tmp_path / "r").rglob("*.part"))
    run.add("b", Image(np.zeros((1, 4, 5))), heat())
    assert run.done() == {"a", "b"}


def test_foreign_folders_and_schemas_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a run folder"):
        open_run(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        Run.create(tmp_path, about={})
    (tmp_path / "manifest.json").write_text(json.dumps({"schema": 99}))
    with pytest.raises(InputError, match="schema 1 or 2; got 99"):
        open_run(tmp_path)


def test_a_run_that_ended_before_its_manifest_begins_again(tmp_path: Path) -> None:
    (tmp_path / "manifest.json.part").write_text('{"schema": 1')
    assert Run.create(tmp_path, about={"title": "a"}).manifest()["title"] == "a"
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_writing_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bin"
    write_atomic(path, b"old")
    monkeypatch.setattr("contrafact.io.weights.os.fsync", lambda _: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_tensors_round_trip_and_anything_else_is_refused(tmp_path: Path) -> None:
    import torch

    write_tensors(tmp_path / "a.safetensors", {"x": torch.arange(3), "y": torch.zeros(2, 2)[:, ::2]})
    back = read_tensors(tmp_path / "a.safetensors")
    assert torch.equal(back["x"], torch.arange(3))
    torch.save({"x": 1}, tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="not a safetensors file"):
        read_tensors(tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="does not exist"):
        read_tensors(tmp_path / "none.safetensors")


def test_a_grey_picture_stored_as_colour_has_one_channel(tmp_path: Path) -> None:
    grey = RNG.integers(0, 256, (6, 8), dtype=np.uint8)
    Picture.fromarray(np.stack([grey] * 3, axis=-1)).save(tmp_path / "grey.png")
    image = read_image(tmp_path / "grey.png")
    assert image.values.shape == (1, 6, 8)
    assert image.about["mode"] == "RGB"
    np.testing.assert_array_equal(image.values[0], grey)
