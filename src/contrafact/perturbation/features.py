"""Group voxels into features: hiding a supervoxel is more informative and cheaper than hiding one voxel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from contrafact.core import InputError, nearest

KINDS = ("grid", "slic")


def feature_labels(image: NDArray[np.float32], kind: str, count: int) -> NDArray[np.int64]:
    """Return feature labels (*S), starting at 0, of an image (C, *S).

    kind   "grid": boxes, `count` along every axis; "slic": about `count` ** axes supervoxels that follow
           the edges of the image (Achanta et al. 2012, from scikit-image)
    raises InputError for an unknown kind, or a count below 1 or above the shortest side
    """
    size = image.shape[1:]
    if kind not in KINDS:
        raise InputError(f"features must be one of {', '.join(KINDS)}; got '{kind}'{nearest(kind, KINDS)}")
    if not 1 <= count <= min(size):
        raise InputError(f"expected 1 to {min(size)} features along an axis for this image; got {count}")
    if kind == "slic":
        from skimage.segmentation import slic

        low, high = float(image.min()), float(image.max())
        scaled = (image - low) / max(high - low, 1e-12)
        labels = slic(scaled, n_segments=count ** len(size), compactness=0.1, channel_axis=0, start_label=0)
        return np.asarray(labels, dtype=np.int64)
    cells = [np.arange(side) * count // side for side in size]
    grids = np.meshgrid(*cells, indexing="ij")
    return np.asarray(np.ravel_multi_index(grids, (count,) * len(size)), dtype=np.int64)
