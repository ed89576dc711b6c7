"""Read MetaImage (.mha, .mhd) and NRRD through SimpleITK, after their text headers were checked."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Grid, Image, InputError, UnsupportedError, inside, is_there
from contrafact.core.library_output import unprinted
from contrafact.core.limits import check_size
from contrafact.core.reading import one_line, reading
from contrafact.io.checksums import check_packed
from contrafact.io.pictures import as_float32

READERS = {".mha": "MetaImageIO", ".mhd": "MetaImageIO", ".nrrd": "NrrdImageIO", ".nhdr": "NrrdImageIO"}
HEADER = 2**16  # bytes, at most
LINE = 2**12  # of a line of the header, at most
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
NUMERIC = re.compile(r"[-+.\d]")
NUMBERS = 16  # of a field of the header, at most: a matrix of four axes
LARGEST_TYPE = 8  # bytes of a number, at most
REASON = re.compile(r"(?:\[nrrd\] \w+: |ITK ERROR: .*\): |sitk::ERROR: )(.*\S)")  # in an error of several lines
PRINTED = re.compile(  # by SimpleITK and by MetaIO in it
    r"Meta\w+: |MET_\w+: |\w+ required and not defined|\w+ defined prior to|Skipping unrecognized"
    r"|Uncompress failed|ideal = |(?:WARNING|ERROR): In |\w+ \(0x|\[nrrd\]|sitk::"
)
AXES = ("1", "2", "3", "4", "5")
DATA_FILES = ("elementdatafile", "data file", "datafile")
SPACINGS = ("elementspacing", "elementsize", "spacings", "space directions")
MM = {"mm": 1.0, "millimeter": 1.0, "m": 1000.0, "cm": 10.0, "um": 0.001, "µm": 0.001, "micron": 0.001}


def read_itk(path: Path) -> Image:
    """Read an image (C, H, W) or (C, D, H, W) on its grid in mm.

    raises  InputError, also for a header whose values lie in a file outside its folder; UnsupportedError
            without SimpleITK
    """
    try:
        import SimpleITK as sitk  # noqa: N813  the name its own documentation uses
    except ImportError as error:
        raise UnsupportedError(f"reading '{path.name}' needs: pip install 'contrafact[files]'") from error
    header, start = _header(path)
    values = _data_file(path, header)
    with reading(path, "a readable image"), _reasons(path):
        reader = sitk.ImageFileReader()
        reader.SetImageIO(READERS[path.suffix.lower()])
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        channels, size = reader.GetNumberOfComponents(), reader.GetSize()
        check_size(path, (channels, *size))
        if len(size) not in (2, 3):
            raise InputError(f"'{path.name}' has {len(size)} axes, {size}; give one volume")
        if _is_packed(header):
            check_packed(values, start if values == path else 0, most=LARGEST_TYPE * channels * math.prod(size))
        image = reader.Execute()
        array = as_float32(np.asarray(sitk.GetArrayFromImage(image)), path)
    array = np.moveaxis(array, -1, 0) if channels > 1 else array[None]
    grid = Grid(array.shape[1:], affine=_affine(image, _unit(path, header)))
    known = any(name in header for name in SPACINGS)
    about = {"format": path.suffix.lower().lstrip("."), "dtype": image.GetPixelIDTypeAsString()}
    about |= {"space": header["space"]} if "space" in header else {}
    return Image(array, grid if known else grid.of_unknown_spacing(), source=str(path), about=about)


def _is_packed(header: dict[str, str]) -> bool:
    """Whether the values are packed as zlib or gzip, by the header of either format."""
    packed = header.get("compresseddata", "")[:1].lower() in ("t", "1")
    return packed or header.get("encoding", "").lower() in ("gzip", "gz")


@contextmanager
def _reasons(path: Path) -> Iterator[None]:
    """Raise InputError with the reason that the library gives where it fails: in the main thread, that which it
    prints; in another one, in which it prints on, that of its error."""
    lines: list[str] = []
    try:
        with unprinted(PRINTED) as lines:
            yield
    except RuntimeError as error:
        found = REASON.findall(str(error))
        why = lines[0].rpartition(": ")[2] if lines else found[-1] if found else str(error)
        raise InputError(f"'{path.name}' is not a readable image: {one_line(ValueError(why))}") from error


def _header(path: Path) -> tuple[dict[str, str], int]:
    """Return the fields of the text header, by their names in lower case, and where it ends."""
    with path.open("rb") as file:
        text = file.read(HEADER).decode("latin-1")
    fields: dict[str, str] = {}
    nrrd, end = path.suffix.lower() in (".nrrd", ".nhdr"), 0
    for line in text.split("\n"):
        end += len(line) + 1
        if len(line) > LINE or CONTROL.search(line):
            raise InputError(f"'{path.name}' has no readable header: a line of it is too long, or no text")
        if nrrd and not line.strip():
            break
        name, found, value = line.partition(":" if nrrd else "=")
        key = name.strip().lower()
        if found and not line.startswith("#"):
            if key in fields:
                raise InputError(f"'{path.name}' has the field '{name.strip()}' twice in its header")
            fields[key] = value.strip()
        if key == "elementdatafile":
            break
    _check_axes(path, fields, ("dimension", "sizes") if nrrd else ("ndims", "dimsize"))
    return fields, end


def _check_axes(path: Path, fields: dict[str, str], names: tuple[str, str]) -> None:
    """Raise InputError for a header whose numbers do not fit each other: SimpleITK would write them beyond the
    memory that it keeps for them."""
    count, sizes = (fields.get(name, "").split() for name in names)
    if len(count) != 1 or count[0] not in AXES or len(sizes) != int(count[0]):
        raise InputError(
            f"'{path.name}' must have {AXES[0]} to {AXES[-1]} axes, with a size for each; its header says "
            f"'{' '.join(count):.40}' and '{' '.join(sizes):.40}'"
        )
    if any(len(value.split()) > NUMBERS for value in fields.values() if NUMERIC.match(value)):
        raise InputError(f"'{path.name}' has a field with more than {NUMBERS} numbers in its header")


def _data_file(path: Path, header: dict[str, str]) -> Path:
    """Return the file of the values. Raise InputError for several, and for one outside the folder."""
    for key in DATA_FILES:
        name = header.get(key, "LOCAL")
        if name == "LOCAL":
            continue
        if name.split()[0].upper() == "LIST" or "%" in name:
            raise InputError(f"'{path.name}' names several files of values; save it as one file")
        values = inside(path.parent, name, what=f"the values of '{path.name}'")
        if not is_there(values) or not values.is_file():
            raise InputError(f"expected the values of '{path.name}' in {name!a}, which is no file beside it")
        return values
    return path


def _unit(path: Path, header: dict[str, str]) -> float:
    """Return the millimetres of the unit that a NRRD file declares; without one, 1."""
    units = set(re.findall(r'"([^"]*)"', header.get("space units", ""))) or {"mm"}
    if len(units) > 1 or not units <= set(MM):
        raise InputError(f"'{path.name}' has the units {sorted(units)}; expected one of {', '.join(MM)}")
    return MM[units.pop()]


def _affine(image: Any, unit: float) -> NDArray[np.float64]:
    """Return the RAS+ affine whose columns are steps along (D, H, W), or (H, W) and the normal."""
    dimensions = image.GetDimension()
    directions = np.eye(3)
    directions[:dimensions, :dimensions] = np.reshape(image.GetDirection(), (dimensions, dimensions))
    steps = directions * np.array([*image.GetSpacing(), 1.0][:3])
    matrix = np.eye(4)
    matrix[:3, :3] = steps[:, [2, 1, 0]] if dimensions == 3 else steps[:, [1, 0, 2]]
    matrix[:3, 3] = [*image.GetOrigin(), 0.0][:3]
    return np.diag([-unit, -unit, unit, 1.0]) @ matrix
