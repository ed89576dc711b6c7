from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("relevance-mass")
@dataclass(frozen=True, slots=True, kw_only=True)
class RelevanceMass:
    """Measure how much of the map's positive evidence lies in the mask.

    gives   (M,) share of the sum of positive values, 0 to 1; 0 if no value is positive
    cost    no forward pass
    raises  InputError without a mask
    Source: Arras et al. 2022 (arXiv 2003.07258), sec. 3.3. Differs: evidence against the target counts as 0,
    so that the share lies between 0 and 1.
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "place"

    def __call__(self, panel: HeatmapContext) -> Values:
        inside = panel.truth("relevance-mass").ravel()
        positive = np.maximum(panel.maps.reshape(len(panel.maps), -1), 0)
        total = positive.sum(axis=1)
        shares: Values = positive[:, inside].sum(axis=1) / np.where(total > 0, total, 1)
        return shares
