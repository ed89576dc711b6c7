from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS, InputError
from contrafact.metrics.counterfactual_context import CounterfactualContext, needed


@METRICS.register("off-factor")
@dataclass(frozen=True, slots=True, kw_only=True)
class OffFactor:
    """Measure, on a phantom, how much other planted factors change together with the cause.

    gives   mean change of the other factors, each as a share of its span, divided by the same share of the
            cause; 0: only the cause changes
    raises  InputError without other factors, or if the cause does not change
    Source: design of this package. Differs: no published counterfactual reports it.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "side effects"

    def __call__(self, walked: CounterfactualContext) -> float:
        needed(walked.factors, "off-factor", "planted factors (`factors`)")
        others = [name for name in walked.factors if name != walked.cause]
        needed(dict.fromkeys(others), "off-factor", "a factor beside the cause")
        own = abs(moved(walked, walked.cause))
        if own < 1e-9:
            raise InputError(f"off-factor needs a counterfactual that changes {walked.cause}; it does not")
        return float(np.mean([abs(moved(walked, name)) for name in others]) / own)


def moved(walked: CounterfactualContext, name: str) -> float:
    """Return the change of a factor from the image to the counterfactual, as a share of its span."""
    sizes = walked.read(name)
    return float(sizes[walked.end] - sizes[walked.strip.origin])
