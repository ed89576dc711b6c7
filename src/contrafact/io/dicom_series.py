"""Read the slices of a DICOM series, and tell which files of a folder belong together."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from contrafact.core import Image, InputError
from contrafact.io.dicom import (
    SUFFIXES,
    inverted,
    is_dicom,
    metadata,
    open_dicom,
    range_of,
    read_dicom,
    samples_of,
    values_of,
    window_of,
)
from contrafact.io.dicom_geometry import directions, frames_of, grid_of_slices, in_order, spacing_of
from contrafact.io.limits import check_size, reading

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".npy", ".npz", ".nii", ".gz", ".nrrd", ".mha")


def read_series(folder: Path) -> Image:
    """Read all slices of one series in a folder, sorted by position along the slice normal.

    Other files are left out; those that look like images (a thumbnail) are named in `about["left_out"]`.

    raises  InputError when the folder holds no DICOM file, several series, slices of different
            size, orientation, spacing or colours, two slices at one position, or a gap
    """
    files = _files(folder)
    slices = [(p, open_dicom(p)) for p in files if is_dicom(p) and p.name != "DICOMDIR"]
    if not slices:
        raise InputError(f"expected DICOM files in '{folder}'; got {len(files)} other file(s)")
    series = {str(d.get("SeriesInstanceUID")) for _, d in slices}
    if len(series) > 1:
        raise InputError(f"expected one series in '{folder}'; got {len(series)}; give one folder each")
    if len(slices) == 1:
        return read_dicom(slices[0][0])
    slices = _checked(slices)
    first = slices[0][1]
    check_size(folder, (samples_of(first), len(slices), int(first.Rows), int(first.Columns)))
    values = np.concatenate([values_of(d, p)[:, None] for p, d in slices], axis=1)
    with reading(folder, "a readable series"):
        window, grid, about = window_of(first), grid_of_slices([data for _, data in slices]), metadata(first)
        if inverted(first):
            ranges = [range_of(data) for _, data in slices]
            ends = min(low for low, _ in ranges) + max(high for _, high in ranges)
            values = ends - values
            window = window and (ends - window[1], ends - window[0])
    left_out = [p.name for p in files if p.name.lower().endswith(PICTURES)]
    about |= {"slices": len(slices)} | ({"left_out": left_out} if left_out else {})
    return Image(values, grid, window, source=str(folder), about=about)  # type: ignore[arg-type]


def series_in(folder: Path) -> dict[str, list[Path]]:
    """Return the DICOM files of a folder by series, from their headers. A file whose header cannot be read, or
    names no series, stands alone."""
    series: dict[str, list[Path]] = {}
    for path in _files(folder):
        if (not path.suffix or path.suffix.lower() in SUFFIXES or path.suffix[1:].isdigit()) and is_dicom(path):
            try:
                uid = str(open_dicom(path, headers_only=True).get("SeriesInstanceUID") or path)
            except InputError:
                uid = str(path)
            series.setdefault(uid, []).append(path)
    series.pop(str(folder / "DICOMDIR"), None)
    return series


def patient_of(path: Path) -> str:
    """Return a digest of the PatientID of a DICOM file, or of the first of a series' folder; empty without one.

    Not the number itself: a cohort's patients are written into runs.
    """
    if path.is_dir():
        path = next((p for p in _files(path) if is_dicom(p) and p.name != "DICOMDIR"), path)
    if not path.is_file() or not is_dicom(path):
        return ""
    try:
        data = open_dicom(path, headers_only=True)
    except InputError:
        return ""
    number = str(data.get("PatientID") or "").strip()
    return "patient-" + hashlib.sha256(number.encode()).hexdigest()[:12] if number else ""


def _files(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.iterdir()) if p.is_file() and not p.name.startswith(".")]


def _checked(slices: list[tuple[Path, Any]]) -> list[tuple[Path, Any]]:
    """Return the slices in order; raise InputError for slices that are no volume."""
    for path, data in slices:
        if "ImagePositionPatient" not in data or "ImageOrientationPatient" not in data:
            raise InputError(f"'{path.name}' has no position in the patient; give single files")
    first = slices[0][1]
    with reading(slices[0][0].parent, "a readable series"):
        slices = in_order(slices)
        for path, data in slices:
            if (data.Rows, data.Columns) != (first.Rows, first.Columns) or not np.allclose(
                data.ImageOrientationPatient, first.ImageOrientationPatient, atol=1e-3
            ):
                raise InputError(f"'{path.name}' differs in size or orientation from the series")
            if not np.allclose(spacing_of(data) or 0, spacing_of(first) or 0, rtol=1e-3):
                raise InputError(f"'{path.name}' differs in pixel spacing from the series")
            if frames_of(data) > 1 or _colours(data) != _colours(first):
                raise InputError(f"'{path.name}' differs in frames or colours from the series")
        normal = directions(slices[0][1])[2]
        gaps = np.diff([np.dot(d.ImagePositionPatient, normal) for _, d in slices])
    if gaps.min() < 1e-3:
        at = slices[int(gaps.argmin())][0].name
        raise InputError(
            f"expected evenly spaced slices; got two at the position of '{at}' (times or echoes?): "
            "give a folder to each"
        )
    if gaps.max() - gaps.min() > 0.1 * gaps.mean():
        raise InputError(f"expected evenly spaced slices; got gaps of {gaps.min():.3g} to {gaps.max():.3g} mm")
    return slices


def _colours(data: Any) -> tuple[int, str]:
    return samples_of(data), str(data.get("PhotometricInterpretation", ""))
