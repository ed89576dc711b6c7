"""Read TIFF with all bits, axes and pages as it declares them."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Image, InputError, UnsupportedError
from contrafact.core.limits import check_size, largest_image
from contrafact.core.reading import one_line, reading
from contrafact.io.pictures import ORIENTATION, one_if_equal, opened, picture_image, upright

PLAIN = ("MINISBLACK", "MINISWHITE", "RGB")  # what tifffile reads as it stands; Pillow converts the others
DEPTH = "ZIQT"  # axes of pages: slices, images, other sequences, time
ALPHA = (1, 2)  # extra samples that are transparency
DEFLATE = (8, 32946)  # numbers of the compression
DIRECTORY = 18  # bytes of a page's directory, at least
EXPANSION = 1032  # of deflate, at most


def read_tiff(path: Path, spacing_mm: Sequence[float] | None) -> Image:
    """Read a picture (C, H, W), or pages of one size as a volume (C, D, H, W); channels as the file declares.

    raises  InputError, and UnsupportedError for a compression that no installed library reads
    """
    import tifffile

    with reading(path, "a readable picture"), tifffile.TiffFile(path, _multifile=False) as file:
        most = path.stat().st_size // DIRECTORY
        if sum(1 for _ in itertools.islice(file.pages, most + 1)) > most:
            raise InputError(f"'{path.name}' is not a readable picture: its pages run in a circle")
        if len(file.series) != 1:
            raise InputError(f"'{path.name}' holds pages of different sizes (a pyramid?); give one page")
        series, page = file.series[0], file.series[0].keyframe
        names = dict(zip(series.axes, series.shape, strict=True))
        check_size(path, series.shape, page=False)
        check_size(path, (names["Y"], names["X"]), page=True)
        about: dict[str, Any] = {"format": "tiff", "mode": str(getattr(page.photometric, "name", ""))}
        about |= {"levels_left_out": len(series.levels) - 1} if len(series.levels) > 1 else {}
        array = _by_tifffile(path, file, series, page, about)
        if array is None:
            array = _by_pillow(path, page, about)
    top = float(2**page.bitspersample - 1) if array.dtype.kind == "u" and page.bitspersample < 32 else None
    return picture_image(one_if_equal(array, about), path, spacing_mm, about, top=top)


def _by_tifffile(path: Path, file: Any, series: Any, page: Any, about: dict[str, Any]) -> NDArray[Any] | None:
    """Return the array (C, *S); None where tifffile lacks the compression, or the colours need Pillow."""
    if about["mode"] not in PLAIN:
        return None
    _check_expansion(path, file, page)
    try:
        array = series.asarray()
    except (ValueError, ModuleNotFoundError) as error:  # the latter: a codec of a later Python
        if isinstance(error, ValueError) and "imagecodecs" not in str(error):
            raise
        return None
    array = _channels_first(array, series.axes, path, about)
    if about["mode"] == "MINISWHITE":
        array = _bright(array, int(page.bitspersample), path)
        about["inverted"] = True
    array = _without_alpha(array, page, about)
    orientation = int(page.tags.valueof(ORIENTATION, default=1))
    if 2 <= orientation <= 8:
        about["orientation"] = orientation
    return upright(array, orientation)


def _check_expansion(path: Path, file: Any, page: Any) -> None:
    """Refuse compressed parts that unpack to more than they declare: tifffile unpacks each as a whole."""
    if page.compression not in DEFLATE:
        return
    most = 4 * largest_image()
    for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True):
        if size * EXPANSION > most:
            file.filehandle.seek(offset)
            if len(zlib.decompressobj().decompress(file.filehandle.read(size), most)) >= most:
                raise InputError(f"'{path.name}' unpacks to more than it declares; save it anew")


def _channels_first(array: NDArray[Any], axes: str, path: Path, about: dict[str, Any]) -> NDArray[Any]:
    keep = [i for i, name in enumerate(axes) if array.shape[i] > 1 or name in "YX"]
    names = "".join(axes[i] for i in keep)
    array = array.reshape([array.shape[i] for i in keep])
    channels, depth = [n for n in names if n in "CS"], [n for n in names if n in DEPTH]
    if len(channels) > 1 or len(depth) > 1 or len(names) != 2 + len(channels) + len(depth):
        raise InputError(
            f"'{path.name}' has the axes {names} {array.shape}; expected Y and X, and at most one of channels "
            "and one of pages: save the part to explain"
        )
    if depth == ["T"]:
        about["frames"] = "time"
    array = np.transpose(array, [names.index(n) for n in [*channels, *depth, "Y", "X"]])
    return array if channels else array[None]


def _bright(array: NDArray[Any], bits: int, path: Path) -> NDArray[Any]:
    """Return values inverted in the range that the file declares (0 is white)."""
    if array.dtype.kind == "b":
        return ~array
    if array.dtype.kind != "u":
        raise InputError(
            f"'{path.name}' declares that 0 is white in {array.dtype}, which has no greatest value"
        )
    return np.asarray(array.dtype.type(2**bits - 1) - array)


def _without_alpha(array: NDArray[Any], page: Any, about: dict[str, Any]) -> NDArray[Any]:
    extra = tuple(int(value) for value in page.extrasamples or ())
    colours = 3 if about["mode"] == "RGB" else page.samplesperpixel - sum(e in ALPHA for e in extra)
    if page.samplesperpixel > colours and len(array) == page.samplesperpixel:
        about["left_out"] = "transparency"
        return array[:colours]
    return array


def _by_pillow(path: Path, page: Any, about: dict[str, Any]) -> NDArray[Any]:
    """Return the array (C, *S) by Pillow, which has other compressions and converts palettes and colours."""
    from PIL import ImageSequence

    if page.bitspersample > 8 and page.samplesperpixel > 1:
        raise _lacking(path, page, f"{page.samplesperpixel} channels of {page.bitspersample} bits")
    try:
        with opened(path, ("TIFF",)) as picture:
            turned = picture.getexif().get(ORIENTATION, 1) != 1
            mode = picture.mode
            convert = mode not in ("1", "L", "I", "F", "RGB") and not mode.startswith("I;16")
            pages = [np.array(p.convert("RGB") if convert else p) for p in ImageSequence.Iterator(picture)]
    except OSError as error:
        if "decoder" in str(error) or "identify" in str(error):
            raise _lacking(path, page, one_line(error)) from error
        raise
    about |= {"converted_to": "RGB"} if convert else {}
    about |= {"orientation": "applied"} if turned else {}
    about |= {"inverted": True} if about["mode"] == "MINISWHITE" else {}
    array = pages[0] if len(pages) == 1 else np.stack(pages)
    return np.moveaxis(array, -1, 0) if pages[0].ndim == 3 else array[None]


def _lacking(path: Path, page: Any, detail: str) -> UnsupportedError:
    import tifffile

    name = tifffile.COMPRESSION(page.compression).name
    return UnsupportedError(
        f"'{path.name}' is compressed with {name} ({detail}), which no installed library "
        "reads in full: pip install 'contrafact[files]', or save it without compression"
    )
