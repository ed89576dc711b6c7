"""Does the model need what lies where the map points, more than what lies elsewhere in the same image?

The one check of a trust card that fails on a wrong *place*: a map of the right network whose voxels are
permuted, shifted or mirrored passes every check of robustness and of randomisation.
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
SHARE = 0.05  # of the voxels that are hidden
SMOOTH = 1 / 24  # of a side: the map is smoothed so, and its greatest values make a connected place
SOFT = 1 / 48  # of a side: so soft is the edge of what is hidden; a hard one is itself seen as a finding
SHIFTED, DRAWN = 20, 10  # other places: the same shape elsewhere, and smooth ones at random


def removal_test(panel: HeatmapContext, which: int) -> dict[str, float]:
    """By fill: the share of other places of the same image, equally large, whose removal lowers f less than
    removal of the place that map `which` says most of. 1: none counts as much; 0.5: a place like any.

    cost  about 100 forward passes
    """

    def make() -> dict[str, float]:
        places = np.stack([top(panel, panel.maps[which]), *_others(panel, which)])
        soft = _softened(places, min(panel.size) * SOFT).to(panel.device)
        found = {}
        for fill in FILLS:
            falls = panel.whole - _hidden(panel, soft, fill)
            found[fill] = float((falls[1:] < falls[0]).mean() + 0.5 * (falls[1:] == falls[0]).mean())
        return found

    return panel.once(("removal test", which), make)


def top(panel: HeatmapContext, values: Values) -> Mask:
    """(*S) the greatest values of a map, smoothed: `SHARE` of the voxels (of the region asked about)."""
    smooth = ndimage.gaussian_filter(values, [n * SMOOTH for n in panel.size])
    region = panel.question.region
    inside = np.ones(panel.size, dtype=bool) if region is None else region
    count = max(1, round(SHARE * int(inside.sum())))
    ranked = np.where(inside, smooth, -np.inf).ravel()
    found = np.zeros(ranked.size, dtype=bool)
    found[np.argsort(ranked, kind="stable")[-count:]] = True
    return found.reshape(panel.size)


def _others(panel: HeatmapContext, which: int) -> list[Mask]:
    """Places of the same size: of the shifted map, the mirrored one, and of smooth noise."""
    rng, values = panel.rng("removal test"), panel.maps[which]
    axes = tuple(range(values.ndim))
    found = [np.roll(values, _far(rng, panel.size), axes) for _ in range(SHIFTED)]
    found += [np.flip(values, axis) for axis in axes]
    wide = [n / 12 for n in panel.size]
    noise = [ndimage.gaussian_filter(rng.normal(size=panel.size), wide, mode="wrap") for _ in range(DRAWN)]
    return [top(panel, other) for other in (*found, *noise)]


def _far(rng: np.random.Generator, size: tuple[int, ...]) -> tuple[int, ...]:
    """A shift of at least an eighth of a side along some axis."""
    while True:
        shift = tuple(int(rng.integers(n)) for n in size)
        if any(min(step, n - step) >= n / 8 for step, n in zip(shift, size, strict=True)):
            return shift


def _softened(places: NDArray[np.bool_], sigma: float) -> Tensor:
    """(N, 1, *S) how much of each voxel is hidden."""
    return gaussian(torch.from_numpy(places.astype(np.float32))[:, None], sigma)


def _hidden(panel: HeatmapContext, soft: Tensor, fill: str) -> Values:
    """f (N,) of the image with each place hidden."""
    empty = panel.empty(fill)
    return panel.score_each(len(soft), lambda i: panel.image + soft[i] * (empty - panel.image))
