"""A picture of cases with their masks beside maps, one case a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion

from contrafact.core import Image
from experiments.evaluate.picture_sheet import sheet


class Masked(Protocol):
    """An image (1, *S) with the mask (*S) of what was marked in it."""

    @property
    def image(self) -> Image: ...
    @property
    def truth(self) -> NDArray[np.bool_]: ...


def wall(cases: Sequence[Masked], maps: Mapping[str, NDArray[Any]], path: Path, count: int = 8) -> None:
    """The first cases, one a row: the image, it with the outline of the mask, then each of `maps` (N, *S), by
    name, with it. Of volumes the slice with the largest part of the mask."""
    slices = [case.truth.sum(axis=(1, 2)).argmax() if case.truth.ndim == 3 else ... for case in cases[:count]]
    truths = [case.truth[where] for case, where in zip(cases, slices, strict=False)]
    scale = 4 if cases[0].truth.ndim == 3 else 2
    images = [grey(case.image.values[0][where], scale) for case, where in zip(cases, slices, strict=False)]
    columns = [images, [outlined(one, truth, scale) for one, truth in zip(images, truths, strict=True)]]
    for several in maps.values():
        column = []
        for one, where, truth in zip(several, slices, truths, strict=False):
            limit = np.percentile(np.abs(one), 99.5) or 1.0
            column.append(outlined(grey(np.clip(one[where] / limit, 0, 1) * 255, scale), truth, scale))
        columns.append(column)
    sheet({"": list(zip(*columns, strict=True))}, ["image", "what the readers marked", *maps], path)


def grey(values: NDArray[Any], scale: int) -> NDArray[np.uint8]:
    """Grey values (H, W) as an enlarged picture."""
    enlarged = np.kron(np.clip(values, 0, 255).astype(np.uint8), np.ones((scale, scale), np.uint8))
    return np.repeat(enlarged[..., None], 3, axis=2)


def outlined(picture: NDArray[np.uint8], mask: NDArray[np.bool_], scale: int) -> NDArray[np.uint8]:
    """A picture with the outline of a mask in orange."""
    wide = np.kron(mask, np.ones((scale, scale))).astype(bool)
    picture = picture.copy()
    picture[binary_dilation(wide) & ~binary_erosion(wide, iterations=1) & ~wide] = (255, 160, 0)
    return picture
