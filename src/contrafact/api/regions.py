"""Where an explanation may look, or change the image: inside a region, outside what must be kept."""

from __future__ import annotations

import dataclasses

import numpy as np

from contrafact.core import Image, InputError
from contrafact.core.masks import is_label_map, mask_of


def without(region: Image | None, keep: Image | None) -> Image | None:
    """Return the region (None: everywhere) without the voxels to keep, as a mask on the grid of `keep`.

    region  a mask, or a label map of which the target's class will be used
    keep    a mask of 0 and 1 (or 255); None: nothing
    raises  InputError for a label map as `keep`, for masks on different grids, or where nothing is left
    """
    if keep is None:
        return region
    if keep.channels != 1:
        raise InputError(f"expected a mask of one channel to keep; got {keep.channels}")
    kept = mask_of(keep.values[0], label=None, label_map=keep.label_map)
    if region is None:
        values, labels = ~kept[None], False
    else:
        if region.grid != keep.grid:
            raise InputError("the region and the mask to keep are on different grids; resample one of them")
        labels = region.label_map or is_label_map(region.values)
        values = np.where(kept[None], 0, region.values)
    if not np.any(values):
        raise InputError("expected a mask to keep that leaves a part of the region; got one that covers it all")
    return dataclasses.replace(keep, values=values.astype(np.float32), label_map=labels)
