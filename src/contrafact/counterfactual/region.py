"""The region of interest of a question, resampled to the size of the generator's images."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from contrafact.core import ContrafactError, Counterfactual, InputError, Question


def region_on_canvas(question: Question, canvas: Tensor) -> Tensor | None:
    """Return the region (N, 1, *S) at the size of the canvas, or None where the question has no region.

    A pixel of the canvas is 1 where all of the image that it covers lies inside the region, else 0.
    raises  InputError when no pixel of the canvas lies entirely inside the region
    """
    if question.region is None:
        return None
    region = _resampled(question.region, tuple(canvas.shape[2:]))
    if not bool(region.any()):
        raise InputError(
            "expected a region that covers a whole pixel at the bundle's image size, "
            f"{' x '.join(map(str, canvas.shape[2:]))}; got a smaller one; choose a larger region"
        )
    return region.to(canvas).expand(len(canvas), *region.shape[1:])


def check_unchanged(result: Counterfactual, region: NDArray[np.bool_]) -> None:
    """Raise ContrafactError where a frame of a counterfactual differs from the original outside the region (*S)
    by anything."""
    moved = (result.frames != result.frames[result.origin]).any(axis=(0, 1))
    outside = int((moved & ~_resampled(region, moved.shape)[0, 0].numpy()).sum())
    if outside:
        method = result.record.method if result.record else "the method"
        raise ContrafactError(f"expected no change outside the region; {method} changed {outside} pixels there")


def _resampled(region: NDArray[np.bool_], size: tuple[int, ...]) -> Tensor:
    """Return a region, bool (1, 1, *size): the pixels that lie entirely inside it."""
    values = torch.as_tensor(region, dtype=torch.float32)[None, None]
    if tuple(values.shape[2:]) != size:
        values = F.interpolate(values, size, mode="area")
    return values >= 1
