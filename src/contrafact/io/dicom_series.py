"""Read the slices of a DICOM series, and tell which files of a folder belong together."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from contrafact.core import Image, InputError
from contrafact.core.limits import check_size
from contrafact.core.reading import reading
from contrafact.io.dicom import SUFFIXES, is_dicom, metadata, open_dicom, samples_of, values_of
from contrafact.io.dicom_file import image_of, is_enhanced, read_dicom
from contrafact.io.dicom_geometry import checked_slices, grid_of_slices

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
    if any(is_enhanced(data) for _, data in slices):
        raise InputError(
            f"expected one enhanced multi-frame file in '{folder}'; got {len(slices)} files: give one file"
        )
    slices = checked_slices(slices, folder, lambda path: f"'{path.name}'")
    headers = [data for _, data in slices]
    check_size(folder, (samples_of(headers[0]), len(slices), int(headers[0].Rows), int(headers[0].Columns)))
    values = np.concatenate([values_of(d, p)[:, None] for p, d in slices], axis=1)
    left_out = [p.name for p in files if p.name.lower().endswith(PICTURES)]
    with reading(folder, "a readable series"):
        about = metadata(headers[0]) | {"slices": len(slices)} | ({"left_out": left_out} if left_out else {})
        return image_of(values, headers, grid_of_slices(headers), about, folder)


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
