"""Reading is bounded, and what a library raises becomes one line that names the file."""

from __future__ import annotations

import gzip
import io
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image as Picture
from pydicom.data import get_testdata_file

import contrafact as cf
from contrafact.core import InputError
from contrafact.io import largest_image, read_cohort, read_image, read_json, read_tensors, set_largest_image


@pytest.fixture
def small() -> Iterator[None]:
    """A limit of 4,000 values, and 1,000 pixels."""
    set_largest_image(4000)
    yield
    set_largest_image()


def declaring_png(path: Path) -> None:
    head = struct.pack(">IIBBBBB", 60000, 60000, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(10**6))), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def npy_head(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return file.getvalue()


def declaring_npz(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", npy_head((20000, 20000)) + bytes(10**6))


def nifti_head(shape: tuple[int, ...]) -> bytes:
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4))
    raw = bytearray(image.to_bytes())
    raw[40:56] = struct.pack("<8h", 3, *shape, 1, 1, 1, 1)
    return bytes(raw)


def declaring_dicom(path: Path) -> None:
    data = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    data.Rows = data.Columns = 65535
    data.save_as(path)


MANY = {
    "a.png": declaring_png,
    "a.npy": lambda path: path.write_bytes(npy_head((10**6, 10**6))),
    "a.npz": declaring_npz,
    "a.nii": lambda path: path.write_bytes(nifti_head((30000, 30000, 1000))),
    "a.nii.gz": lambda path: path.write_bytes(gzip.compress(nifti_head((30000, 30000, 1000)))),
    "a.dcm": declaring_dicom,
    "a.mha": lambda path: path.write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 9999 9999 9999\nElementType = MET_UCHAR\n"
        "ElementDataFile = LOCAL\n"
    ),
}


@pytest.mark.parametrize("name", MANY)
def test_a_file_that_declares_too_much_is_refused_before_it_is_read(tmp_path: Path, name: str) -> None:
    if name == "a.mha":
        pytest.importorskip("SimpleITK")
    MANY[name](tmp_path / name)
    with pytest.raises(InputError, match=rf"'{name}' declares .*set_largest_image"):
        read_image(tmp_path / name)


def test_a_tiff_that_declares_too_much_is_refused(tmp_path: Path, small: None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((40, 40), np.uint8))
    with pytest.raises(InputError, match=r"1,600 pixels.*the limit is 1,000"):
        read_image(tmp_path / "a.tif")


def test_the_limit_can_be_raised_and_is_of_values_and_of_pixels(tmp_path: Path, small: None) -> None:
    np.save(tmp_path / "a.npy", np.zeros((20, 20, 20)))
    Picture.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "a.png")
    for name in ("a.npy", "a.png"):
        with pytest.raises(InputError, match="declares"):
            read_image(tmp_path / name)
    cf.set_largest_image(8000)
    assert read_image(tmp_path / "a.npy").values.size == 8000
    assert read_image(tmp_path / "a.png").values.size == 1600
    with pytest.raises(InputError, match="at least 1"):
        set_largest_image(0)
    set_largest_image()
    assert largest_image() == 2**28


def test_the_sum_of_the_slices_of_a_series_is_bounded(tmp_path: Path) -> None:
    for number in range(3):
        data = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        data.ImagePositionPatient = [0, 0, float(number)]
        data.save_as(tmp_path / f"{number}.dcm")
    set_largest_image(128 * 128 * 2)
    try:
        with pytest.raises(InputError, match="declares 49,152 values"):
            read_image(tmp_path)
    finally:
        set_largest_image()


def test_a_deflated_file_unpacks_no_further_than_the_limit(tmp_path: Path, small: None) -> None:
    raw = Path(get_testdata_file("image_dfl.dcm")).read_bytes()
    start = 144 + int(
        pydicom.filereader.read_file_meta_info(get_testdata_file("image_dfl.dcm"))[0x00020000].value
    )
    body = zlib.decompress(raw[start:], -zlib.MAX_WBITS) + bytes(10**6)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    (tmp_path / "a.dcm").write_bytes(raw[:start] + packer.compress(body) + packer.flush())
    with pytest.raises(InputError, match="deflated and unpacks to more"):
        read_image(tmp_path / "a.dcm")


def test_a_strip_of_a_tiff_unpacks_no_further_than_the_limit(tmp_path: Path, small: None) -> None:
    packed = zlib.compress(bytes(10**5))
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8), np.uint8), compression="zlib", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        end = file.filehandle.size
        file.filehandle.seek(end)
        file.filehandle.write(packed)
        file.pages[0].tags["StripOffsets"].overwrite([end])
        file.pages[0].tags["StripByteCounts"].overwrite([len(packed)])
    with pytest.raises(InputError, match="unpacks to more than it declares"):
        read_image(tmp_path / "a.tif")


def test_pages_of_a_tiff_in_a_circle_end(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for _ in range(3):
            file.write(np.zeros((8, 8), np.uint8), contiguous=False, metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        pages = [page.offset for page in file.pages]
        start = pages[-1] + 2 + 12 * len(file.pages[-1].tags)
    raw = bytearray((tmp_path / "a.tif").read_bytes())
    raw[start : start + 4] = struct.pack("<I", pages[1])
    (tmp_path / "a.tif").write_bytes(bytes(raw))
    with pytest.raises(InputError, match="run in a circle|not a readable"):
        read_image(tmp_path / "a.tif")


@pytest.mark.skipif(sys.platform == "win32", reason="limits of memory are those of Linux")
@pytest.mark.parametrize("name", ["a.png", "a.npz", "a.nii.gz"])
def test_refusing_takes_no_memory(tmp_path: Path, name: str) -> None:
    MANY[name](tmp_path / name)
    code = (
        "import resource, sys; from contrafact.io import read_image\n"
        "import nibabel, PIL.Image, PIL.PngImagePlugin\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read_image(sys.argv[1])\n"
        "except ValueError: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / name)], capture_output=True, text=True, check=True
    )
    assert int(answer.stdout) < 60_000, "kB"


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for number in range(1001):
            archive.writestr(f"{number}.npy", b"")
    with pytest.raises(InputError, match="1,001 arrays"):
        read_image(tmp_path / "a.npz")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("name", ["a.png", "a.npy", "a.dcm", "a.nii.gz", "a"])
def test_a_pipe_does_not_block(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="a pipe, a device or a socket"):
        read_image(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_does_not_block_tables_weights_and_models(tmp_path: Path) -> None:
    for name in ("c.csv", "j.json", "w.safetensors", "m.pt2", "m.onnx", "s.toml", "m.ts"):
        os.mkfifo(tmp_path / name)
    readers = {
        "c.csv": read_cohort,
        "j.json": read_json,
        "w.safetensors": read_tensors,
        "s.toml": cf.core.read_toml,
        **dict.fromkeys(("m.pt2", "m.onnx", "m.ts", "j.json"), cf.load_predictor),
    }
    for name, read in readers.items():
        with pytest.raises(InputError, match="a pipe, a device or a socket"):
            read(tmp_path / name)


def test_devices_are_refused() -> None:
    with pytest.raises(InputError, match="a pipe, a device or a socket"):
        read_image("/dev/zero")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_not_utf8_is_refused_in_printable_words(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    Picture.fromarray(np.zeros((4, 4), np.uint8)).save(path)
    with pytest.raises(InputError, match="rename it") as caught:
        read_image(path)
    str(caught.value).encode()
    with pytest.raises(InputError, match="rename it"):
        read_cohort(tmp_path)


def test_tables_in_other_encodings_are_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes("path,label\na.png,müde\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"'c.csv' is not in UTF-8; save it as 'CSV UTF-8'"):
        read_cohort(tmp_path / "c.csv")
    (tmp_path / "c.csv").write_text('path\n"' + "x" * 200_000 + '"\n')
    with pytest.raises(InputError, match=r"'c.csv' is not a readable CSV: field larger"):
        read_cohort(tmp_path / "c.csv")


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg", ".bmp", ".npy", ".npz", ".nii", ".nii.gz", ".dcm"])
def test_a_file_cut_anywhere_is_one_line_that_names_it(tmp_path: Path, suffix: str) -> None:
    array = np.random.default_rng(0).integers(0, 255, (24, 24)).astype(np.uint8)
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".dcm":
        whole.write_bytes(Path(get_testdata_file("image_dfl.dcm")).read_bytes())
    elif suffix == ".npy":
        np.save(whole, array)
    elif suffix == ".npz":
        np.savez_compressed(whole, image=array)
    elif suffix.startswith(".nii"):
        nibabel.save(nibabel.Nifti1Image(array[..., None], np.eye(4)), whole)
    elif suffix == ".tif":
        tifffile.imwrite(whole, array, compression="zlib")
    else:
        Picture.fromarray(array).save(whole)
    content = whole.read_bytes()
    for share in np.linspace(0.02, 0.98, 25):
        path = tmp_path / f"cut{suffix}"
        path.write_bytes(content[: int(share * len(content))])
        try:
            read_image(path)
        except InputError as error:
            assert "\n" not in str(error)
            assert "cut" in str(error)
            assert not str(error).rstrip().endswith(":")


def test_deep_json_and_toml_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 200_000)
    with pytest.raises(InputError, match="nested too deeply"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.toml").write_text("a = " + "[" * 20_000)
    with pytest.raises(InputError, match="is not TOML"):
        cf.core.read_toml(tmp_path / "a.toml")


def test_the_refusal_of_a_file_without_header_advises_nothing_impossible(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"hello" * 100)
    with pytest.raises(InputError, match="expected the letters DICM") as caught:
        read_image(tmp_path / "a.dcm")
    assert "force" not in str(caught.value)
