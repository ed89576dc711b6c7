"""Where the pixels of DICOM files lie in the patient; what a file does not say stays unknown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Grid, InputError
from contrafact.core.reading import reading

_T = TypeVar("_T")
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")  # patient, detector, film
TIMES = (0x00181063, 0x00181065)  # FrameTime, FrameTimeVector: what frames are counted by


def in_order(slices: Sequence[tuple[_T, Any]]) -> list[tuple[_T, Any]]:
    """Sort slices by position along the normal of the first."""
    normal = directions(slices[0][1])[2]
    return sorted(slices, key=lambda s: float(np.dot(s[1].ImagePositionPatient, normal)))


def checked_slices(
    slices: Sequence[tuple[_T, Any]], path: Path, named: Callable[[_T], str]
) -> list[tuple[_T, Any]]:
    """Return slices, or frames with headers of their own, in order.

    path, named  for errors: the folder or file, and the words for a slice
    raises       InputError for slices that are no volume
    """
    for which, data in slices:
        if "ImagePositionPatient" not in data or "ImageOrientationPatient" not in data:
            raise InputError(f"{named(which)} has no position in the patient; give single files")
    first = slices[0][1]
    with reading(path, "a readable series"):
        for which, data in slices:
            _check_alike(data, first, named(which))
        ordered = in_order(slices)
        normal = directions(ordered[0][1])[2]
        gaps = np.diff([np.dot(d.ImagePositionPatient, normal) for _, d in ordered])
    if not np.isfinite(gaps).all():
        raise InputError(f"'{path.name}' has slices at positions that are not finite")
    if gaps.min() < 1e-3:
        at = named(ordered[int(gaps.argmin())][0])
        raise InputError(
            f"expected evenly spaced slices; got two at the position of {at} (times or echoes?): "
            "give a folder to each"
        )
    if gaps.max() - gaps.min() > 0.1 * gaps.mean():
        raise InputError(f"expected evenly spaced slices; got gaps of {gaps.min():.3g} to {gaps.max():.3g} mm")
    return ordered


def _check_alike(data: Any, first: Any, name: str) -> None:
    """Raise InputError for a slice that cannot be laid on the first one."""
    if (data.Rows, data.Columns) != (first.Rows, first.Columns) or not np.allclose(
        data.ImageOrientationPatient, first.ImageOrientationPatient, atol=1e-3
    ):
        raise InputError(f"{name} differs in size or orientation from the series")
    if not np.allclose(spacing_of(data) or 0, spacing_of(first) or 0, rtol=1e-3):
        raise InputError(f"{name} differs in pixel spacing from the series")
    if frames_of(data) > 1 or _colours(data) != _colours(first):
        raise InputError(f"{name} differs in frames or colours from the series")


def _colours(data: Any) -> tuple[int, str]:
    return int(data.get("SamplesPerPixel") or 1), str(data.get("PhotometricInterpretation", ""))


def grid_of_slices(slices: Sequence[Any]) -> Grid:
    """Return the grid (D, H, W) of two or more sorted single slices."""
    first = slices[0]
    across, down, _ = directions(first)
    start, end = (np.array(slices[i].ImagePositionPatient, dtype=float) for i in (0, -1))
    step = (end - start) / (len(slices) - 1)  # not the normal: a tilted gantry shifts the slices
    rows, columns = spacing_of(first) or (1.0, 1.0)
    matrix = _affine(start, [step, down * rows, across * columns])
    grid = Grid((len(slices), int(first.Rows), int(first.Columns)), affine=matrix)
    return grid if spacing_of(first) else grid.of_unknown_spacing()


def grid_of_file(data: Any) -> Grid:
    """Return the grid of one file, (H, W), or (D, H, W) for several frames."""
    frames = frames_of(data)
    size = (int(data.Rows), int(data.Columns))
    shape = size if frames == 1 else (frames, *size)
    spacing, gap = spacing_of(data), _gap(data)
    known = spacing is not None and (gap is not None or frames == 1)
    rows, columns = spacing or (1.0, 1.0)
    between = 1.0 if gap is None else gap
    if "ImagePositionPatient" in data and "ImageOrientationPatient" in data:
        across, down, normal = directions(data)
        in_plane = [down * rows, across * columns]
        steps = [*in_plane, normal] if frames == 1 else [normal * between, *in_plane]
        grid = Grid(shape, affine=_affine(np.array(data.ImagePositionPatient, dtype=float), steps))
    else:
        grid = Grid(shape, spacing_mm=(rows, columns) if frames == 1 else (abs(between), rows, columns))
    return grid if known else grid.of_unknown_spacing()


def frames_of(data: Any) -> int:
    """Return the number of frames of a file."""
    return int(data.get("NumberOfFrames") or 1)


def over_time(data: Any) -> bool:
    """Whether the frames of a file follow each other in time, not in space."""
    return frames_of(data) > 1 and data.get("FrameIncrementPointer") in TIMES


def spacing_source(data: Any) -> str:
    """Return the attribute that the spacing within a slice comes from; empty without one."""
    return next((name for name in SPACINGS if data.get(name)), "")


def spacing_of(data: Any) -> tuple[float, float] | None:
    """Return the distance between rows and between columns in mm; None if the file does not say it.

    The spacing at the detector is divided by the magnification, where the file estimates one.
    """
    name = spacing_source(data)
    if not name:
        return None
    rows, columns = (float(v) for v in data[name].value)
    factor = float(data.get("EstimatedRadiographicMagnificationFactor") or 1)
    shrink = factor if name == "ImagerPixelSpacing" and factor > 0 else 1.0
    return rows / shrink, columns / shrink


def directions(data: Any) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return unit vectors along a row, along a column, and normal to both, in LPS+."""
    cosines = np.array(data.ImageOrientationPatient, dtype=float)
    across, down = cosines[:3], cosines[3:]
    return across, down, np.cross(across, down)


def _gap(data: Any) -> float | None:
    """Return the distance between frames in mm; None if unknown, or if they follow each other in time."""
    if over_time(data):
        return None
    offsets = data.get("GridFrameOffsetVector")  # of a dose grid
    if offsets and len(offsets) > 1:
        gaps = np.diff(np.array(offsets, dtype=float))
        if np.ptp(gaps) > 0.01 * abs(gaps.mean()):
            raise InputError(
                f"expected evenly spaced frames; got gaps of {gaps.min():.3g} to {gaps.max():.3g} mm"
            )
        return float(gaps.mean())
    gap = float(data.get("SpacingBetweenSlices") or data.get("SliceThickness") or 0)
    return gap or None


def _affine(start: Any, steps: list[Any]) -> NDArray[np.float64]:
    """Return the RAS+ affine whose columns are the steps along (D, H, W); DICOM coordinates are LPS+."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack(steps, axis=1)
    matrix[:3, 3] = start
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix
