from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("auprc")
@dataclass(frozen=True, slots=True, kw_only=True)
class AUPRC:
    """Measure how well the map detects the voxels of the mask: area under the precision-recall curve.

    gives   (M,) average precision, 0 to 1; for a random map the mask's share of the image
    cost    no forward pass
    raises  InputError without a mask
    Source: scikit-learn's average_precision_score. Differs: nothing.
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "place"

    def __call__(self, panel: HeatmapContext) -> Values:
        from sklearn.metrics import average_precision_score  # slow to import

        inside = panel.truth("auprc").ravel()
        return np.array([average_precision_score(inside, values.ravel()) for values in panel.maps])
