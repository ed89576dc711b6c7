"""What a DICOM file says: values with rescale and photometric interpretation, window, and facts."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import InputError, UnsupportedError
from contrafact.core.limits import check_size, largest_image
from contrafact.core.reading import reading
from contrafact.io.bounded import read_dataset
from contrafact.io.dicom_geometry import frames_of, over_time, spacing_source

SUFFIXES = (".dcm", ".dicom", ".ima")
DEFLATED = b"1.2.840.10008.1.2.1.99"
RECORDED = (
    "Modality",
    "BodyPartExamined",
    "Laterality",
    "ImageLaterality",
    "ViewPosition",
    "PatientPosition",
    "PhotometricInterpretation",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "DoseUnits",
    "DoseGridScaling",
    "WindowCenter",
    "WindowWidth",
    "PixelPaddingValue",
    "PixelAspectRatio",
    "SeriesInstanceUID",
    "SOPInstanceUID",
)
SCALES = ("RescaleSlope", "RescaleIntercept")
REQUIRED = ("Rows", "Columns", "BitsAllocated", "SamplesPerPixel", "PhotometricInterpretation")
REQUIRED_OF_INTEGERS = ("BitsStored", "PixelRepresentation")
# Programs that remove identities empty attributes: what is empty counts as absent.
EMPTIED = (
    *RECORDED,
    *REQUIRED,
    *REQUIRED_OF_INTEGERS,
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "EstimatedRadiographicMagnificationFactor",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SliceThickness",
    "SpacingBetweenSlices",
    "GridFrameOffsetVector",
    "FrameIncrementPointer",
    "NumberOfFrames",
    "HighBit",
    "PlanarConfiguration",
    "ModalityLUTSequence",
    "PatientID",
)


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, by its suffix or by its magic number."""
    if path.suffix.lower() in SUFFIXES:
        return True
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def open_dicom(path: Path, *, headers_only: bool = False) -> Any:
    """Return the data set of a file, without its empty attributes.

    headers_only  without pixels, which need not be there
    raises        InputError for a file that is not DICOM, or without pixels
    """
    import pydicom

    with reading(path, "a readable DICOM file"):
        _check_deflated(path)
        try:
            data = read_dataset(path, headers_only=headers_only)
        except pydicom.errors.InvalidDicomError as error:
            raise InputError(
                f"'{path.name}' is not a readable DICOM file: expected the letters DICM at byte 128"
            ) from error
        for name in EMPTIED:
            if name in data and data[name].is_empty:
                del data[name]
        if not headers_only and "PixelData" not in data and "FloatPixelData" not in data:
            raise InputError(
                f"'{path.name}' holds no pixels ({data.get('Modality', 'no modality')}), or was cut short"
            )
    return data


def _check_deflated(path: Path) -> None:
    """Refuse a deflated file that unpacks to more than the limit: pydicom unpacks it as a whole."""
    with path.open("rb") as file:
        head = file.read(4096)
        if DEFLATED not in head:
            return
        from pydicom.filereader import read_file_meta_info

        start = 144 + int(read_file_meta_info(path).FileMetaInformationGroupLength)
        file.seek(start)
        most = 4 * largest_image()
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        while chunk := file.read(2**16):
            while chunk and not unpacker.eof:
                most -= len(unpacker.decompress(chunk, 2**24))
                chunk = unpacker.unconsumed_tail
                if most <= 0:
                    raise InputError(f"'{path.name}' is deflated and unpacks to more than the largest image")


def samples_of(data: Any) -> int:
    """Return the number of channels that a file stores."""
    return int(data.get("SamplesPerPixel") or 1)


def values_of(data: Any, path: Path) -> NDArray[np.float32]:
    """Return the values (C, H, W), or (C, D, H, W) for several frames, in modality units; not inverted.

    raises  InputError for a file that lacks an attribute, declares too many values, or cannot be decoded;
            UnsupportedError where its compression needs the extra `contrafact[dicom]`
    """
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

    _check_attributes(data, path)
    coloured = is_coloured(data)
    with reading(path, "a DICOM file with readable pixels"):
        frames, size = frames_of(data), (int(data.Rows), int(data.Columns))
        check_size(path, size, page=True)
        check_size(path, (3 if coloured else 1, frames, *size))
        _check_decoder(data, path)
        array = data.pixel_array
        if data.get("PhotometricInterpretation") == "PALETTE COLOR":
            array = apply_color_lut(array, data)
        elif "DoseGridScaling" in data:
            array = array * float(data.DoseGridScaling)
        elif not coloured:
            array = apply_modality_lut(array, data)
        array = np.asarray(array, dtype=np.float32)
    return np.moveaxis(array, -1, 0)[:3] if coloured else array[None]


def _check_decoder(data: Any, path: Path) -> None:
    """Raise UnsupportedError for a compression whose decoder comes with the extra, and is not installed."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes

    syntax = data.file_meta.get("TransferSyntaxUID")
    with_extra = {*JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes}
    if syntax in with_extra and not get_decoder(syntax).is_available:
        raise UnsupportedError(
            f"'{path.name}' is compressed ({syntax.name}); reading it needs: pip install 'contrafact[dicom]'"
        )


def _check_attributes(data: Any, path: Path) -> None:
    needed = REQUIRED if "FloatPixelData" in data else (*REQUIRED, *REQUIRED_OF_INTEGERS)
    if data.get("Modality") == "RTDOSE":
        needed = (*needed, "DoseGridScaling")
    if any(name in data for name in SCALES):
        needed = (*needed, *SCALES)
    if "TransferSyntaxUID" not in data.file_meta:
        raise InputError(f"'{path.name}' has no TransferSyntaxUID: its pixels cannot be read")
    for name in needed:
        if name not in data:
            raise InputError(
                f"'{path.name}' has no {name} (absent, or emptied with the identity): its pixels cannot be read"
            )


def is_coloured(data: Any) -> bool:
    """Whether a file holds colours, also by a palette."""
    return samples_of(data) > 1 or data.get("PhotometricInterpretation") == "PALETTE COLOR"


def inverted(data: Any) -> bool:
    """Whether the values must be inverted, so that dense tissue is bright: MONOCHROME1 without physical units
    (radiographs). CT, MR, PET and NM values have a meaning of their own, and only a viewer inverts them."""
    physical = str(data.get("Modality", "")) in ("CT", "MR", "PT", "NM", "RTDOSE")
    return data.get("PhotometricInterpretation") == "MONOCHROME1" and not physical


def range_of(data: Any) -> tuple[float, float]:
    """Return the least and the greatest value that a file can hold, in modality units: its declaration, which
    is the same for all images of a device, not what this image happens to hold."""
    if "FloatPixelData" in data:
        raise InputError("MONOCHROME1 in floating-point pixels has no range to invert; convert the file")
    bits = int(data.BitsStored)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if data.PixelRepresentation else (0, 2**bits - 1)
    if "ModalityLUTSequence" in data:
        return 0.0, float(2 ** int(data.ModalityLUTSequence[0].LUTDescriptor[2]) - 1)
    slope, intercept = float(data.get("RescaleSlope", 1)), float(data.get("RescaleIntercept", 0))
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return ends[0], ends[1]


def window_of(data: Any) -> tuple[float, float] | None:
    """Return the (first) display window before any inversion; of colours, their range; None without one."""
    if data.get("PhotometricInterpretation") == "PALETTE COLOR":
        return 0.0, float(2 ** int(data.RedPaletteColorLookupTableDescriptor[2]) - 1)
    if samples_of(data) > 1 and "BitsStored" in data:
        return 0.0, float(2 ** int(data.BitsStored) - 1)
    centre, width = data.get("WindowCenter"), data.get("WindowWidth")
    if centre is None or width is None:
        return None
    centre = float(np.atleast_1d(np.asarray(centre, dtype=float))[0])
    width = float(np.atleast_1d(np.asarray(width, dtype=float))[0])
    return (centre - width / 2, centre + width / 2) if width > 0 else None


def metadata(data: Any) -> dict[str, Any]:
    """Return what `Image.about` says of a file: attributes without identity, and what was changed."""
    about = {name: plain(data[name].value) for name in RECORDED if name in data}
    about["transfer_syntax"] = str(data.file_meta.TransferSyntaxUID.name)
    about["inverted"] = inverted(data)
    if is_coloured(data) and data.get("PhotometricInterpretation") != "RGB":
        about["converted_to"] = "RGB"
    if spacing_source(data) not in ("", "PixelSpacing"):
        about["spacing_from"] = spacing_source(data)
    if over_time(data):
        about["frames"] = "time"
    return {"format": "dicom", **about}


def plain(value: Any) -> Any:
    """Return the value of an attribute as text, a number or a list of numbers."""
    if isinstance(value, (str, int, type(None))):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, float):
        return float(value)
    try:
        return [float(v) for v in value]
    except (TypeError, ValueError):
        return str(value)
