"""A region of an image on the grid at which a generator works."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from contrafact.core import InputError, Question


def region_on_canvas(question: Question, canvas: Tensor) -> Tensor | None:
    """The question's region (N, 1, *S) on the canvas: 1 where a pixel may change, since all that it covers may.

    raises  InputError where no pixel of the canvas lies wholly inside
    """
    if question.region is None:
        return None
    region = torch.as_tensor(question.region, dtype=torch.float32)[None, None]
    if tuple(region.shape[2:]) != tuple(canvas.shape[2:]):
        region = F.interpolate(region, canvas.shape[2:], mode="area")
    if not bool((region >= 1).any()):
        raise InputError(
            "the region covers no whole pixel of the size at which the bundle works, "
            f"{' x '.join(map(str, canvas.shape[2:]))}: choose a larger one"
        )
    return (region >= 1).to(canvas).expand(len(canvas), *region.shape[1:])
