"""Images and results as `MetaTensor` of MONAI, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from contrafact.core import Grid, Image, InputError
from contrafact.interop.voxels import Shown, voxels_of

if TYPE_CHECKING:
    from monai.data.meta_tensor import MetaTensor


def to_metatensor(result: Shown, *, frame: int | None = None) -> MetaTensor:
    """Return an image, a heatmap or a frame of a counterfactual as a `monai.data.MetaTensor`.

    result  an `Image`, a `Heatmap`, or a `Counterfactual`
    frame   of a counterfactual, from 0; None: the changed image
    gives   float32 (C, *S) in the axes of the image; its affine is theirs (RAS+ mm). `meta` holds
            `contrafact` (heatmap, original or synthetic) and `contrafact_record`, JSON
    raises  InputError for something else, or a frame that is not there

    `read_image` has the slices of a volume first, `monai.transforms.LoadImage` last; the affines say so, and
    `monai.transforms.Orientation("RAS")` brings both to one order.
    """
    from monai.data.meta_tensor import MetaTensor

    found = voxels_of(result, frame)
    affine = torch.as_tensor(np.array(found.grid.affine))
    count = len(found.grid.shape)
    return MetaTensor(
        torch.from_numpy(np.array(found.values)), affine=affine, meta=dict(found.about), spatial_ndim=count
    )


def from_metatensor(tensor: MetaTensor) -> Image:
    """Return a `MetaTensor` (C, *S) as an `Image` on a grid with its affine.

    raises  InputError for a batch, a tensor without an affine, or coordinates that are not RAS+
    """
    affine: Any = getattr(tensor, "affine", None)
    if affine is None:
        kind = type(tensor).__name__
        raise InputError(f"expected a MetaTensor; got {kind}; `explain` takes arrays as they are")
    if affine.ndim != 2 or tensor.ndim not in (3, 4):
        raise InputError(f"expected one image (C, *S); got {tuple(tensor.shape)}; give the images one by one")
    space = str(tensor.meta.get("space", "RAS"))
    if space != "RAS":
        raise InputError(f"expected coordinates in RAS; got {space}; load it with affine_lps_to_ras=False")
    values = tensor.as_tensor().detach().cpu().numpy()
    return Image(values, Grid(values.shape[1:], affine=_four(affine.detach().cpu().numpy())))


def _four(affine: Any) -> Any:
    """Return a 4 x 4 affine; MONAI's of two axes may be 3 x 3."""
    if affine.shape == (4, 4):
        return affine
    whole = np.eye(4)
    whole[:2, :2], whole[:2, 3] = affine[:2, :2], affine[:2, 2]
    return whole
