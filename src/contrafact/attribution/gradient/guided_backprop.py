from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from contrafact.attribution.gradient.rectified import rectified_slopes
from contrafact.attribution.gradients import as_map
from contrafact.core import EXPLAINERS, Question


@EXPLAINERS.register("guided-backprop", aliases=("guided_backprop", "guided-backpropagation"))
@dataclass(frozen=True, slots=True, kw_only=True)
class GuidedBackprop:
    """Show image detail, mostly edges, that raises the output; it depends little on the trained weights.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), summed over channels; no unit. A gradient whose ReLUs pass only positive values,
            forwards and backwards. Check model randomisation before interpreting it (Adebayo et al. 2018)
    cost    one forward and one backward pass per image
    raises  UnsupportedError without gradients or without a ReLU
    Source: Springenberg et al. 2014 (arXiv 1412.6806), sec. 3.4. Differs: applies to every ReLU, also
    functional and reused ones.
    """

    needs_gradients: ClassVar[bool] = True
    live: ClassVar[bool] = True

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        slopes = rectified_slopes(question, "guided-backprop", lambda inner, _: inner.clamp_min(0))
        return as_map(slopes.sum(dim=1))
