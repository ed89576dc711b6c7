"""Read PNG, JPEG and BMP with all bits of the file, upright."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Grid, Image, InputError
from contrafact.core.limits import check_size
from contrafact.core.reading import reading
from contrafact.io.checksums import check_png

FORMATS = ("PNG", "JPEG", "BMP")
ORIENTATION = 274  # the tag of EXIF and of TIFF
# Bytes of 16-bit pixels, by the passes of an 8-bit decoder that together give them: the most significant bytes
# and the least significant (the decoder of the other byte order), or both in one pass.
WIDE = {
    "RGB;16B": ("RGB;16B", "RGB;16L"),
    "RGBA;16B": ("RGBA;16B", "RGBA;16L"),
    "LA;16B": ("RGBA",),
}
_unlimited = threading.Lock()


def read_picture(path: Path, spacing_mm: Sequence[float] | None) -> Image:
    """Read a picture; its resolution for print is not its spacing."""
    with reading(path, "a readable picture"):
        array, about = _decoded(path)
    return picture_image(one_if_equal(array, about), path, spacing_mm, about)


def picture_image(
    array: NDArray[Any],
    path: Path,
    spacing_mm: Sequence[float] | None,
    about: dict[str, Any],
    *,
    top: float | None = None,
) -> Image:
    """Return the image of an array (C, *S).

    top  the largest value that the file can hold; None: that of the type of the array
    """
    window: Any = None
    if array.dtype.kind in "ub":
        window = (0.0, top or (1.0 if array.dtype.kind == "b" else float(np.iinfo(array.dtype).max)))
    about |= {"dtype": str(array.dtype)}
    return Image(
        as_float32(array, path), Grid(array.shape[1:], spacing_mm=spacing_mm), window, str(path), about
    )


def one_if_equal(array: NDArray[Any], about: dict[str, Any]) -> NDArray[Any]:
    """Return one channel of a grey picture that is stored as colour."""
    if len(array) == 1 or not all(np.array_equal(array[0], channel) for channel in array[1:]):
        return array
    about["equal_channels"] = len(array)
    return array[:1]


def as_float32(array: NDArray[Any], path: Path) -> NDArray[np.float32]:
    """Return the array as float32; raise InputError for numbers that float32 cannot hold, and complex ones."""
    if array.dtype.kind not in "buif":
        raise InputError(f"'{path.name}' holds {array.dtype}; expected real numbers: give the magnitude, say")
    with np.errstate(over="ignore"):
        values = array.astype(np.float32)
    if array.dtype.itemsize > 4 and not np.isfinite(values).all() and np.isfinite(array).all():
        raise InputError(f"'{path.name}' holds numbers beyond float32 (3.4e38); rescale them")
    return values


def upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return the array (..., H, W) turned and mirrored as the orientation 1 to 8 of EXIF and TIFF says."""
    if orientation in (5, 6, 7, 8):
        array = np.swapaxes(array, -1, -2)
    if orientation in (2, 3, 6, 7):
        array = array[..., ::-1]
    return array[..., ::-1, :] if orientation in (3, 4, 7, 8) else array


@contextmanager
def opened(path: Path, formats: tuple[str, ...]) -> Iterator[Any]:
    """Open a picture with Pillow, of these formats only. `check_size` stands in the place of Pillow's limit."""
    from PIL import Image as Picture

    with _unlimited:
        before, Picture.MAX_IMAGE_PIXELS = Picture.MAX_IMAGE_PIXELS, None
        try:
            picture = Picture.open(path, formats=formats)
        finally:
            Picture.MAX_IMAGE_PIXELS = before
    with picture:
        check_size(path, (picture.height, picture.width), page=True)
        yield picture


def _decoded(path: Path) -> tuple[NDArray[Any], dict[str, Any]]:
    with opened(path, FORMATS) as picture:
        about: dict[str, Any] = {"format": str(picture.format).lower(), "mode": picture.mode}
        if picture.format == "PNG":
            check_png(path)
        frames = getattr(picture, "n_frames", 1)
        if frames > 1 and picture.format == "PNG":
            raise InputError(f"'{path.name}' is an animation of {frames} frames; give one frame")
        if frames > 1:
            about["pictures_left_out"] = frames - 1  # previews of a phone's picture
        layout = str(picture.tile[0].args) if picture.tile and isinstance(picture.tile[0].args, str) else ""
        orientation = int(picture.getexif().get(ORIENTATION, 1))
        wide = WIDE.get(layout) if picture.format == "PNG" else None
        array = _wide(path, wide) if wide else _narrow(picture, about)
    bits = layout.partition(";")[2]
    if picture.format == "PNG" and bits in ("2", "4") and picture.mode == "L":
        about["scaled_from_bits"] = int(bits)  # 0 to 3, or 15, became 0 to 255
    if wide:
        about["bits"] = 16
    return upright(array, _noted(orientation, about)), about


def _noted(orientation: int, about: dict[str, Any]) -> int:
    if 2 <= orientation <= 8:
        about["orientation"] = orientation
    return orientation


def _narrow(picture: Any, about: dict[str, Any]) -> NDArray[Any]:
    """Return pixels (C, H, W) of at most 8 bits, or of one channel; transparency is not anatomy."""
    if picture.mode in ("P", "CMYK"):
        about["converted_to"] = "RGB"
        picture = picture.convert("RGB")
    array = np.array(picture)
    if array.ndim == 2:
        return array[None]
    colours = {"LA": 1, "La": 1, "RGB": 3, "RGBA": 3, "RGBa": 3, "RGBX": 3}.get(picture.mode)
    if colours is None:
        raise InputError(f"expected a grey or RGB picture; got the colour space {picture.mode}: convert it")
    if array.shape[-1] > colours:
        about["left_out"] = "transparency"
    return np.moveaxis(array, -1, 0)[:colours]


def _wide(path: Path, layouts: Sequence[str]) -> NDArray[np.uint16]:
    """Return 16-bit pixels (C, H, W), of which Pillow alone keeps 8 bits."""
    passes: list[NDArray[np.uint16]] = []
    for layout in layouts:
        with opened(path, FORMATS) as picture:
            picture.tile = [tile._replace(args=layout) for tile in picture.tile]
            passes.append(np.array(picture).astype(np.uint16))
    if len(passes) == 1:  # grey and transparency, each of two bytes
        return np.asarray(passes[0][None, ..., 0] << 8 | passes[0][None, ..., 1], np.uint16)
    return np.moveaxis(np.asarray(passes[0] << 8 | passes[1], np.uint16), -1, 0)[:3]
