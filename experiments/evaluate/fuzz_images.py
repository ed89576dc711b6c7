"""Valid image files of every format that the package reads, small enough to change ten thousand times."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813  the name its own documentation uses
import tifffile
from PIL import Image as Picture
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, generate_uid

GREY = np.random.default_rng(0).integers(0, 256, (16, 20), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (16, 20, 3), dtype=np.uint8)
VOLUME = np.random.default_rng(2).normal(100, 20, (4, 10, 12)).astype(np.float32)
Write = Callable[[Path], str]


def _picture(name: str, array: np.ndarray[Any, Any], mode: str | None = None, **more: Any) -> Write:
    def write(folder: Path) -> str:
        picture = Picture.fromarray(array)
        (picture.convert(mode) if mode else picture).save(folder / name, **more)
        return name

    return write


def _tiff(name: str, array: np.ndarray[Any, Any], **more: Any) -> Write:
    def write(folder: Path) -> str:
        tifffile.imwrite(folder / name, array, **more)
        return name

    return write


def _array(name: str, array: np.ndarray[Any, Any]) -> Write:
    def write(folder: Path) -> str:
        if name.endswith(".npz"):
            np.savez_compressed(folder / name, image=array, label=np.array(1))
        else:
            np.save(folder / name, array)
        return name

    return write


def _nifti(name: str, array: np.ndarray[Any, Any], kind: Any = nibabel.Nifti1Image) -> Write:
    def write(folder: Path) -> str:
        nibabel.save(kind(array, np.diag([1.0, 2.0, 3.0, 1.0])), folder / name)
        return name

    return write


def _itk(name: str, *, packed: bool = False) -> Write:
    def write(folder: Path) -> str:
        image = sitk.GetImageFromArray(VOLUME)
        image.SetSpacing((1.0, 1.5, 2.0))
        sitk.WriteImage(image, str(folder / name), packed)
        return name

    return write


def header(syntax: str, *, rows: int = 16, columns: int = 20, **attributes: Any) -> FileDataset:
    """Return a DICOM data set of a small CT image, with other attributes on top."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = UID(syntax), UID("1.2.840.10008.5.1.4.1.1.2")
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["fuzz"])
    data = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    plain = {
        "SOPClassUID": meta.MediaStorageSOPClassUID, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "SeriesInstanceUID": "1.2.3.4", "StudyInstanceUID": "1.2.3",
        "FrameOfReferenceUID": "1.2.3.5", "Modality": "CT", "PatientID": "p",
        "PatientName": "Name^A", "Rows": rows, "Columns": columns, "BitsAllocated": 16, "BitsStored": 12,
        "HighBit": 11, "PixelRepresentation": 0, "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "RescaleSlope": "1", "RescaleIntercept": "-1024",
        "WindowCenter": "40", "WindowWidth": "400", "PixelSpacing": ["0.5", "0.7"],
        "ImagePositionPatient": ["0", "0", "0"], "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
        "SliceThickness": "2", "PixelData": (GREY.astype("<u2") * 9).tobytes(),
    }  # fmt: skip
    for name, value in {**plain, **attributes}.items():
        setattr(data, name, value)
    return data


def _dicom(name: str, syntax: str = "1.2.840.10008.1.2.1", **attributes: Any) -> Write:
    def write(folder: Path) -> str:
        header(syntax, **attributes).save_as(folder / name, enforce_file_format=True)
        return name

    return write


def _rle(folder: Path) -> str:
    data = header("1.2.840.10008.1.2.1")
    data.compress(pydicom.uid.RLELossless)
    data.save_as(folder / "rle.dcm", enforce_file_format=True)
    return "rle.dcm"


def _jpeg(folder: Path) -> str:
    buffer = io.BytesIO()
    Picture.fromarray(GREY).save(buffer, "JPEG")
    pixels = pydicom.encaps.encapsulate([buffer.getvalue()])
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    return _dicom("jpeg.dcm", "1.2.840.10008.1.2.4.50", **eight, PixelData=pixels)(folder)


def _palette(folder: Path) -> str:
    table = np.arange(256, dtype="<u2") * 257
    data = header(
        "1.2.840.10008.1.2.1", BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=GREY.tobytes(),
        PhotometricInterpretation="PALETTE COLOR", Modality="US",
    )  # fmt: skip
    for colour in ("Red", "Green", "Blue"):
        setattr(data, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(data, f"{colour}PaletteColorLookupTableData", table.tobytes())
    del data.RescaleSlope, data.RescaleIntercept
    data.save_as(folder / "palette.dcm", enforce_file_format=True)
    return "palette.dcm"


def enhanced(frames: int = 3, **attributes: Any) -> FileDataset:
    """Return an enhanced CT whose frames have their own position and rescale."""
    data = header("1.2.840.10008.1.2.1", NumberOfFrames=frames, **attributes)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.2.1")
    data.PixelData = np.stack([GREY.astype("<u2") + k for k in range(frames)]).tobytes()
    for name in (
        "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness", "RescaleSlope",
        "RescaleIntercept", "WindowCenter", "WindowWidth",
    ):  # fmt: skip
        delattr(data, name)
    data.SharedFunctionalGroupsSequence = [
        _group(
            PixelMeasuresSequence={"PixelSpacing": ["0.5", "0.7"], "SliceThickness": "2"},
            PlaneOrientationSequence={"ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"]},
            FrameVOILUTSequence={"WindowCenter": "40", "WindowWidth": "400"},
        )
    ]
    data.PerFrameFunctionalGroupsSequence = [
        _group(
            PlanePositionSequence={"ImagePositionPatient": ["0", "0", str(2.0 * k)]},
            PixelValueTransformationSequence={
                "RescaleSlope": str(k + 1), "RescaleIntercept": "-1024", "RescaleType": "HU",
            },
        )
        for k in range(frames)
    ]  # fmt: skip
    return data


def _group(**macros: dict[str, Any]) -> Dataset:
    group = Dataset()
    for name, attributes in macros.items():
        item = Dataset()
        for key, value in attributes.items():
            setattr(item, key, value)
        setattr(group, name, [item])
    return group


def _enhanced(folder: Path) -> str:
    enhanced().save_as(folder / "enhanced.dcm", enforce_file_format=True)
    return "enhanced.dcm"


def _series(folder: Path) -> str:
    for number in range(3):
        place = {"ImagePositionPatient": ["0", "0", str(2.0 * number)], "InstanceNumber": number}
        _dicom(f"{number}.dcm", SOPInstanceUID=f"1.2.3.4.{number}", **place)(folder)
    return "."


FRAMES: dict[str, Any] = {"NumberOfFrames": 2, "PixelData": np.stack([GREY.astype("<u2")] * 2).tobytes()}
IMAGES: dict[str, Write] = {
    "png": _picture("a.png", GREY),
    "png of 16 bits": _picture("wide.png", GREY.astype(np.uint16) * 257),
    "png with transparency": _picture("alpha.png", COLOUR, "RGBA"),
    "png with a palette": _picture("palette.png", COLOUR, "P"),
    "jpeg": _picture("a.jpg", COLOUR),
    "bmp": _picture("a.bmp", COLOUR),
    "tiff": _tiff("a.tif", GREY),
    "tiff, deflate": _tiff("packed.tif", COLOUR, compression="zlib", photometric="rgb"),
    "tiff, LZW": _picture("lzw.tif", GREY, compression="tiff_lzw"),
    "tiff, pages": _tiff("pages.tif", VOLUME, photometric="minisblack"),
    "tiff, tiles and large offsets": _tiff("big.tif", GREY, bigtiff=True, tile=(16, 16)),
    "tiff, ImageJ": _tiff("ij.tif", VOLUME, imagej=True, metadata={"axes": "ZYX"}),
    "tiff, OME": _tiff("a.ome.tif", VOLUME, metadata={"axes": "ZYX"}),
    "npy": _array("a.npy", VOLUME),
    "npz": _array("a.npz", VOLUME),
    "nifti": _nifti("a.nii", VOLUME),
    "nifti, gzip": _nifti("a.nii.gz", VOLUME),
    "nifti 2": _nifti("two.nii.gz", VOLUME.astype(np.int16), nibabel.Nifti2Image),
    "dicom": _dicom("a.dcm"),
    "dicom, implicit": _dicom("implicit.dcm", "1.2.840.10008.1.2"),
    "dicom, deflate": _dicom("deflate.dcm", "1.2.840.10008.1.2.1.99"),
    "dicom, RLE": _rle,
    "dicom, JPEG": _jpeg,
    "dicom, palette": _palette,
    "dicom, frames": _dicom("frames.dcm", **FRAMES, GridFrameOffsetVector=["0", "2"], Modality="RTDOSE",
                            DoseGridScaling="0.1", DoseUnits="GY"),
    "dicom, radiograph": _dicom("cr.dcm", Modality="CR", PhotometricInterpretation="MONOCHROME1"),
    "dicom, enhanced": _enhanced,
    "dicom series": _series,
    "MetaImage": _itk("a.mha"),
    "MetaImage, deflate": _itk("packed.mha", packed=True),
    "MetaImage of two files": _itk("a.mhd"),
    "NRRD": _itk("a.nrrd"),
    "NRRD of two files": _itk("a.nhdr", packed=True),
}  # fmt: skip
