"""Convert arrays, tensors and pictures in memory to `Image`, with strict rules about their axes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image as Picture

from contrafact.core import Grid, Image, InputError
from contrafact.io.images import read_image


class TensorLike(Protocol):
    """A tensor, of torch or of a library with the same methods."""

    @property
    def shape(self) -> Sequence[int]:
        """Size of each axis."""

    def detach(self) -> Any:
        """Return the same values without a graph."""


ArrayLike: TypeAlias = NDArray[np.generic] | TensorLike
OneImage: TypeAlias = Image | str | Path | Picture
ImageLike: TypeAlias = OneImage | ArrayLike
CHANNELS = 4  # at most; a longer first axis is spatial


def as_image(source: Any, *, grid: Grid | None = None) -> Image:
    """Return one image from an `Image`, a path, a PIL picture, or an array or tensor.

    source  an array is (H, W), (C, H, W) or (C, D, H, W)
    grid    of an array; default: unknown spacing
    raises  InputError for a batch, more than 4 channels (channels come first), or another type
    """
    images = as_images(source, grid=grid)
    if len(images) != 1 or isinstance(source, (list, tuple)):
        raise InputError(f"expected one image; got {len(images)}")
    return images[0]


def as_images(source: Any, *, grid: Grid | None = None) -> list[Image]:
    """Return the images of a list, of a batch (N, C, H, W) or (N, C, D, H, W), or one image as `as_image` does.

    An array with four axes is a batch of 2D images if its second axis is at most 4 long, else a volume if its
    first is.
    """
    if isinstance(source, Image):
        return [source]
    if isinstance(source, (str, Path)):
        return [read_image(source)]
    if isinstance(source, (list, tuple)):
        return [as_image(item, grid=grid) for item in source]
    array = _array(source)
    return [_image(item, grid) for item in _split(array)]


def is_batch(source: Any) -> bool:
    """Whether the argument holds several images: a list, or an array with a batch axis."""
    if isinstance(source, (list, tuple)):
        return True
    return not isinstance(source, (Image, str, Path)) and _batched(_array(source).shape)


def _array(source: Any) -> NDArray[Any]:
    if type(source).__module__.partition(".")[0] == "PIL":
        picture = source.convert("RGB") if source.mode in ("P", "CMYK") else source
        array = np.array(picture)
        if array.ndim == 3:
            array = np.moveaxis(array, -1, 0)
            array = array[:1] if len(array) == 2 else array[:3]  # transparency is not anatomy
            grey = source.mode == "P" and all(np.array_equal(array[0], other) for other in array[1:])
            array = array[:1] if grey else array  # a palette has no channels of its own
    else:
        array = np.asarray(source.detach().cpu() if hasattr(source, "detach") else source)
    if array.dtype.kind not in "buif":
        raise InputError(
            "expected an Image, a path, an array or tensor of numbers, a PIL picture, or a list of these; got "
            f"{type(source).__name__}"
        )
    return array


def _batched(shape: tuple[int, ...]) -> bool:
    return len(shape) == 5 or (len(shape) == 4 and shape[1] <= CHANNELS)


def _split(array: NDArray[Any]) -> list[NDArray[Any]]:
    """Split an array into images (C, *S); raise InputError for unclear axes."""
    shape = array.shape
    if len(shape) == 2:
        return [array[None]]
    channels = shape[1:2] if _batched(shape) else shape[:1]
    if len(shape) in (3, 4, 5) and channels[0] <= CHANNELS and 0 not in shape:
        return list(array) if _batched(shape) else [array]
    last = len(shape) == 3 and shape[2] <= CHANNELS
    hint = "move the channels to the front" if last else "a volume is (C, D, H, W): write array[None]"
    raise InputError(
        f"expected (H, W), (C, H, W), (C, D, H, W), or a batch of the last two, with up to {CHANNELS} "
        f"channels; got {shape}: {hint}"
    )


def _image(array: NDArray[Any], grid: Grid | None) -> Image:
    window: Any = None
    if array.dtype.kind in "ub":
        window = (0.0, float(np.iinfo(array.dtype).max) if array.dtype.kind == "u" else 1.0)
    own_grid = grid if grid is not None and grid.shape == array.shape[1:] else None
    return Image(array.astype(np.float32), own_grid, window, about={"dtype": str(array.dtype)})  # type: ignore[arg-type]
