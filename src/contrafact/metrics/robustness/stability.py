from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS, InputError, traits_of
from contrafact.metrics.heatmap_context import HeatmapContext, Values
from contrafact.metrics.similarity import spearman


@METRICS.register("stability")
@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """Measure how similar the map stays with other random seeds of the method.

    gives   (M,) mean rank correlation of the map with maps of other seeds; 1 for deterministic methods
    cost    `seeds` explanations per map of a stochastic method; none for the others
    raises  InputError without explainers
    Source: Visani et al. 2020 (arXiv 2001.11757) for LIME, by Spearman's correlation. Differs: any method;
    its class variable `sampled` declares whether it is stochastic.

    seeds  number of other seeds
    """

    of: ClassVar[str] = "heatmap"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "robustness"
    finds_truth: ClassVar[bool] = False
    seeds: int = 3

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise InputError(f"expected at least 1 other seed; got {self.seeds}")

    def __call__(self, panel: HeatmapContext) -> Values:
        if not panel.explainers:
            raise InputError("stability explains again; got maps without explainers; pass the explainers")

        def correlation(which: int) -> float:
            if not traits_of(panel.explainers[which]).sampled:
                return 1.0
            others = range(panel.seed + 1, panel.seed + 1 + self.seeds)
            first, region = panel.maps[which], panel.question.region
            return float(
                np.mean([spearman(first, panel.again(which, seed=seed)[0], region) for seed in others])
            )

        return panel.each(correlation)
