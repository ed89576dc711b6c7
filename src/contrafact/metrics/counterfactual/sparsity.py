from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import METRICS
from contrafact.metrics.counterfactual_context import CounterfactualContext


@METRICS.register("sparsity")
@dataclass(frozen=True, slots=True, kw_only=True)
class Sparsity:
    """Measure the share of voxels that the counterfactual changes visibly.

    gives   share of voxels that differ from the image by more than `share` of the range
    Source: Mothilal et al. 2020 (arXiv 1905.07697), sec. 4. Differs: the changed share instead of the
    unchanged one; ignores changes too small to see.

    share  change above which a voxel counts as changed, as a share of the range
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "closeness"
    share: float = 0.05

    def __call__(self, walked: CounterfactualContext) -> float:
        return float((walked.changed() > self.share).mean())
