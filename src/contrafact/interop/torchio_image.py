"""Images and results as `ScalarImage` of TorchIO, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from contrafact.core import Grid, Image, InputError, UnsupportedError
from contrafact.interop.voxels import Shown, voxels_of

if TYPE_CHECKING:
    import torchio


def to_torchio(result: Shown, *, frame: int | None = None) -> torchio.ScalarImage:
    """Return an image, a heatmap or a frame of a counterfactual as a `torchio.ScalarImage`; needs the extra
    `contrafact[torchio]`.

    result  an `Image`, a `Heatmap`, or a `Counterfactual`
    frame   of a counterfactual, from 0; None: the changed image
    gives   float32 (C, *S) in the axes of the image, of a 2D image (C, H, W, 1); its affine is theirs. The
            image holds `contrafact` (heatmap, original or synthetic) and `contrafact_record`, JSON
    raises  InputError for something else, or a frame that is not there; UnsupportedError without TorchIO

    `read_image` has the slices of a volume first, TorchIO last; the affines say so, and
    `torchio.ToCanonical()` brings both to one order.
    """
    try:
        import torchio
    except ImportError as error:
        raise UnsupportedError("images of TorchIO need: pip install 'contrafact[torchio]'") from error
    found = voxels_of(result, frame)
    values = found.values if found.values.ndim == 4 else found.values[..., None]
    return torchio.ScalarImage(
        tensor=torch.from_numpy(np.array(values)), affine=np.array(found.grid.affine), **found.about
    )


def from_torchio(image: torchio.Image) -> Image:
    """Return an image of TorchIO as an `Image` on a grid with its affine; of one slice, (C, H, W), it is 2D.

    raises  InputError for something that is no image of TorchIO
    """
    data, affine = getattr(image, "data", None), getattr(image, "affine", None)
    if not isinstance(data, torch.Tensor) or affine is None or data.ndim != 4:
        kind = type(image).__name__
        raise InputError(f"expected an image of TorchIO; got {kind}; of a subject, give one image")
    values = data.detach().cpu().numpy()
    values = values[..., 0] if values.shape[-1] == 1 else values
    return Image(values, Grid(values.shape[1:], affine=affine))
