"""Read one DICOM file: plain, or enhanced, whose frames have a geometry and a rescale of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Grid, Image, InputError
from contrafact.core.reading import reading
from contrafact.io.dicom import (
    inverted,
    is_coloured,
    metadata,
    open_dicom,
    plain,
    range_of,
    values_of,
    window_of,
)
from contrafact.io.dicom_geometry import checked_slices, frames_of, grid_of_file, grid_of_slices

GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
# What the functional groups say of a frame, and a file with one frame says of itself.
MACROS: dict[str, tuple[str, ...]] = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth"),
}
OF_THE_FILE = (
    "Modality",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsStored",
    "PixelRepresentation",
)
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # and of label maps
CONCATENATION = ("InConcatenationTotalNumber", "ConcatenationFrameOffsetNumber")
RESCALES = ("RescaleSlope", "RescaleIntercept")


def read_dicom(path: Path) -> Image:
    """Read one file: (C, H, W), or (C, D, H, W) for several frames, in modality units (HU for CT)."""
    data = open_dicom(path)
    if is_enhanced(data):
        return _read_enhanced(data, path)
    values = values_of(data, path)
    with reading(path, "a readable DICOM file"):
        return image_of(values, [data], grid_of_file(data), metadata(data), path)


def is_enhanced(data: Any) -> bool:
    """Whether the geometry of a file is that of its frames, in functional groups."""
    return any(name in data for name in GROUPS) and "PixelSpacing" not in data


def frame_headers(data: Any, path: Path) -> list[Any]:
    """Return a header for each frame of an enhanced file, with the attributes of a file with one frame.

    raises  InputError for a segmentation, one part of a concatenation, and groups that are not one per frame
    """
    if str(data.get("SOPClassUID")) in SEGMENTATIONS:
        raise InputError(f"'{path.name}' is a segmentation, not an image; save it as NIfTI to use it as a mask")
    parts, before = (int(data.get(name) or 0) for name in CONCATENATION)
    if parts > 1 or before > 0:
        raise InputError(f"'{path.name}' is one part of a concatenation; join its parts to one file")
    shared, frames = (list(data.get(name) or ()) for name in GROUPS)
    if len(frames) != frames_of(data):
        raise InputError(
            f"'{path.name}' is an enhanced multi-frame file of {frames_of(data)} frames with functional groups "
            f"for {len(frames)}; expected one for each"
        )
    return [_frame_header(data, [frame, *shared]) for frame in frames]


def enhanced_grid(data: Any, path: Path) -> Grid:
    """Return the grid of an enhanced file, with its frames in the order of their positions."""
    return _placed(data, path)[2]


def image_of(
    values: NDArray[np.float32], headers: Sequence[Any], grid: Grid, about: dict[str, Any], source: Path
) -> Image:
    """Return the image of values in modality units, inverted as one where its headers say so."""
    window = window_of(headers[0])
    if inverted(headers[0]):
        ranges = [range_of(header) for header in headers]
        ends = min(low for low, _ in ranges) + max(high for _, high in ranges)
        values = ends - values
        window = window and (ends - window[1], ends - window[0])
    return Image(values, grid, window, source=str(source), about=about)  # type: ignore[arg-type]


def _read_enhanced(data: Any, path: Path) -> Image:
    with reading(path, "a readable DICOM file"):
        order, headers, grid = _placed(data, path)
    values = values_of(data, path)
    with reading(path, "a readable DICOM file"):
        if len(headers) > 1:
            values = values[:, order]
        values = values if is_coloured(data) else _rescaled(values, headers)
        about = metadata(data) | _shared_facts(headers)
        return image_of(values, headers, grid, about, path)


def _placed(data: Any, path: Path) -> tuple[list[int], list[Any], Grid]:
    """Return the order of the frames, their headers in this order, and their grid."""
    headers = frame_headers(data, path)
    _check_rescales(headers, path)
    if len(headers) == 1:
        return [0], headers, grid_of_file(headers[0])
    name = f"of '{path.name}'"
    slices = checked_slices(list(enumerate(headers)), path, lambda number: f"frame {number + 1} {name}")
    order, headers = [number for number, _ in slices], [header for _, header in slices]
    return order, headers, grid_of_slices(headers)


def _frame_header(data: Any, groups: Sequence[Any]) -> Any:
    """Return the attributes of a frame: its own group before the shared one; empty ones count as absent."""
    from pydicom import Dataset

    header = Dataset()
    for name in OF_THE_FILE:
        if name in data:
            header[name] = data[name]
    for macro, names in MACROS.items():
        items: Any = next((group[macro].value for group in groups if macro in group and group[macro].value), ())
        for name in names if items else ():
            if name in items[0] and not items[0][name].is_empty:
                header[name] = items[0][name]
    return header


def _check_rescales(headers: Sequence[Any], path: Path) -> None:
    """Raise InputError where a frame has one half of a rescale, or some frames have one and some have none."""
    for name in RESCALES:
        lacking = [number for number, header in enumerate(headers, start=1) if name not in header]
        if lacking and any(other in header for header in headers for other in RESCALES):
            raise InputError(
                f"frame {lacking[0]} of '{path.name}' has no {name} (absent, or emptied with the identity): "
                "its pixels cannot be read"
            )


def _rescaled(values: NDArray[np.float32], headers: Sequence[Any]) -> NDArray[np.float32]:
    """Return stored values (C, H, W) or (C, D, H, W) in modality units, each frame by its own rescale."""
    if "RescaleSlope" not in headers[0]:
        return values
    slopes, intercepts = (np.array([float(header[name].value) for header in headers]) for name in RESCALES)
    shape = (1, -1, 1, 1) if values.ndim == 4 else (1, 1, 1)
    return np.asarray(values * slopes.reshape(shape) + intercepts.reshape(shape), dtype=np.float32)


def _shared_facts(headers: Sequence[Any]) -> dict[str, Any]:
    """Return the facts of the frames that `metadata` tells of a file; `by frame` where they differ."""
    facts: dict[str, Any] = {"slices": len(headers)} if len(headers) > 1 else {}
    for name in (*RESCALES, "RescaleType", "WindowCenter", "WindowWidth"):
        values = [str(header.get(name)) for header in headers]
        if name in headers[0]:
            facts[name] = plain(headers[0][name].value) if len(set(values)) == 1 else "by frame"
    return facts
