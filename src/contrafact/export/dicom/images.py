"""Images as DICOM files: Secondary Captures, and series of generated images, marked as synthetic."""

from __future__ import annotations

import copy
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.export.dicom.source import (
    CAPTURE,
    FLAGS,
    PATIENT,
    PATIENT_WHEN_KEPT,
    PLACE,
    SAME_CLASS,
    STUDY,
    STUDY_WHEN_KEPT,
    TECHNIQUE,
    burned_in,
    decimals,
    recognizable,
)

MAKER = "Contrafact"
SCHEME = "99CONTRAFACT"
PAIRED = ("ANKLE", "ARM", "BREAST", "EAR", "ELBOW", "EYE", "FOOT", "HAND", "HIP", "KNEE", "LEG", "SHOULDER")
BANNERS = (
    ("SYNTHETIC - NOT FOR DIAGNOSIS",),
    ("SYNTHETIC", "NOT FOR DIAGNOSIS"),
    ("SYNTHETIC", "NOT FOR", "DIAGNOSIS"),
    ("SYNTH.",),
    ("SYN",),
)
CT, MR = SAME_CLASS
Pixels = NDArray[Any]


def new_uid() -> str:
    from pydicom.uid import generate_uid

    return str(generate_uid(prefix=None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One series of results; a long `description` is cut."""

    number: int
    description: str
    uid: str = field(default_factory=new_uid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Origin of the pixels of a frame, which decides its flags.

    model       the name of the one generator (a bundle)
    derivation  description of the change
    references  headers of the source images
    synthetic   False for the original frame: its pixels are those of the source, so it has no flag of
                synthetic data, no banner and no generator
    """

    model: str
    version: str
    derivation: str
    references: Sequence[Any]
    synthetic: bool = True


@dataclass(frozen=True, slots=True)
class Levels:
    """Storage of float values in 16 bits: value = stored * slope + intercept."""

    slope: float = 1.0
    intercept: float = 0.0
    signed: bool = False

    def stored(self, values: Pixels) -> Pixels:
        low, high = (-32768, 32767) if self.signed else (0, 65535)
        kind = np.int16 if self.signed else np.uint16
        return np.clip(np.round((values - self.intercept) / self.slope), low, high).astype(kind)


def levels_for(values: Pixels, header: Any, *, steps: int = 20) -> Levels:
    """Return slope and intercept for a series: those of the source if values span at least `steps` steps, else
    the range of the values over 16 bits."""
    low, high = float(values.min()), float(values.max())
    slope, intercept = (float(header.get(n) or d) for n, d in (("RescaleSlope", 1), ("RescaleIntercept", 0)))
    if slope > 0 and (high - low) / slope >= steps:
        least, most = (low - intercept) / slope, (high - intercept) / slope
        if least > -0.5 and most < 65535.5:
            return Levels(slope, intercept, False)
        if least > -32768.5 and most < 32767.5:
            return Levels(slope, intercept, True)
    slope = float(decimals([max(high - low, 1e-6) / 65535])[0])
    return Levels(slope, float(decimals([low])[0]), False)


def picture(
    header: Any,
    pixels: Pixels,
    series: Series,
    number: int,
    *,
    levels: Levels | None = None,
    window: tuple[float, float] | None = None,
    drawn: Drawn | None = None,
    banner: bool = True,
    uid: str | None = None,
) -> Any:
    """Return one image file on the grid of its pixels.

    header  of the source slice: patient, study, position; its class is kept for generated CT and MR
    pixels  (H, W) float with levels, or (H, W, 3) bytes
    drawn   given for generated pixels: sets all flags and burns in the banner
    uid     UID of the file, if other files refer to it
    """
    data = _frame_of(header, series, number)
    own = drawn is not None and keeps_class(header, pixels)
    data.SOPClassUID = header.SOPClassUID if own else CAPTURE
    data.SOPInstanceUID = uid or new_uid()
    data.Modality = header.Modality if own else "OT"
    data.ImageType = ["DERIVED", "SECONDARY", {CT: "AXIAL", MR: "OTHER"}[str(header.SOPClassUID)]] if own else [
        "DERIVED", "SECONDARY",
    ]  # fmt: skip
    if not own:
        data.ConversionType = "WSD"
    for name in TECHNIQUE if own else ():
        if name in header:
            data[name] = header[name]
    if own:
        _required_of_class(data, str(header.SOPClassUID))
    if not own:
        data.PatientOrientation = ""
    side_known(data)
    if drawn is not None:
        _mark(data, header, drawn)
        if banner and drawn.synthetic:
            low, high = window or (float(pixels.min()), float(pixels.max()))
            pixels = burnt(pixels, low=0 if pixels.ndim == 3 else low, high=255 if pixels.ndim == 3 else high)
    _put(data, pixels, levels, window)
    return data


def keeps_class(header: Any, pixels: Pixels) -> bool:
    """Return whether a generated image is of its source's class (CT, MR), and no Secondary Capture."""
    return str(header.SOPClassUID) in SAME_CLASS and pixels.ndim == 2


def as_bytes(data: Any) -> bytes:
    """Return a DICOM file, explicit VR little endian."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    if not hasattr(data, "file_meta"):
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def equipment(purpose: tuple[str, str], model: str, version: str, words: str) -> Any:
    """Return an item of ContributingEquipmentSequence."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.Manufacturer, item.ManufacturerModelName = MAKER, text(model)
    item.SoftwareVersions = text(version)
    item.ContributionDateTime = datetime.now().strftime("%Y%m%d%H%M%S")
    item.ContributionDescription = text(words, 1024)
    item.PurposeOfReferenceCodeSequence = [code(purpose[0], "DCM", purpose[1])]
    return item


def code(value: str, scheme: str, meaning: str) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, text(meaning)
    return item


def side_known(data: Any) -> None:
    """Declare the laterality unknown, if the body part is paired and the side is not given."""
    part = str(data.get("BodyPartExamined") or "")
    if (not part or part in PAIRED) and "Laterality" not in data and "ImageLaterality" not in data:
        data.Laterality = ""
    elif part and part not in PAIRED and not data.get("Laterality"):
        data.pop("Laterality", None)


def own_scheme() -> Any:
    """Return the item that says who defines the codes of `SCHEME`."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodingSchemeDesignator, item.CodingSchemeName = SCHEME, "Contrafact private codes"
    item.CodingSchemeResponsibleOrganization = MAKER
    return item


def text(words: Any, length: int = 64) -> str:
    """Return text that fits any text attribute: one line, no backslash, limited length."""
    line = " ".join("".join(c if c.isprintable() and c != "\\" else " " for c in str(words)).split())
    return line if len(line) < length else line[: length - 4] + "..."


def burnt(pixels: Pixels, *, low: float, high: float) -> Pixels:
    """Burn the banner into an image in bright letters on dark bars: one line at the top if it fits, else
    several at top and bottom."""
    width = pixels.shape[1]
    lines = next((found for found in BANNERS if all(_font(line, width) for line in found)), BANNERS[-1])
    bars = [_letters(line, width) for line in lines]
    marked, bottom = np.array(pixels), len(pixels)
    for number, letters in reversed(list(enumerate(bars))):
        letters = letters[: len(pixels)]
        bottom -= len(letters)
        rows = slice(0, len(letters)) if number == 0 else slice(bottom, bottom + len(letters))
        if number and bottom < len(pixels) // 2:
            continue
        marked[rows] = np.where(letters[..., None] if pixels.ndim == 3 else letters, high, low)
    return marked


def _font(line: str, width: int) -> Any:
    """Return the largest font, at most 1/18 of the width, in which the line fits; None below 8 points."""
    from PIL import ImageFont

    for size in range(max(8, min(28, width // 18)), 7, -1):
        font = ImageFont.load_default(size)
        left, _, right, _ = font.getbbox(line)
        if right - left <= width - 2:
            return font
    return None


def _letters(line: str, width: int) -> NDArray[np.bool_]:
    """Return a mask (h, width), True on the letters; long lines are cut."""
    from PIL import Image as Picture
    from PIL import ImageDraw, ImageFont

    font = _font(line, width) or ImageFont.load_default(8)
    left, top, right, bottom = (round(v) for v in font.getbbox(line))
    page = Picture.new("L", (width, bottom - top + 2))
    ImageDraw.Draw(page).text((max(0, (width - right + left) // 2) - left, 1 - top), line, fill=255, font=font)
    return np.asarray(page) > 90


def _frame_of(header: Any, series: Series, number: int) -> Any:
    """Return the attributes that do not depend on the pixels: patient, study, series, position."""
    from pydicom.dataset import Dataset

    data = Dataset()
    known = (*PATIENT, *PATIENT_WHEN_KEPT, "StudyInstanceUID", *STUDY, *STUDY_WHEN_KEPT, *PLACE, *FLAGS)
    for name in (*known, "SpecificCharacterSet"):
        if name in header:  # an element of its own: a value that is set later is not the source's
            data[name] = copy.copy(header[name])
    for name in () if "ImagePositionPatient" in data else ("PatientPosition", "SpacingBetweenSlices"):
        data.pop(name, None)
    now = datetime.now()
    data.InstanceCreationDate = data.ContentDate = data.SeriesDate = now.strftime("%Y%m%d")
    data.InstanceCreationTime = data.ContentTime = data.SeriesTime = now.strftime("%H%M%S")
    data.SeriesInstanceUID, data.SeriesNumber = series.uid, series.number
    data.SeriesDescription, data.InstanceNumber = text(series.description), number
    data.Manufacturer, data.ManufacturerModelName = MAKER, MAKER
    data.ContentQualification = "RESEARCH"
    return data


def _required_of_class(data: Any, sop_class: str) -> None:
    """Add the attributes required for CT and MR files, empty where allowed."""
    empty = {
        CT: ("KVP", "AcquisitionNumber"),
        MR: ("ScanOptions", "MRAcquisitionType", "EchoTime", "EchoTrainLength"),
    }[sop_class]
    for name in (*empty, "PatientPosition"):
        if name not in data:
            setattr(data, name, None)
    if sop_class == MR:
        data.ScanningSequence = data.get("ScanningSequence") or "RM"
        data.SequenceVariant = data.get("SequenceVariant") or "NONE"
        if "RepetitionTime" not in data:
            data.RepetitionTime = None
    if "SliceThickness" not in data:
        data.SliceThickness = None


def _mark(data: Any, header: Any, drawn: Drawn) -> None:
    """Set the attributes of synthetic images (PS3.3 C.12.1); for an original, only its source."""
    from pydicom.dataset import Dataset

    if burned_in(header):  # refers to text that names the patient; the banner does not
        data.BurnedInAnnotation = burned_in(header)
    if recognizable(header):
        data.RecognizableVisualFeatures = recognizable(header)
    data.DerivationDescription = text(drawn.derivation, 1024)
    if drawn.synthetic:
        data.SyntheticData = "YES"
        data.DerivationCodeSequence = [
            code("COUNTERFACTUAL", SCHEME, "Counterfactual image generated by a network")
        ]
        data.CodingSchemeIdentificationSequence = [own_scheme()]
        words = "Generated the pixels of this image; they are not a measurement of the patient"
        data.ContributingEquipmentSequence = [
            equipment(("109100", "Synthesizing Equipment"), drawn.model, drawn.version, words)
        ]
    if drawn.references:
        data.SourceImageSequence = []
    for source in drawn.references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
        item.PurposeOfReferenceCodeSequence = [
            code("121322", "DCM", "Source image for image processing operation")
        ]
        data.SourceImageSequence.append(item)


def _put(data: Any, pixels: Pixels, levels: Levels | None, window: tuple[float, float] | None) -> None:
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    if pixels.ndim == 3:
        data.PhotometricInterpretation, data.PlanarConfiguration = "RGB", 0
        data.BitsAllocated = data.BitsStored = 8
        data.HighBit, data.PixelRepresentation = 7, 0
        content = pixels.astype(np.uint8).tobytes()
        data.PixelData = content + b"\0" * (len(content) % 2)
        return
    levels = levels or levels_for(pixels, data)
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, int(levels.signed)
    if data.SOPClassUID != MR or (levels.slope, levels.intercept) != (1.0, 0.0):
        data.RescaleIntercept, data.RescaleSlope = decimals([levels.intercept, levels.slope])
        data.RescaleType = "HU" if data.SOPClassUID == CT else "US"
    if window and window[1] > window[0]:
        data.WindowCenter, data.WindowWidth = decimals([sum(window) / 2, window[1] - window[0]])
        if window[1] - window[0] < 1:
            data.VOILUTFunction = "LINEAR_EXACT"
    data.PixelData = levels.stored(pixels).tobytes()
