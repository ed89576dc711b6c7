from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS, InputError
from contrafact.metrics.counterfactual_context import CounterfactualContext, needed


@METRICS.register("off-factor")
@dataclass(frozen=True, slots=True, kw_only=True)
class OffFactor:
    """On a phantom: does everything that is not the cause stay as it was?

    gives   mean change of the other factors over the strip, each as a share of its span, for the same share of
            the cause; 0: only the cause moved
    raises  InputError without other factors, or where the cause did not move
    Source: design of this package. Differs: no published counterfactual states it.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "side effects"

    def __call__(self, walked: CounterfactualContext) -> float:
        needed(walked.factors, "off-factor", "planted factors and their rulers (`factors`)")
        others = [name for name in walked.factors if name != walked.cause]
        needed(dict.fromkeys(others), "off-factor", "a factor beside the cause")
        own = abs(moved(walked, walked.cause))
        if own < 1e-9:
            raise InputError(f"off-factor needs a strip on which {walked.cause} moves; it did not")
        return float(np.mean([abs(moved(walked, name)) for name in others]) / own)


def moved(walked: CounterfactualContext, name: str) -> float:
    """Change of a factor from the strip's start to its end, as a share of its span."""
    sizes = walked.read(name)
    return float(sizes[walked.end] - sizes[walked.strip.origin])
