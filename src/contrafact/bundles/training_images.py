"""The images of a cohort as a generator is trained on them: at its size, in its window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from contrafact.core import Image, InputError, nearest
from contrafact.io import Case, Cohort
from contrafact.models import resize

CROPS = ("squeeze", "center")
EIGHT_BIT = (0.0, 255.0)
LEAST_SPAN = 0.05  # of the window that the values of a cohort must cover


@dataclass(slots=True)
class _Seen:
    """Pixels so far, how many of them leave the window, and the range of values."""

    pixels: int = 0
    outside: int = 0
    low: float = math.inf
    high: float = -math.inf
    uneven: int = 0

    def add(self, image: Image, window: tuple[float, float]) -> None:
        values = image.values
        self.pixels += values.size
        self.outside += int(((values < window[0]) | (values > window[1])).sum())
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        self.uneven += len(set(image.grid.shape)) > 1


def read_training_images(
    cohort: Cohort, size: Any, *, window: tuple[float, float], crop: str = "squeeze"
) -> tuple[Tensor, list[str]]:
    """Every image (or volume) of a cohort at a generator's size, and what is to be said of them.

    size    the generator's: channels, resolution, and axes where it has any
    window  (low, high) image units that become -1 and 1; values outside are clipped
    crop    what becomes of sides of different lengths: "squeeze" (they are scaled to the same length, which
            changes shapes) or "center" (the middle square, or cube, is cut out)
    gives   (N, C, *S): uint8 (0 to 255) for 8-bit files, else float32 in [-1, 1]; sentences
    raises  InputError for images of other axes or channels, smaller ones, and a window that most pixels leave:
            90 %, and of the window of 8-bit images 1 %, or of which they cover less than 5 %
    """
    if crop not in CROPS:
        raise InputError(f"crop must be one of {', '.join(CROPS)}; got '{crop}'{nearest(crop, CROPS)}")
    seen, parts, whole = _Seen(), [], True
    for case in cohort:
        image = _checked(case, size)
        seen.add(image, window)
        # 8-bit scans with a scale hold other values than 0 to 255.
        whole &= image.about.get("dtype") == "uint8" and tuple(window) == EIGHT_BIT
        whole = whole and bool((image.values == image.values.round()).all())
        parts.append(_scaled(image, size, window, crop))
        if whole:
            parts[-1] = (parts[-1] * 255).round().byte()
    _check_window(seen, window)
    said = []
    if seen.uneven:
        cut = (
            "cut to the middle" if crop == "center" else 'squeezed, which changes shapes (crop = "center" cuts)'
        )
        said.append(f"{seen.uneven} of {len(parts)} images have sides of different lengths: {cut}")
    if whole:
        return torch.cat(parts), said
    return torch.cat([p.float() / 255 if p.dtype == torch.uint8 else p for p in parts]) * 2 - 1, said


def _checked(case: Case, size: Any) -> Image:
    image, axes = case.read(), getattr(size, "axes", 2)
    if len(image.grid.shape) != axes or image.channels not in (1, size.channels):
        raise InputError(
            f"expected {axes}D images of {size.channels} channel(s); got {image.values.shape} in "
            f"'{case.path.name}'"
        )
    if min(image.grid.shape) < size.resolution:
        raise InputError(
            f"images must be at least {size.resolution} pixels a side; got {image.grid.shape} in "
            f"'{case.path.name}'"
        )
    return image


def _scaled(image: Image, size: Any, window: tuple[float, float], crop: str) -> Tensor:
    """(1, C, *S) from 0 to 1."""
    axes, (low, high) = len(image.grid.shape), window
    values = torch.from_numpy(image.values)
    if crop == "center":
        values = values[(slice(None), *middle(image.grid.shape))]
    values = values[None].expand(-1, size.channels, *(-1,) * axes)
    return ((resize(values, (size.resolution,) * axes) - low) / (high - low)).clamp(0, 1)


def middle(shape: Sequence[int]) -> tuple[slice, ...]:
    """The middle square (or cube) of an image, as long as its shortest side."""
    side = min(shape)
    return tuple(slice((n - side) // 2, (n - side) // 2 + side) for n in shape)


def _check_window(seen: _Seen, window: tuple[float, float]) -> None:
    share = seen.outside / max(1, seen.pixels)
    write = f"write window = [{seen.low:g}, {seen.high:g}] under [data]"
    if share > (0.01 if tuple(window) == EIGHT_BIT else 0.9):
        raise InputError(
            f"{share:.0%} of the pixels lie outside the window {window[0]:g} to {window[1]:g} and would be "
            f"clipped; the images hold {seen.low:g} to {seen.high:g}: {write}"
        )
    span = (min(seen.high, window[1]) - max(seen.low, window[0])) / (window[1] - window[0])
    if seen.pixels and seen.high > seen.low and span < LEAST_SPAN:
        raise InputError(
            f"the images hold {seen.low:g} to {seen.high:g}, {max(span, 0):.1%} of the window {window[0]:g} to "
            f"{window[1]:g}, and would all look the same: {write}"
        )
