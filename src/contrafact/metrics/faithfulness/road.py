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
    """Measure the fall of the output when the highest voxels of the map are interpolated from neighbours.

    gives   (M,) mean of f(image) - f(interpolated) over `shares` of the voxels, in units of the target
    cost    maps x shares forward passes and as many sparse linear systems
    raises  InputError without a share, or for one outside (0, 1)
    Source: Rong et al. 2022 (arXiv 2202.00449), sec. 4 (most relevant first). Differs: in 2D and 3D, with
    neighbours weighted by one over the number of axes in which they differ (in 2D the paper's 1/6 and 1/12);
    the fall of the target instead of accuracy over many images; noise in the image's own units, the same for
    all maps. It does not always rank the true map of a linear model first, because an interpolated value can
    have a greater effect than the original.

    shares  shares of the voxels that are replaced
    noise   standard deviation of noise added to interpolated values, as a share of the image's own
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
            imputed = np.where(gone, impute(values, gone, near) + noise, values)
            return torch.from_numpy(imputed.astype(np.float32)).to(panel.device).reshape(panel.image.shape)

        scores = panel.score_each(len(jobs), filled).reshape(len(ranks), -1)
        return np.asarray(panel.whole - scores.mean(axis=1))


def neighbours(size: tuple[int, ...]) -> csr_array:
    """Return the weights (voxels, voxels) of every voxel's neighbours, diagonal ones included; 0 beyond the
    border."""
    index = np.arange(int(np.prod(size))).reshape(size)
    rows, columns, weights = [], [], []
    for step in itertools.product((-1, 0, 1), repeat=len(size)):
        if any(step):
            voxels = index[tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(step, size, strict=True))]
            shifted = index[tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(step, size, strict=True))]
            rows.append(voxels.ravel())
            columns.append(shifted.ravel())
            weights.append(np.full(voxels.size, 1 / np.count_nonzero(step)))
    pairs = np.concatenate(rows), np.concatenate(columns)
    return csr_array(coo_array((np.concatenate(weights), pairs), shape=(index.size, index.size)))


def impute(values: Values, gone: NDArray[np.bool_], near: csr_array) -> Values:
    """Return values (C, voxels) in which each voxel that is `gone` is the weighted mean of its neighbours, by a
    linear system over all voxels that are gone."""
    rows = near[np.flatnonzero(gone)]
    system = diags_array(rows.sum(axis=1)) - rows[:, np.flatnonzero(gone)]
    from_known = rows[:, np.flatnonzero(~gone)]
    filled = values.copy()
    for channel, known in zip(filled, values[:, ~gone], strict=True):
        mean = known.mean()  # solving for deviations from the mean converges faster
        channel[gone] = cg(system, from_known @ (known - mean), rtol=1e-6)[0] + mean
    return filled
