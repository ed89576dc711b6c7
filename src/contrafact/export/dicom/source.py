"""Attributes that DICOM results keep from their source series: patient, study, position and flags."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Grid, InputError
from contrafact.io.dicom import is_dicom, open_dicom
from contrafact.io.dicom_file import enhanced_grid, is_enhanced
from contrafact.io.dicom_geometry import grid_of_file, grid_of_slices, in_order

CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
SAME_CLASS = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4")  # CT, MR: a frame keeps its class
TEXTLESS = ("CT", "MR", "PT", "NM", "CR", "DX", "MG")
HEADS = ("HEAD", "BRAIN", "SKULL", "FACE", "HEADNECK", "NECK", "ORBIT", "JAW")

# Only attributes on these lists are copied: no private tags, no free text, no names of people or institutions.
PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
PATIENT_WHEN_KEPT = (
    "IssuerOfPatientID",
    "OtherPatientIDsSequence",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
)
STUDY = ("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "ReferringPhysicianName")
STUDY_WHEN_KEPT = ("StudyDescription",)
PLACE = (
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "PatientPosition",
    "BodyPartExamined",
    "Laterality",
    "ImageLaterality",
    "Rows",
    "Columns",
)
TECHNIQUE = (
    "KVP",
    "ScanningSequence",
    "SequenceVariant",
    "ScanOptions",
    "MRAcquisitionType",
    "RepetitionTime",
    "EchoTime",
    "EchoTrainLength",
    "InversionTime",
    "MagneticFieldStrength",
    "FlipAngle",
)
FLAGS = (
    "SyntheticData",
    "BurnedInAnnotation",
    "RecognizableVisualFeatures",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)
LEVELS = (
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "PixelRepresentation",
    "BitsStored",
    "BitsAllocated",
)
NAMES = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "Modality",
    "SpecificCharacterSet",
)
UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomSource:
    """Headers without pixels, one per slice of the grid, in order.

    placed   position, orientation and frame of reference in the patient are known (or created, for a volume
             with known spacing)
    made     there is no DICOM source: the headers are new, and the image must be written with them
    asked    the requested grid. `grid` equals it, except for created headers of a volume: with a known position
             in the patient it is upright (`flips` of rows and columns), else it is an axial grid
    missing  sentences about what could not be kept
    """

    headers: tuple[Any, ...]
    grid: Grid
    asked: Grid
    placed: bool
    made: bool = False
    flips: tuple[bool, bool] = (False, False)
    missing: tuple[str, ...] = ()

    def turned(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return an array (..., H, W) in the orientation of the headers."""
        rows, columns = (slice(None, None, -1 if flip else 1) for flip in self.flips)
        return values[..., rows, columns]

    @property
    def synthetic(self) -> bool:
        return str(self.headers[0].get("SyntheticData", "")) == "YES"


def dicom_source(
    source: str,
    grid: Grid,
    *,
    about: Mapping[str, Any],
    digest: str,
    keep_patient: bool = False,
    uids: dict[str, str] | None = None,
) -> DicomSource:
    """Return the headers of results on `grid`.

    source, about  fields of the image in the run; the headers of a DICOM source are read again and used if
                   it is still the same series on the same grid
    digest         identifies the image if there is no study
    uids           new UIDs by those of the source; missing ones are added. None: those of the source stay
    """
    path = Path(source)
    if about.get("format") != "dicom":
        why = "the source is not DICOM: new study, patient 'anonymous', modality OT"
        return _made(grid, digest, about, (why,))
    if not source or not path.exists():
        why = "the DICOM source was not found: new study, patient 'anonymous'"
        return _made(grid, digest, about, (why,))
    try:
        found = _headers(path)
        same = str(found[0].get("SeriesInstanceUID")) == str(about.get("SeriesInstanceUID"))
        if not same or _grid(found, path) != grid:
            why = "the DICOM source is another series than the one explained: new study, patient 'anonymous'"
            return _made(grid, digest, about, (why,))
        headers = tuple(_header(d, keep_patient, uids) for d in found)
    except (ValueError, TypeError, AttributeError, OSError, IndexError) as error:
        raise InputError(f"'{path.name}' cannot be used as a DICOM source: {error}") from error
    if int(found[0].get("NumberOfFrames", 1) or 1) > 1:
        why = "the source is a multi-frame file: its frames are written as single files"
        made = _made(grid, digest, about, (why,))
        return replace(made, headers=tuple(_joined(h, headers[0]) for h in made.headers))
    wanted = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "FrameOfReferenceUID")
    lacking = [name for name in wanted if not headers[0].get(name)]
    if lacking:
        for header in headers:
            _drop(header, "FrameOfReferenceUID", "PositionReferenceIndicator", *wanted[:2])
    missing = (f"the source has no {', '.join(lacking)}: no parametric map",) if lacking else ()
    if burned_in(headers[0]) != "NO" and not keep_patient:
        missing = (*missing, "text in the pixels, which may name the patient, was not checked")
    return DicomSource(headers=headers, grid=grid, asked=grid, placed=not lacking, missing=missing)


def on_grid(source: DicomSource, grid: Grid) -> tuple[Any, ...]:
    """Return the headers for another grid in the same frame of reference, such as that of generated frames."""
    if grid == source.asked:
        return source.headers
    plain = source.made and flipped(source.asked, source.flips) != source.grid
    grid = source.grid.resized(grid.shape) if plain else flipped(grid, source.flips)
    headers = []
    for number, place in enumerate(places(grid) if source.placed else [{}] * _depth(grid)):
        header = copy.deepcopy(source.headers[min(number, len(source.headers) - 1)])
        _drop(header, "SliceThickness", "SpacingBetweenSlices", "ImagerPixelSpacing", "PixelSpacing")
        header.Rows, header.Columns = grid.shape[-2:]
        for name, value in place.items():
            setattr(header, name, value)
        headers.append(header)
    return tuple(headers)


def places(grid: Grid) -> list[dict[str, Any]]:
    """Return ImagePositionPatient and related attributes for every slice of a grid.

    raises  InputError if rows and columns are not at right angles, which DICOM cannot express
    """
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine
    steps = affine[:3, : len(grid.shape)]
    down, across, start = steps[:, -2], steps[:, -1], affine[:3, 3]
    lengths = [float(np.linalg.norm(v)) for v in (down, across)]
    cosines = [*(across / lengths[1]), *(down / lengths[0])]
    if abs(float(np.dot(cosines[:3], cosines[3:]))) > 1e-3:
        raise InputError(
            "expected rows and columns at right angles, as DICOM requires; got oblique ones; resample the image"
        )
    place: dict[str, Any] = {
        "ImageOrientationPatient": decimals(cosines),
        "PixelSpacing": decimals(lengths),
    }
    if len(grid.shape) == 2:
        return [{**place, "ImagePositionPatient": decimals(start)}]
    gap = decimals([float(np.linalg.norm(steps[:, 0]))])[0]
    place |= {"SliceThickness": gap, "SpacingBetweenSlices": gap}
    return [{**place, "ImagePositionPatient": decimals(start + k * steps[:, 0])} for k in range(grid.shape[0])]


def upright_flips(grid: Grid) -> tuple[bool, bool]:
    """Return whether rows and columns must be flipped for radiological orientation, given that viewers show the
    first row at the top and the first column on the left."""
    turned = []
    for axis in (-2, -1):
        step = (np.diag([-1.0, -1.0, 1.0]) @ grid.affine[:3, : len(grid.shape)])[:, axis]
        main = int(np.abs(step).argmax())
        turned.append(bool(step[main] > 0) if main == 2 else bool(step[main] < 0))
    return turned[0], turned[1]


def flipped(grid: Grid, flips: tuple[bool, bool]) -> Grid:
    """Return the grid of an array whose last two axes are flipped."""
    affine = grid.affine.copy()
    for axis, flip in zip((len(grid.shape) - 2, len(grid.shape) - 1), flips, strict=True):
        if flip:
            affine[:3, 3] += affine[:3, axis] * (grid.shape[axis] - 1)
            affine[:3, axis] *= -1
    return Grid(grid.shape, affine=affine)


def decimals(values: Sequence[float] | NDArray[np.float64]) -> list[Any]:
    """Return numbers as decimal strings of at most 16 characters, with 13 digits: a length of 3 mm is `3.0`
    also where the processor's rounding makes 2.9999999999999996 of it."""
    from pydicom.valuerep import DSfloat

    return [DSfloat(float(f"{v:.13g}"), auto_format=True) for v in values]


def recognizable(header: Any) -> str:
    """Return YES for volumes of heads, because they show a face; else the value of the source, or nothing."""
    part = str(header.get("BodyPartExamined", "")).upper()
    return "YES" if part in HEADS else str(header.get("RecognizableVisualFeatures", ""))


def burned_in(header: Any) -> str:
    """Return whether text in the pixels names the patient; NO for modalities without text."""
    said = str(header.get("BurnedInAnnotation") or "")
    return said or ("NO" if str(header.get("Modality")) in TEXTLESS else "")


def _headers(path: Path) -> list[Any]:
    if path.is_file():
        return [open_dicom(path, headers_only=True)]
    files = [p for p in sorted(path.iterdir()) if p.is_file() and not p.name.startswith(".")]
    found = [(p, open_dicom(p, headers_only=True)) for p in files if is_dicom(p)]
    found = [f for f in found if f[0].name != "DICOMDIR"]
    return [data for _, data in (in_order(found) if len(found) > 1 else found)]


def _grid(found: list[Any], path: Path) -> Grid:
    if len(found) > 1:
        return grid_of_slices(found)
    return enhanced_grid(found[0], path) if is_enhanced(found[0]) else grid_of_file(found[0])


def _header(data: Any, keep_patient: bool, uids: dict[str, str] | None = None) -> Any:
    """Return the allowed attributes of a source file, in UTF-8."""
    from pydicom.dataset import Dataset

    data.decode()
    header = Dataset()
    kept = (*PATIENT_WHEN_KEPT, *STUDY_WHEN_KEPT) if keep_patient else ()
    for name in (*NAMES, *PATIENT, *STUDY, *PLACE, *TECHNIQUE, *FLAGS, *LEVELS, *kept):
        if name in data:
            header[name] = copy.deepcopy(data[name])
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        if (
            name in header and max(len(str(v)) for v in header[name].value) > 16
        ):  # longer than a decimal string allows
            setattr(header, name, decimals(header[name].value))
    header.SpecificCharacterSet = "ISO_IR 192"
    for name in (*PATIENT, *STUDY):
        if name not in header or not keep_patient:
            setattr(header, name, "")
    if uids is not None:
        _renew(header, uids)
    if not keep_patient:
        _anonymous(header, str(header.get("StudyInstanceUID", "")), "kept" if uids is None else "replaced")
    return header


def _renew(header: Any, uids: dict[str, str]) -> None:
    """Replace the UIDs of a header; the same UID is replaced by the same one in all files."""
    from pydicom.uid import generate_uid

    for name in UIDS:
        if header.get(name):
            old = str(header[name].value)
            new = uids.get(old) or str(generate_uid(prefix=None))
            uids[old] = new
            setattr(header, name, new)


def _anonymous(header: Any, study: str, uids: str = "kept") -> None:
    import hashlib

    header.PatientName = "anonymous"
    header.PatientID = "anonymous-" + hashlib.sha256(study.encode()).hexdigest()[:8]
    header.PatientIdentityRemoved = "YES"
    header.DeidentificationMethod = f"Contrafact: patient and study emptied, UIDs {uids}"


def _made(grid: Grid, digest: str, about: Mapping[str, Any], missing: tuple[str, ...]) -> DicomSource:
    """Create headers for an image without a DICOM source: new UIDs, geometry of the grid."""
    from pydicom.dataset import Dataset
    from pydicom.uid import generate_uid

    asked, flips = grid, (False, False)
    known = _spacing_known(grid, about)
    volume = len(grid.shape) == 3 and known
    if not known:
        pixel = "pixel is not known" if len(grid.shape) == 2 else "voxel is not known: no parametric map"
        missing = (*missing, f"the size of a {pixel}")
    if volume and about.get("format") == "nifti":
        flips = upright_flips(grid)
        grid = flipped(grid, flips)
    elif volume:
        missing = (*missing, "the position in the patient is not known: the slices are written as if axial")
        grid = _axial(grid)
    study, series, frame = (str(generate_uid(prefix=None)) for _ in range(3))
    head = Dataset()
    for name in (*PATIENT, *STUDY):
        setattr(head, name, "")
    _anonymous(head, digest)
    head.SpecificCharacterSet = "ISO_IR 192"
    head.StudyInstanceUID, head.SeriesInstanceUID = study, series
    head.SOPClassUID, head.Modality = CAPTURE, "OT"
    head.Rows, head.Columns = grid.shape[-2:]
    if about.get("synthetic"):
        head.SyntheticData = "YES"
    if volume:
        head.FrameOfReferenceUID, head.PositionReferenceIndicator = frame, ""
    elif known:
        head.PixelSpacing = decimals(grid.spacing_mm)
    headers = []
    for place in places(grid) if volume else [{}] * _depth(grid):
        header = copy.deepcopy(head)
        header.SOPInstanceUID = str(generate_uid(prefix=None))
        for name, value in place.items():
            setattr(header, name, value)
        headers.append(header)
    return DicomSource(
        headers=tuple(headers),
        grid=grid,
        asked=asked,
        placed=volume,
        made=True,
        flips=flips,
        missing=missing,
    )


def _spacing_known(grid: Grid, about: Mapping[str, Any]) -> bool:
    """Return whether the voxel size is known. In older runs 1 mm stands for unknown, except in formats with a
    spacing."""
    return grid.spacing_known and (set(grid.spacing_mm) != {1.0} or about.get("format") in ("nifti", "dicom"))


def _axial(grid: Grid) -> Grid:
    """Return an axial grid of the same spacing: columns to the left, rows to the back, slices to the head."""
    gap, down, across = grid.spacing_mm
    affine = np.array([[0, 0, -across, 0], [0, -down, 0, 0], [gap, 0, 0, 0], [0, 0, 0, 1.0]])
    return Grid(grid.shape, affine=affine)


def _joined(header: Any, source: Any) -> Any:
    """Return a created header with the patient, study and flags of a source."""
    kept = (*PATIENT_WHEN_KEPT, *STUDY_WHEN_KEPT)
    for name in ("StudyInstanceUID", *PATIENT, *STUDY, *FLAGS, "BodyPartExamined", *kept):
        if name in source:
            header[name] = copy.deepcopy(source[name])
        else:
            _drop(header, name)
    return header


def _drop(header: Any, *names: str) -> None:
    for name in names:
        if name in header:
            del header[name]


def _depth(grid: Grid) -> int:
    return grid.shape[0] if len(grid.shape) == 3 else 1
