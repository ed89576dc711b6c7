from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS, InputError
from contrafact.metrics.heatmap_context import HeatmapContext, Values


@METRICS.register("max-sensitivity")
@dataclass(frozen=True, slots=True, kw_only=True)
class MaxSensitivity:
    """Measure the greatest change of the map under weak noise in the image.

    gives   (M,) greatest change of the map as a share of the map (Euclidean norms); 0: no change
    cost    `samples` explanations per map, in one batch; the noise is the same for all maps
    raises  InputError without explainers
    Source: Yeh et al. 2019 (arXiv 1901.09392), eq. 2, divided by the norm of the map as in their
    experiments. Differs: the noise is uniform within `radius`, a share of the image's own range.

    samples  noisy copies
    radius   greatest noise, as a share of the image's range
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "robustness"
    finds_truth: ClassVar[bool] = False
    samples: int = 8
    radius: float = 0.02

    def __post_init__(self) -> None:
        if self.samples < 1 or not self.radius > 0:
            raise InputError(f"expected 1 sample or more, a radius above 0; got {self.samples}, {self.radius}")

    def __call__(self, panel: HeatmapContext) -> Values:
        noisy = panel.noisy(self.samples, self.radius)

        def sensitivity(which: int) -> float:
            original = panel.maps[which].ravel()
            changes = panel.again(which, images=noisy).reshape(self.samples, -1) - original
            return float(np.linalg.norm(changes, axis=1).max() / np.linalg.norm(original))

        return panel.each(sensitivity)
