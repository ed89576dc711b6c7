from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.linalg import cg

from contrafact.core import METRICS, InputError
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("road")
@dataclass(frozen=True, slots=True, kw_only=True)
class ROAD:
    """Replace the voxels that the map says most of by what their neighbours suggest: how far does f fall?

    gives   (M,) mean of f(image) - f(filled in) over `shares` of the voxels, in units of the target
    cost    maps x shares forward passes and as many sparse linear systems
    raises  InputError for no share, or one outside (0, 1)
    Source: Rong et al. 2022 (arXiv 2202.00449), sec. 4 (most relevant first). Differs: in 2D and 3D, with
    neighbours weighed by one over the axes in which they differ (in 2D the paper's 1/6 and 1/12); the fall of
    the target instead of accuracy over many images; noise in the image's own units, one draw for all maps.
    It does not always put the truth of a linear model first: what neighbours suggest can be worth more than
    what was there.

    shares  of the voxels that are replaced
    noise   added to what is filled in, as a share of the image's spread (one standard deviation)
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "removal"
    finds_truth: ClassVar[bool] = False
    shares: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    noise: float = 0.01

    def __post_init__(self) -> None:
        if not self.shares or not all(0 < share < 1 for share in self.shares):
            raise InputError(f"expected shares in (0, 1); got {self.shares}")

    def __call__(self, panel: HeatmapContext) -> Values:
        ranks, count = panel.ranks(), int(np.prod(panel.size))
        values = panel.image.cpu().numpy().reshape(len(panel.image), -1).astype(np.float64)
        noise = panel.rng("road").normal(size=values.shape) * self.noise * values.std()
        near = panel.once("neighbours", lambda: neighbours(panel.size))
        jobs = [
            (m, min(max(1, round(share * count)), count - 1))
            for m in range(len(ranks))
            for share in self.shares
        ]

        def filled(i: int) -> torch.Tensor:
            m, cut = jobs[i]
            gone = ranks[m] < cut
            found = np.where(gone, impute(values, gone, near) + noise, values)
            return torch.from_numpy(found.astype(np.float32)).to(panel.device).reshape(panel.image.shape)

        scores = panel.score_each(len(jobs), filled).reshape(len(ranks), -1)
        return np.asarray(panel.whole - scores.mean(axis=1))


def neighbours(size: tuple[int, ...]) -> csr_array:
    """(voxels, voxels): the weight of every voxel's neighbours, corners too; 0 across the border."""
    index = np.arange(int(np.prod(size))).reshape(size)
    rows, columns, weights = [], [], []
    for step in itertools.product((-1, 0, 1), repeat=len(size)):
        if any(step):
            here = index[tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(step, size, strict=True))]
            there = index[tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(step, size, strict=True))]
            rows.append(here.ravel())
            columns.append(there.ravel())
            weights.append(np.full(here.size, 1 / np.count_nonzero(step)))
    places = np.concatenate(rows), np.concatenate(columns)
    return csr_array(coo_array((np.concatenate(weights), places), shape=(index.size, index.size)))


def impute(values: Values, gone: NDArray[np.bool_], near: csr_array) -> Values:
    """Values (C, voxels) with those that are `gone` the weighted mean of their neighbours, gone or not."""
    rows = near[np.flatnonzero(gone)]
    among = diags_array(rows.sum(axis=1)) - rows[:, np.flatnonzero(gone)]
    given = rows[:, np.flatnonzero(~gone)]
    found = values.copy()
    for channel, known in zip(found, values[:, ~gone], strict=True):
        middle = known.mean()  # from here the way is short, and the system one of deviations
        channel[gone] = cg(among, given @ (known - middle), rtol=1e-6)[0] + middle
    return found
