"""The removal test: the model depends more on the region a map highlights than on other regions of the image.

It is the only reliability check that fails for a wrong *region*: a map whose voxels are permuted, shifted or
mirrored passes every check of robustness and of model randomisation.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from contrafact.metrics.heatmap_context import HeatmapContext, Values
from contrafact.perturbation import gaussian

Mask = NDArray[np.bool_]
FILLS = ("blur", "mean", "min")
SHARE = 0.05  # share of the voxels that are hidden
SMOOTH = 1 / 24  # smoothing of the map, as a share of a side, so that its highest values form connected regions
SOFT = 1 / 48  # softness of the region's edge, as a share of a side: a hard edge can look like a finding
SHIFTED, RANDOM = 20, 10  # other regions: the map shifted, and smooth random maps


def removal_test(panel: HeatmapContext, which: int) -> dict[str, float]:
    """Return, for each fill, the share of other regions of equal size whose removal lowers f less than removal
    of the region that map `which` highlights. 1: no other region matters as much; 0.5: an average region.

    cost  about 100 forward passes
    """

    def make() -> dict[str, float]:
        regions = np.stack([top(panel, panel.maps[which]), *_others(panel, which)])
        soft = _softened(regions, min(panel.size) * SOFT).to(panel.device)
        shares = {}
        for fill in FILLS:
            falls = panel.whole - _hidden(panel, soft, fill)
            shares[fill] = float((falls[1:] < falls[0]).mean() + 0.5 * (falls[1:] == falls[0]).mean())
        return shares

    return panel.once(("removal test", which), make)


def top(panel: HeatmapContext, values: Values) -> Mask:
    """Return a mask (*S) of the highest values of a smoothed map: `SHARE` of the voxels (of the question's
    region)."""
    smooth = ndimage.gaussian_filter(values, [n * SMOOTH for n in panel.size])
    region = panel.question.region
    inside = np.ones(panel.size, dtype=bool) if region is None else region
    count = max(1, round(SHARE * int(inside.sum())))
    ranked = np.where(inside, smooth, -np.inf).ravel()
    mask = np.zeros(ranked.size, dtype=bool)
    mask[np.argsort(ranked, kind="stable")[-count:]] = True
    return mask.reshape(panel.size)


def _others(panel: HeatmapContext, which: int) -> list[Mask]:
    """Return masks of other regions of the same size: of shifted and mirrored maps, and of smooth noise."""
    rng, values = panel.rng("removal test"), panel.maps[which]
    axes = tuple(range(values.ndim))
    moved = [np.roll(values, _far(rng, panel.size), axes) for _ in range(SHIFTED)]
    moved += [np.flip(values, axis) for axis in axes]
    wide = [n / 12 for n in panel.size]
    noise = [ndimage.gaussian_filter(rng.normal(size=panel.size), wide, mode="wrap") for _ in range(RANDOM)]
    return [top(panel, other) for other in (*moved, *noise)]


def _far(rng: np.random.Generator, size: tuple[int, ...]) -> tuple[int, ...]:
    """Return a random shift of at least an eighth of a side along one axis or more."""
    while True:
        shift = tuple(int(rng.integers(n)) for n in size)
        if any(min(step, n - step) >= n / 8 for step, n in zip(shift, size, strict=True)):
            return shift


def _softened(masks: NDArray[np.bool_], sigma: float) -> Tensor:
    """Return masks (N, 1, *S) with soft edges, 0 to 1: how much of each voxel is hidden."""
    return gaussian(torch.from_numpy(masks.astype(np.float32))[:, None], sigma)


def _hidden(panel: HeatmapContext, soft: Tensor, fill: str) -> Values:
    """Return f (N,) of the image with each region hidden."""
    empty = panel.empty(fill)
    return panel.score_each(len(soft), lambda i: panel.image + soft[i] * (empty - panel.image))
