"""The training images of a generator: a cohort resized to its size, within its window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from contrafact.bundles.growing_images import GrowingImages
from contrafact.core import Image, InputError, nearest
from contrafact.generators.family import axes_of
from contrafact.io import Case, Cohort
from contrafact.models import resize

CROPS = ("squeeze", "center")
EIGHT_BIT = (0.0, 255.0)
LEAST_SPAN = 0.05  # least share of the window that the values of a cohort must cover


@dataclass(slots=True)
class _CohortSummary:
    """Counts of pixels, of pixels outside the window and of images that are not square; range of values."""

    pixels: int = 0
    outside: int = 0
    low: float = math.inf
    high: float = -math.inf
    uneven: int = 0

    def add(self, image: Image, window: tuple[float, float]) -> None:
        """Include one image."""
        values = image.values
        self.pixels += values.size
        self.outside += int(((values < window[0]) | (values > window[1])).sum())
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        self.uneven += len(set(image.grid.shape)) > 1


def read_training_images(
    cohort: Cohort,
    size: Any,
    *,
    window: tuple[float, float],
    crop: str = "squeeze",
    folder: Path | None = None,
) -> tuple[Tensor, list[str]]:
    """Return all images (or volumes) of a cohort at a generator's size, and remarks on them.

    size    the generator's configuration: channels, resolution, and axes where it has any
    window  (low, high) in image units, which become -1 and 1; values outside are clipped
    crop    treatment of images that are not square: "squeeze" (resized to a square or cube, which changes
            shapes) or "center" (cropped to the central square or cube)
    folder  where images beyond 256 MiB lie, in a file that is gone with the process; None: all in memory
    gives   (N, C, *S): uint8 (0 to 255) for 8-bit files, else float32 in [-1, 1]; sentences
    raises  InputError for images of other dimensions or channels, images that are too small, and a window that
            does not fit: more than 90 % of the pixels lie outside (1 % for the window of 8-bit images), or the
            values cover less than 5 % of it
    """
    if crop not in CROPS:
        raise InputError(f"crop must be one of {', '.join(CROPS)}; got '{crop}'{nearest(crop, CROPS)}")
    summary, found, eight_bit = _CohortSummary(), GrowingImages(folder), True
    for case in cohort:
        image = _checked(case, size)
        summary.add(image, window)
        # 8-bit files with a rescale slope have other values than 0 to 255.
        eight_bit &= image.about.get("dtype") == "uint8" and tuple(window) == EIGHT_BIT
        eight_bit = eight_bit and bool((image.values == image.values.round()).all())
        found.add(_scaled(image, size, window, crop), eight_bit=eight_bit)
    _check_window(summary, window)
    remarks = []
    if summary.uneven:
        treatment = (
            "cropped to the centre"
            if crop == "center"
            else 'squeezed, which changes shapes (crop = "center" crops them)'
        )
        remarks.append(f"{summary.uneven} of {found.count} images have sides of different lengths: {treatment}")
    return found.whole(), remarks


def _checked(case: Case, size: Any) -> Image:
    """Return the image of a case. Raise InputError for other dimensions or channels, or a small image."""
    image, axes = case.read(), axes_of(size)
    if len(image.grid.shape) != axes or image.channels not in (1, size.channels):
        raise InputError(
            f"expected {axes}D images of {size.channels} channel(s); got {image.values.shape} in "
            f"'{case.path.name}'"
        )
    if min(image.grid.shape) < size.resolution:
        raise InputError(
            f"images must be at least {size.resolution} pixels per side; got {image.grid.shape} in "
            f"'{case.path.name}'"
        )
    return image


def _scaled(image: Image, size: Any, window: tuple[float, float], crop: str) -> Tensor:
    """Return an image (1, C, *S) at the generator's size, rescaled from the window to [0, 1]."""
    axes, (low, high) = len(image.grid.shape), window
    values = torch.from_numpy(image.values)
    if crop == "center":
        values = values[(slice(None), *middle(image.grid.shape))]
    values = values[None].expand(-1, size.channels, *(-1,) * axes)
    return ((resize(values, (size.resolution,) * axes) - low) / (high - low)).clamp(0, 1)


def middle(shape: Sequence[int]) -> tuple[slice, ...]:
    """Return the slices of the central square (or cube) of an image, with the length of its shortest side."""
    side = min(shape)
    return tuple(slice((n - side) // 2, (n - side) // 2 + side) for n in shape)


def _check_window(summary: _CohortSummary, window: tuple[float, float]) -> None:
    """Raise InputError where too many pixels lie outside the window, or the values cover too little of it."""
    share = summary.outside / max(1, summary.pixels)
    advice = f"write window = [{summary.low:g}, {summary.high:g}] under [data]"
    if share > (0.01 if tuple(window) == EIGHT_BIT else 0.9):
        raise InputError(
            f"{share:.0%} of the pixels lie outside the window {window[0]:g} to {window[1]:g} and would be "
            f"clipped; the images have values from {summary.low:g} to {summary.high:g}: {advice}"
        )
    span = (min(summary.high, window[1]) - max(summary.low, window[0])) / (window[1] - window[0])
    if summary.pixels and summary.high > summary.low and span < LEAST_SPAN:
        raise InputError(
            f"the images have values from {summary.low:g} to {summary.high:g}, {max(span, 0):.1%} of the "
            f"window {window[0]:g} to {window[1]:g}, and would lose almost all contrast: {advice}"
        )
