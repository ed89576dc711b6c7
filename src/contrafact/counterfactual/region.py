"""The region of interest of a question, resampled to the size of the generator's images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from contrafact.core import InputError, Question


def region_on_canvas(question: Question, canvas: Tensor) -> Tensor | None:
    """Return the region (N, 1, *S) at the size of the canvas, or None where the question has no region.

    A pixel of the canvas is 1 where all of the image that it covers lies inside the region, else 0.
    raises  InputError when no pixel of the canvas lies entirely inside the region
    """
    if question.region is None:
        return None
    region = torch.as_tensor(question.region, dtype=torch.float32)[None, None]
    if tuple(region.shape[2:]) != tuple(canvas.shape[2:]):
        region = F.interpolate(region, canvas.shape[2:], mode="area")
    if not bool((region >= 1).any()):
        raise InputError(
            "expected a region that covers a whole pixel at the bundle's image size, "
            f"{' x '.join(map(str, canvas.shape[2:]))}; got a smaller one; choose a larger region"
        )
    return (region >= 1).to(canvas).expand(len(canvas), *region.shape[1:])
