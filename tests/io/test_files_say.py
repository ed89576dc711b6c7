"""Files are read as they declare themselves: values, axes, orientation, spacing, and what belongs together.

Each test is a cell of the table in docs/formats.md.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image as Picture
from pydicom.data import get_testdata_file

from contrafact.core import InputError, UnsupportedError
from contrafact.io import images_in, read_cohort, read_image

RNG = np.random.default_rng(0)
WIDE = RNG.integers(0, 65536, (5, 7, 4)).astype(np.uint16)


def png(path: Path, array: np.ndarray, *, kind: int, bits: int = 16) -> Path:
    """A PNG written by hand: Pillow writes 16 bits of one channel only. Rows take turns in their filter."""
    rows, before = [], None
    for number, row in enumerate(array):
        line = np.frombuffer(row.astype(">u2" if bits == 16 else "u1").tobytes(), np.uint8)
        rows.append(
            b"\2" + (line - before).tobytes() if number % 2 and before is not None else b"\0" + line.tobytes()
        )
        before = line
    head = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], bits, kind, 0, 0, 0)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize(("kind", "channels", "kept"), [(0, 1, 1), (2, 3, 3), (4, 2, 1), (6, 4, 3)])
def test_png_keeps_sixteen_bits(tmp_path: Path, kind: int, channels: int, kept: int) -> None:
    array = WIDE[..., :channels]
    image = read_image(png(tmp_path / "a.png", array if channels > 1 else array[..., 0], kind=kind))
    np.testing.assert_array_equal(image.values, np.moveaxis(array, -1, 0)[:kept])
    assert image.window == (0, 65535)
    assert image.about["dtype"] == "uint16"


def test_png_of_few_bits_says_that_it_was_scaled(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", np.array([[0x01, 0x23], [0x45, 0x6F]]).repeat(2, 1), kind=0, bits=8)
    raw = bytearray(path.read_bytes())
    raw[24] = 4  # bits of a pixel: two in a byte, so twice as many pixels
    raw[16:20] = struct.pack(">I", 8)
    raw[29:33] = struct.pack(">I", zlib.crc32(bytes(raw[12:29])))
    path.write_bytes(bytes(raw))
    image = read_image(path)
    assert image.about["scaled_from_bits"] == 4
    np.testing.assert_array_equal(image.values[0, 0], np.array([0, 1, 0, 1, 2, 3, 2, 3]) * 17)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_as_exif_says(tmp_path: Path, orientation: int) -> None:
    from PIL import ImageOps

    array = (np.arange(48, dtype=np.uint8) * 5).reshape(6, 8)
    picture = Picture.fromarray(array)
    exif = picture.getexif()
    exif[274] = orientation
    picture.save(tmp_path / "a.png", exif=exif)
    picture.save(tmp_path / "a.tif", exif=exif)
    picture.save(tmp_path / "lzw.tif", exif=exif, compression="tiff_lzw")
    with Picture.open(tmp_path / "a.png") as opened:
        expected = np.array(ImageOps.exif_transpose(opened))
    for name in ("a.png", "a.tif", "lzw.tif"):
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image.values[0], expected, err_msg=name)
        assert ("orientation" in image.about) == (orientation != 1)


def test_palettes_and_cmyk_are_converted_and_said(tmp_path: Path) -> None:
    colours = Picture.fromarray(RNG.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    colours.quantize(4).save(tmp_path / "p.png")
    colours.convert("CMYK").save(tmp_path / "c.tif")
    for name in ("p.png", "c.tif"):
        image = read_image(tmp_path / name)
        assert image.values.shape == (3, 4, 5)
        assert image.about["converted_to"] == "RGB"


def test_transparency_is_left_out_and_said(tmp_path: Path) -> None:
    Picture.fromarray(RNG.integers(0, 256, (4, 5, 4), dtype=np.uint8)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").about["left_out"] == "transparency"


def test_a_picture_is_read_by_its_content_not_its_name(tmp_path: Path) -> None:
    Picture.fromarray(WIDE[..., 0].astype(np.uint8)).save(tmp_path / "a.bmp")
    (tmp_path / "a.bmp").rename(tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg").about["format"] == "bmp"
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(InputError, match="not a readable picture"):
        read_image(tmp_path / "a.png")


def test_an_animation_is_no_volume(tmp_path: Path) -> None:
    frames = [Picture.fromarray(np.full((4, 4), v, np.uint8)) for v in (0, 90, 200)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="animation of 3 frames"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("compression", [None, "zlib", "lzma"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f2"])
def test_colour_tiff_keeps_its_bits(tmp_path: Path, compression: str | None, dtype: str) -> None:
    array = WIDE[..., :3].astype(dtype) if dtype != "f2" else WIDE[..., :3].astype("u1").astype("f2")
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", compression=compression)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").values, np.moveaxis(array, -1, 0).astype("f4"))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "jpeg", "raw"])
def test_colour_tiff_of_eight_bits_is_read_by_one_library_or_the_other(
    tmp_path: Path, compression: str
) -> None:
    array = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    Picture.fromarray(array).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_allclose(read_image(tmp_path / "a.tif").values, np.moveaxis(array, -1, 0), atol=3)


def test_a_compression_that_no_library_reads_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", WIDE[..., :3], photometric="rgb")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        file.pages[0].tags["Compression"].overwrite(5)  # LZW: Pillow would keep 8 of 16 bits

    def lacking(*_: object, **__: object) -> None:
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", lacking)
    with pytest.raises(UnsupportedError, match=r"compressed with LZW.*contrafact\[files\]"):
        read_image(tmp_path / "a.tif")


def test_tiff_where_zero_is_white_is_inverted_in_the_declared_range(tmp_path: Path) -> None:
    array = RNG.integers(10, 200, (5, 7), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="miniswhite")
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.values[0], 255 - array.astype(float))
    assert image.about["inverted"]


def test_tiff_tells_pages_from_channels(tmp_path: Path) -> None:
    stack = RNG.integers(0, 256, (3, 6, 7), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "pages.tif", stack, photometric="minisblack", metadata=None)
    tifffile.imwrite(tmp_path / "channels.tif", stack, imagej=True, metadata={"axes": "CYX"})
    tifffile.imwrite(tmp_path / "time.tif", stack, imagej=True, metadata={"axes": "TYX"})
    tifffile.imwrite(tmp_path / "both.ome.tif", stack[None].repeat(2, 0), metadata={"axes": "TZYX"})
    assert read_image(tmp_path / "pages.tif").values.shape == (1, 3, 6, 7)
    assert read_image(tmp_path / "channels.tif").values.shape == (3, 6, 7)
    assert read_image(tmp_path / "time.tif").about["frames"] == "time"
    with pytest.raises(InputError, match="has the axes TZYX"):
        read_image(tmp_path / "both.ome.tif")


def test_pages_of_different_sizes_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(np.zeros((8, 8), np.uint8), metadata=None)
        file.write(np.zeros((5, 3), np.uint8), metadata=None)
    with pytest.raises(InputError, match="pages of different sizes"):
        read_image(tmp_path / "a.tif")


def test_complex_numbers_are_refused_by_name(tmp_path: Path) -> None:
    array = np.ones((4, 5, 6), np.complex64)
    np.save(tmp_path / "a.npy", array)
    tifffile.imwrite(tmp_path / "a.tif", array[0])
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii")
    for name in ("a.npy", "a.tif", "a.nii"):
        with pytest.raises(InputError, match="complex"):
            read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("stored", "read", "said"),
    [
        ((20, 30), (1, 20, 30), False),
        ((3, 20, 30), (3, 20, 30), False),
        ((20, 30, 3), (3, 20, 30), True),
        ((20, 30, 1), (1, 20, 30), True),
        ((9, 20, 30), (1, 9, 20, 30), False),
        ((2, 9, 20, 30), (2, 9, 20, 30), False),
        ((9, 20, 30, 2), (2, 9, 20, 30), True),
    ],
)
def test_axes_of_arrays(tmp_path: Path, stored: tuple[int, ...], read: tuple[int, ...], said: bool) -> None:
    array = RNG.normal(size=stored).astype(np.float32)
    np.save(tmp_path / "a.npy", array)
    image = read_image(tmp_path / "a.npy")
    assert image.values.shape == read
    assert (image.about.get("axes") == "channels last") == said
    np.testing.assert_array_equal(image.values, np.moveaxis(array, -1, 0) if said else array.reshape(read))


def test_a_batch_is_no_image(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((9, 3, 20, 30)))
    with pytest.raises(InputError, match="give each image of a batch a file"):
        read_image(tmp_path / "a.npy")


def test_numbers_beyond_float32_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((4, 4), 1e300))
    with pytest.raises(InputError, match="beyond float32"):
        read_image(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.full((4, 4), 0.5, np.float16))
    assert (read_image(tmp_path / "b.npy").values == 0.5).all()


def test_arrays_and_pictures_have_no_spacing_of_their_own(tmp_path: Path) -> None:
    Picture.fromarray(WIDE[..., 0].astype(np.uint8)).save(tmp_path / "a.png", dpi=(72, 72))
    tifffile.imwrite(tmp_path / "a.tif", WIDE[..., 0], resolution=(10, 10), resolutionunit="CENTIMETER")
    np.save(tmp_path / "a.npy", WIDE[..., 0])
    for name in ("a.png", "a.tif", "a.npy"):
        assert not read_image(tmp_path / name).grid.spacing_known


def nifti(path: Path, *, unit: str | int = "mm", code: int = 1, step: float = 2.0) -> Path:
    image = nibabel.Nifti1Image(np.ones((4, 5, 6), np.float32), np.diag([step, step, step, 1]))
    image.set_sform(image.affine, code)
    image.set_qform(image.affine, code)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize(("unit", "mm"), [("mm", 2.0), ("micron", 0.002), ("meter", 2000.0), ("unknown", 2.0)])
def test_nifti_is_in_its_unit(tmp_path: Path, unit: str, mm: float) -> None:
    for name in ("a.nii", "a.nii.gz"):
        grid = read_image(nifti(tmp_path / name, unit=unit)).grid
        assert grid.spacing_mm == pytest.approx((mm, mm, mm), rel=1e-5)
        assert grid.spacing_known


def test_nifti_without_unit_and_place_has_unknown_spacing(tmp_path: Path) -> None:
    image = read_image(nifti(tmp_path / "a.nii", unit="unknown", code=0))
    assert not image.grid.spacing_known
    assert image.about["orientation"] == "unknown"
    assert read_image(nifti(tmp_path / "b.nii", unit="mm", code=0)).grid.spacing_known


def test_nifti_scaling_colours_and_time(tmp_path: Path) -> None:
    raw = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    raw.header.set_slope_inter(2.0, -5.0)
    nibabel.save(raw, tmp_path / "s.nii")
    stored = np.asarray(nibabel.load(tmp_path / "s.nii").dataobj.get_unscaled(), np.float32)
    np.testing.assert_allclose(read_image(tmp_path / "s.nii").values[0].T, stored * 2 - 5, atol=1e-4)
    colours = np.zeros((2, 3, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    colours["G"] = 7
    nibabel.save(nibabel.Nifti1Image(colours, np.eye(4)), tmp_path / "c.nii")
    np.testing.assert_array_equal(read_image(tmp_path / "c.nii").values[:, 0, 0, 0], [0, 7, 0])
    series = nibabel.Nifti1Image(np.zeros((4, 5, 6, 20), np.float32), np.eye(4))
    series.header.set_xyzt_units("mm", "sec")
    nibabel.save(series, tmp_path / "t.nii")
    with pytest.raises(InputError, match="20 volumes in time"):
        read_image(tmp_path / "t.nii")


def dicom(path: Path, remove: tuple[str, ...] = (), **changes: object) -> Path:
    data = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    for name, value in changes.items():
        setattr(data, name, value)
    for name in remove:
        delattr(data, name)
    data.save_as(path)
    return path


def series(folder: Path, count: int = 3, **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        place = {"ImagePositionPatient": [0, 0, float(number)], "SOPInstanceUID": f"1.2.{number}"}
        dicom(folder / f"{number}.dcm", **(place | changes))
    return folder


def test_a_marker_in_a_radiograph_does_not_move_the_tissue(tmp_path: Path) -> None:
    tissue = []
    for name, marker in (("a.dcm", 900), ("b.dcm", 4000)):
        path = dicom(
            tmp_path / name, Modality="DX", PhotometricInterpretation="MONOCHROME1", PixelRepresentation=0
        )
        data = pydicom.dcmread(path)
        pixels = np.full((128, 128), 300, np.uint16)
        pixels[0, 0] = marker
        data.PixelData, data.BitsStored, data.HighBit = pixels.tobytes(), 12, 11
        data.RescaleSlope, data.RescaleIntercept = 1, 0
        data.WindowCenter, data.WindowWidth = 300, 200
        data.save_as(path)
        image = read_image(path)
        tissue.append(image.values[0, 5, 5])
        assert image.window == (4095 - 400, 4095 - 200)
        assert image.about["inverted"]
    assert tissue == [4095 - 300, 4095 - 300]


def test_a_series_without_spacing_has_unknown_spacing(tmp_path: Path) -> None:
    folder = series(tmp_path / "s", PixelSpacing=None)
    assert not read_image(folder).grid.spacing_known
    assert not read_image(folder / "0.dcm").grid.spacing_known
    assert read_image(series(tmp_path / "known")).grid.spacing_known


def test_slices_of_different_spacing_are_no_series(tmp_path: Path) -> None:
    dicom(series(tmp_path / "s") / "1.dcm", ImagePositionPatient=[0, 0, 1.0], PixelSpacing=[0.5, 0.5])
    with pytest.raises(InputError, match="differs in pixel spacing"):
        read_image(tmp_path / "s")


def test_two_times_in_one_series_are_refused_in_words(tmp_path: Path) -> None:
    dicom(series(tmp_path / "s") / "9.dcm", ImagePositionPatient=[0, 0, 1.0])
    with pytest.raises(InputError, match="two at the position of"):
        read_image(tmp_path / "s")


def test_spacing_at_the_detector_is_said_and_divided_by_the_magnification(tmp_path: Path) -> None:
    changes = {"ImagerPixelSpacing": [0.3, 0.2], "Modality": "DX"}
    image = read_image(dicom(tmp_path / "a.dcm", ("PixelSpacing",), **changes))
    assert image.grid.spacing_mm[:2] == pytest.approx((0.3, 0.2))
    assert image.about["spacing_from"] == "ImagerPixelSpacing"
    changes["EstimatedRadiographicMagnificationFactor"] = 1.5
    image = read_image(dicom(tmp_path / "b.dcm", ("PixelSpacing",), **changes))
    assert image.grid.spacing_mm[:2] == pytest.approx((0.2, 0.2 / 1.5))


def frames(path: Path, count: int = 3, **changes: object) -> Path:
    data = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    data.NumberOfFrames = count
    data.PixelData = data.PixelData * count
    for name, value in changes.items():
        setattr(data, name, value)
    data.save_as(path)
    return path


def test_a_dose_grid_is_in_gray_at_its_offsets(tmp_path: Path) -> None:
    dose = {"Modality": "RTDOSE", "DoseUnits": "GY", "DoseGridScaling": 0.5, "PixelRepresentation": 0}
    path = frames(tmp_path / "a.dcm", GridFrameOffsetVector=[0, 2.5, 5], **dose)
    image = read_image(path)
    np.testing.assert_allclose(image.values[0], pydicom.dcmread(path).pixel_array * 0.5)
    assert image.grid.spacing_mm[0] == 2.5
    assert image.about["DoseUnits"] == "GY"
    with pytest.raises(InputError, match="evenly spaced frames"):
        read_image(frames(tmp_path / "b.dcm", GridFrameOffsetVector=[0, 1, 5], **dose))


def test_frames_over_time_have_no_distance(tmp_path: Path) -> None:
    image = read_image(frames(tmp_path / "a.dcm", FrameIncrementPointer=0x00181063, FrameTime=40))
    assert image.about["frames"] == "time"
    assert not image.grid.spacing_known
    assert read_image(frames(tmp_path / "b.dcm")).grid.spacing_known


EMPTY = ("WindowCenter", "WindowWidth", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient")


@pytest.mark.parametrize("name", [*EMPTY, "SliceThickness", "SeriesInstanceUID", "PatientID", "Modality"])
def test_emptied_attributes_count_as_absent(tmp_path: Path, name: str) -> None:
    path = dicom(tmp_path / "a.dcm", **{name: None})
    np.testing.assert_array_equal(read_image(path).values, read_image(dicom(tmp_path / "b.dcm")).values)


@pytest.mark.parametrize("name", ["RescaleIntercept", "PhotometricInterpretation", "BitsStored", "Rows"])
def test_emptied_attributes_that_values_need_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"has no {name} "):
        read_image(dicom(tmp_path / "a.dcm", **{name: None}))


def test_a_thumbnail_beside_a_series_is_no_image_of_its_own(tmp_path: Path) -> None:
    folder = series(tmp_path / "s")
    Picture.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "thumbnail.png")
    assert images_in(folder) == [folder]
    assert read_image(folder).about["left_out"] == ["thumbnail.png"]
    for path in folder.glob("*.dcm"):
        path.rename(path.with_suffix(""))
    assert images_in(folder) == [folder]


def test_radiographs_of_several_series_are_images_each(tmp_path: Path) -> None:
    for number in range(3):
        dicom(tmp_path / f"{number}.dcm", SeriesInstanceUID=f"1.2.{number}")
    assert images_in(tmp_path) == [tmp_path / f"{number}.dcm" for number in range(3)]


def test_series_of_a_class_folder_are_cases_of_their_patients(tmp_path: Path) -> None:
    series(tmp_path / "sick" / "first", PatientID="7")
    series(tmp_path / "sick" / "second", PatientID="7", SeriesInstanceUID="1.2.9")
    series(tmp_path / "well", PatientID="8", SeriesInstanceUID="1.2.10")
    for number in (1, 2):
        (tmp_path / "single").mkdir(exist_ok=True)
        dicom(tmp_path / "single" / f"{number}.dcm", PatientID="9", SeriesInstanceUID=f"1.2.3.{number}")
    cohort = read_cohort(tmp_path)
    assert [(c.path.name, c.label) for c in cohort] == [
        ("first", "sick"),
        ("second", "sick"),
        ("1.dcm", "single"),
        ("2.dcm", "single"),
        ("well", "well"),
    ]
    patients = [c.patient for c in cohort]
    assert patients[0] == patients[1] != patients[2] == patients[3] != patients[4]
    assert not any(c.patient in ("7", "8", "9") for c in cohort), "the number itself would reach the run folder"
    assert cohort.cases[0].read().values.shape == (1, 3, 128, 128)
    (tmp_path / "c.csv").write_text("path,label\nsick/first,a\nsick/second,b\nsingle/1.dcm,a\n")
    listed = [c.patient for c in read_cohort(tmp_path / "c.csv")]
    assert listed == patients[:3]


def test_two_series_in_one_folder_are_refused(tmp_path: Path) -> None:
    series(tmp_path / "sick" / "s")
    for number in range(3):
        dicom(tmp_path / "sick" / "s" / f"x{number}.dcm", SeriesInstanceUID="1.2.9")
    with pytest.raises(InputError, match="2 series; give one folder each"):
        read_cohort(tmp_path)


def test_colour_dicom_has_the_range_of_its_type(tmp_path: Path) -> None:
    image = read_image(get_testdata_file("examples_rgb_color.dcm"))
    assert image.window == (0, 255)
    assert image.values.shape[0] == 3


def test_of_a_pyramid_the_full_picture_is_read(tmp_path: Path) -> None:
    full = RNG.integers(0, 256, (64, 64), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(full, subifds=1, metadata=None)
        file.write(full[::2, ::2], subfiletype=1, metadata=None)
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.values[0], full)
    assert image.about["levels_left_out"] == 1


# MetaImage and NRRD -------------------------------------------------------------------------------------

MHA = """ObjectType = Image
NDims = 3
DimSize = 2 3 4
ElementType = MET_SHORT
{more}ElementDataFile = {data}
"""
NRRD = """NRRD0004
type: short
dimension: 3
sizes: 2 3 4
encoding: raw
endian: little
{more}
"""
VALUES = np.arange(24, dtype="<i2").reshape(4, 3, 2)
PLACED = (
    "space: right-anterior-superior\nspace directions: (0.5,0,0) (0,0.6,0) (0,0,3)\nspace origin: (1,2,3)\n"
)


def test_metaimage_and_nrrd_lie_where_they_say(tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK")
    head = MHA.format(more="Offset = -1 -2 3\nElementSpacing = 0.5 0.6 3\n", data="LOCAL")
    (tmp_path / "a.mha").write_bytes(head.encode() + VALUES.tobytes())
    (tmp_path / "a.mhd").write_text(head.replace("LOCAL", "a.raw"))
    (tmp_path / "a.raw").write_bytes(VALUES.tobytes())
    (tmp_path / "a.nrrd").write_bytes(NRRD.format(more=PLACED).encode() + VALUES.tobytes())
    for name in ("a.mha", "a.mhd", "a.nrrd"):
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image.values[0], VALUES)
        assert image.grid.spacing_mm == pytest.approx((3, 0.6, 0.5))
        assert image.grid.spacing_known
        corner = image.grid.affine[:3, 3]
        np.testing.assert_allclose(corner, [1, 2, 3], err_msg=name)


def test_metaimage_and_nrrd_without_spacing_or_in_other_units(tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK")
    (tmp_path / "a.mha").write_bytes(MHA.format(more="", data="LOCAL").encode() + VALUES.tobytes())
    (tmp_path / "a.nrrd").write_bytes(NRRD.format(more="").encode() + VALUES.tobytes())
    for name in ("a.mha", "a.nrrd"):
        assert not read_image(tmp_path / name).grid.spacing_known
    units = PLACED + 'space units: "um" "um" "um"\n'
    (tmp_path / "u.nrrd").write_bytes(NRRD.format(more=units).encode() + VALUES.tobytes())
    assert read_image(tmp_path / "u.nrrd").grid.spacing_mm == pytest.approx((0.003, 0.0006, 0.0005))


def test_a_header_does_not_lead_out_of_its_folder(tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK")
    (tmp_path / "secret.raw").write_bytes(VALUES.tobytes())
    (tmp_path / "in").mkdir()
    for name, text in (
        ("a.mhd", MHA.format(more="", data="../secret.raw")),
        ("b.nhdr", NRRD.format(more="data file: ../secret.raw\n")),
        ("c.nrrd", NRRD.format(more=f"datafile: {tmp_path}/secret.raw\n")),
    ):
        (tmp_path / "in" / name).write_text(text)
        with pytest.raises(InputError, match="leads out of it"):
            read_image(tmp_path / "in" / name)
    (tmp_path / "in" / "d.mhd").write_text(MHA.format(more="", data="LIST"))
    with pytest.raises(InputError, match="several files"):
        read_image(tmp_path / "in" / "d.mhd")


def test_without_its_library_metaimage_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    (tmp_path / "a.mha").write_text("x")
    with pytest.raises(UnsupportedError, match=r"pip install 'contrafact\[files\]'"):
        read_image(tmp_path / "a.mha")


def test_jpeg_of_a_phone_is_its_main_picture(tmp_path: Path) -> None:
    big, small = (Picture.fromarray(np.full((n, n, 3), 90, np.uint8)) for n in (32, 8))
    buffer = io.BytesIO()
    big.save(buffer, format="MPO", save_all=True, append_images=[small])
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    image = read_image(tmp_path / "a.jpg")
    assert image.values.shape == (1, 32, 32)
    assert image.about["pictures_left_out"] == 1
