"""Arrays, tensors and pictures in memory as an `Image`, by strict rules about their axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Grid, Image, InputError
from contrafact.io.images import read_image

CHANNELS = 4  # at most; a longer first axis is one of space


def as_image(thing: Any, *, grid: Grid | None = None) -> Image:
    """One image: an `Image`, a path, a PIL picture, an array or tensor (H, W), (C, H, W) or (C, D, H, W).

    grid    where the voxels of an array lie, which says nothing of it; default 1 mm spacing
    raises  InputError for a batch, more than 4 channels (channels come first), or another kind of thing
    """
    images = as_images(thing, grid=grid)
    if len(images) != 1 or isinstance(thing, (list, tuple)):
        raise InputError(f"expected one image; got {len(images)}")
    return images[0]


def as_images(thing: Any, *, grid: Grid | None = None) -> list[Image]:
    """Every image of a list, of a batch (N, C, H, W) or (N, C, D, H, W), or the one that `as_image` reads.

    Four axes are a batch of 2D images when the second has at most 4, else a volume when the first has.
    """
    if isinstance(thing, Image):
        return [thing]
    if isinstance(thing, (str, Path)):
        return [read_image(thing)]
    if isinstance(thing, (list, tuple)):
        return [as_image(one, grid=grid) for one in thing]
    array = _array(thing)
    return [_image(one, grid) for one in _split(array)]


def is_batch(thing: Any) -> bool:
    """Whether several results are wanted: for a list, and for an array with an axis of images."""
    if isinstance(thing, (list, tuple)):
        return True
    return not isinstance(thing, (Image, str, Path)) and _batched(_array(thing).shape)


def _array(thing: Any) -> NDArray[Any]:
    if type(thing).__module__.partition(".")[0] == "PIL":
        picture = thing.convert("RGB") if thing.mode in ("P", "CMYK") else thing
        array = np.array(picture)
        if array.ndim == 3:
            array = np.moveaxis(array, -1, 0)
            array = array[:1] if len(array) == 2 else array[:3]  # transparency is not anatomy
            grey = thing.mode == "P" and all(np.array_equal(array[0], other) for other in array[1:])
            array = array[:1] if grey else array  # a palette has no channels of its own
    else:
        array = np.asarray(thing.detach().cpu() if hasattr(thing, "detach") else thing)
    if array.dtype.kind not in "buif":
        raise InputError(
            "expected an Image, a path, an array or tensor of numbers, a PIL picture, or a list of these; got "
            f"{type(thing).__name__}"
        )
    return array


def _batched(shape: tuple[int, ...]) -> bool:
    return len(shape) == 5 or (len(shape) == 4 and shape[1] <= CHANNELS)


def _split(array: NDArray[Any]) -> list[NDArray[Any]]:
    """Arrays (C, *S)."""
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
    kept = grid if grid is not None and grid.shape == array.shape[1:] else None
    return Image(array.astype(np.float32), kept, window, about={"dtype": str(array.dtype)})  # type: ignore[arg-type]
