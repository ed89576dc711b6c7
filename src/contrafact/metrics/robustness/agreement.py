from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS, InputError
from contrafact.metrics.heatmap_context import HeatmapContext, Values
from contrafact.metrics.similarity import spearman


@METRICS.register("agreement")
@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Measure how well the map agrees with the maps of the other methods.

    gives   (M,) mean rank correlation of the map with every other map of the image
    cost    none
    raises  InputError for fewer than two maps that can be evaluated
    Source: Krishna et al. 2022 (arXiv 2202.01602), rank correlation. Differs: maps that cannot be evaluated
    are left out; with `cells`, boxes are compared instead of voxels.

    cells   boxes along each axis whose sums are compared; None: compare voxels
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "agreement"
    finds_truth: ClassVar[bool] = False
    cells: int | None = None

    def __post_init__(self) -> None:
        if self.cells is not None and self.cells < 2:
            raise InputError(f"expected at least 2 cells along an axis; got {self.cells}")

    def __call__(self, panel: HeatmapContext) -> Values:
        good = [which for which, flaw in enumerate(panel.flaws) if not flaw]
        if len(good) < 2:
            raise InputError(
                f"agreement compares maps; expected at least 2 that can be evaluated; got {len(good)}"
            )
        rows = panel.maps if self.cells is None else panel.cell_sums(self.cells)
        region = panel.question.region if self.cells is None else None
        return panel.each(
            lambda a: float(np.mean([spearman(rows[a], rows[b], region) for b in good if b != a]))
        )
