"""Read DICOM files and series with rescale, photometric interpretation, window and geometry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Grid, Image, InputError

RECORDED = (
    "Modality",
    "BodyPartExamined",
    "Laterality",
    "ImageLaterality",
    "ViewPosition",
    "PhotometricInterpretation",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "WindowCenter",
    "WindowWidth",
    "SeriesInstanceUID",
    "SOPInstanceUID",
)


def read_dicom(path: Path) -> Image:
    """Read one file: (C, H, W), or (C, D, H, W) for several frames, in modality units (HU for CT)."""
    data = _open(path)
    if "SharedFunctionalGroupsSequence" in data and "PixelSpacing" not in data:
        raise InputError(
            f"'{path.name}' is an enhanced multi-frame file, whose geometry is not read yet; "
            "convert it to single slices or NIfTI"
        )
    return Image(
        _with_dense_bright(_values(data, path), data),
        grid_of_file(data),
        _window(data),  # type: ignore[arg-type]
        source=str(path),
        about=_metadata(data),
    )


def read_series(folder: Path) -> Image:
    """Read all slices of one series in a folder, sorted by position along the slice normal.

    raises  InputError when the folder holds no DICOM file, several series, slices of different
            size or orientation, two slices at one position, or a gap
    """
    files = [p for p in sorted(folder.iterdir()) if p.is_file() and not p.name.startswith(".")]
    slices = [(p, _open(p)) for p in files if is_dicom(p) and p.name != "DICOMDIR"]
    if not slices:
        raise InputError(f"expected DICOM files in '{folder}'; got {len(files)} other file(s)")
    series = {str(d.get("SeriesInstanceUID")) for _, d in slices}
    if len(series) > 1:
        raise InputError(f"expected one series in '{folder}'; got {len(series)}; give one folder each")
    if len(slices) == 1:
        return read_dicom(slices[0][0])
    for path, data in slices:
        if "ImagePositionPatient" not in data or "ImageOrientationPatient" not in data:
            raise InputError(f"'{path.name}' has no position in the patient; give single files")
    slices = in_order(slices)
    first = slices[0][1]
    for path, data in slices:
        if (data.Rows, data.Columns) != (first.Rows, first.Columns) or not np.allclose(
            data.ImageOrientationPatient, first.ImageOrientationPatient, atol=1e-3
        ):
            raise InputError(f"'{path.name}' differs in size or orientation from the series")
    normal = _directions(first)[2]
    positions = np.array([np.dot(d.ImagePositionPatient, normal) for _, d in slices])
    gaps = np.diff(positions)
    if gaps.min() < 1e-3 or gaps.max() - gaps.min() > 0.1 * gaps.mean():
        raise InputError(f"expected evenly spaced slices; got gaps of {gaps.min():.3g} to {gaps.max():.3g} mm")
    values = np.concatenate([_values(d, p)[:, None] for p, d in slices], axis=1)
    return Image(
        _with_dense_bright(values, first),
        grid_of_slices([data for _, data in slices]),
        _window(first),  # type: ignore[arg-type]
        source=str(folder),
        about={**_metadata(first), "slices": len(slices)},
    )


def in_order(slices: list[tuple[Path, Any]]) -> list[tuple[Path, Any]]:
    """Sort slices by position along the normal of the first."""
    normal = _directions(slices[0][1])[2]
    return sorted(slices, key=lambda s: float(np.dot(s[1].ImagePositionPatient, normal)))


def grid_of_slices(slices: Sequence[Any]) -> Grid:
    """Return the grid (D, H, W) of two or more sorted single slices."""
    first = slices[0]
    across, down, _ = _directions(first)
    start, end = (np.array(slices[i].ImagePositionPatient, dtype=float) for i in (0, -1))
    step = (end - start) / (len(slices) - 1)  # not the normal: a tilted gantry shifts the slices
    matrix = _affine(start, [step, *_steps(first, down, across)])
    return Grid((len(slices), int(first.Rows), int(first.Columns)), affine=matrix)


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, by its suffix or by its magic number."""
    if path.suffix.lower() in (".dcm", ".ima", ".dicom"):
        return True
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _open(path: Path) -> Any:
    import pydicom

    try:
        data = pydicom.dcmread(path)
    except (pydicom.errors.InvalidDicomError, OSError, EOFError, ValueError, KeyError) as error:
        raise InputError(f"'{path.name}' is not a readable DICOM file: {_line(error)}") from error
    if "PixelData" not in data and "FloatPixelData" not in data:
        raise InputError(
            f"'{path.name}' holds no pixels ({data.get('Modality', 'no modality')}), or was cut short"
        )
    return data


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _values(data: Any, path: Path) -> NDArray[np.float32]:
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

    try:
        array = data.pixel_array
        kind = str(data.get("PhotometricInterpretation", ""))
        if kind == "PALETTE COLOR":
            array = apply_color_lut(array, data)
        elif int(data.get("SamplesPerPixel", 1)) == 1:
            array = apply_modality_lut(array, data)
    except Exception as error:  # decoders raise many types; all mean that the pixels cannot be read
        raise InputError(f"the pixels of '{path.name}' cannot be read: {_line(error)}") from error
    array = np.asarray(array, dtype=np.float32)
    coloured = int(data.get("SamplesPerPixel", 1)) > 1 or kind == "PALETTE COLOR"
    return np.moveaxis(array, -1, 0)[:3] if coloured else array[None]


def _inverted(data: Any) -> bool:
    """Whether the values must be inverted: MONOCHROME1 without physical units (radiographs). CT, MR, PET and
    NM values have a meaning of their own, and only a viewer inverts them."""
    physical = str(data.get("Modality", "")) in ("CT", "MR", "PT", "NM")
    return data.get("PhotometricInterpretation") == "MONOCHROME1" and not physical


def _with_dense_bright(values: NDArray[np.float32], data: Any) -> NDArray[np.float32]:
    """Invert values within the range of the image if needed, so that dense tissue is bright."""
    return values.max() + values.min() - values if _inverted(data) else values


def _window(data: Any) -> tuple[float, float] | None:
    centre, width = data.get("WindowCenter"), data.get("WindowWidth")
    if centre is None or width is None or _inverted(data):
        return None
    centre = float(np.atleast_1d(np.asarray(centre, dtype=float))[0])
    width = float(np.atleast_1d(np.asarray(width, dtype=float))[0])
    return (centre - width / 2, centre + width / 2) if width > 0 else None


def _directions(data: Any) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    cosines = np.array(data.ImageOrientationPatient, dtype=float)
    across, down = cosines[:3], cosines[3:]
    return across, down, np.cross(across, down)


def _steps(data: Any, down: Any, across: Any) -> list[Any]:
    rows, columns = (float(v) for v in data.get("PixelSpacing", (1.0, 1.0)))
    return [down * rows, across * columns]


def _affine(start: Any, steps: list[Any]) -> NDArray[np.float64]:
    """Return the RAS+ affine whose columns are the steps along (D, H, W); DICOM coordinates are LPS+."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack(steps, axis=1)
    matrix[:3, 3] = start
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix


def grid_of_file(data: Any) -> Grid:
    """Return the grid of one file, (H, W), or (D, H, W) for several frames."""
    frames = int(data.get("NumberOfFrames", 1) or 1)
    size = (int(data.Rows), int(data.Columns))
    shape = size if frames == 1 else (frames, *size)
    spacing = data.get("PixelSpacing") or data.get("ImagerPixelSpacing")
    gap = data.get("SpacingBetweenSlices") or data.get("SliceThickness")
    known, thickness = bool(spacing and (gap or frames == 1)), float(gap or 1.0)
    if "ImagePositionPatient" in data and "ImageOrientationPatient" in data:
        across, down, normal = _directions(data)
        start = np.array(data.ImagePositionPatient, dtype=float)
        in_plane = _steps(data, down, across)
        steps = [*in_plane, normal] if frames == 1 else [normal * thickness, *in_plane]
        grid = Grid(shape, affine=_affine(start, steps))
    else:
        in_plane_mm = tuple(float(v) for v in spacing or (1.0, 1.0))
        grid = Grid(shape, spacing_mm=in_plane_mm if frames == 1 else (thickness, *in_plane_mm))
    return grid if known else grid.of_unknown_spacing()


def _metadata(data: Any) -> dict[str, Any]:
    metadata = {name: _plain(data[name].value) for name in RECORDED if name in data}
    metadata["transfer_syntax"] = str(data.file_meta.TransferSyntaxUID.name)
    metadata["inverted"] = _inverted(data)
    return {"format": "dicom", **metadata}


def _plain(value: Any) -> Any:
    if isinstance(value, (str, int, type(None))):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, float):
        return float(value)
    try:
        return [float(v) for v in value]
    except (TypeError, ValueError):
        return str(value)
