from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from contrafact.attribution.gradient.rectified import rectified_slopes
from contrafact.attribution.gradients import as_map
from contrafact.core import EXPLAINERS, Question


@EXPLAINERS.register("deconvolution", aliases=("deconvnet", "deconv"))
@dataclass(frozen=True, slots=True, kw_only=True)
class Deconvolution:
    """Show image detail that raises the output, by a gradient whose ReLUs pass only positive values back.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), summed over channels; no unit. Like guided-backprop, it depends little on the
            trained weights
    cost    one forward and one backward pass per image
    raises  UnsupportedError without gradients or without a ReLU
    Source: Zeiler & Fergus 2014 (arXiv 1311.2901), sec. 2. Differs: applies to every ReLU, also
    functional and reused ones; pooling keeps its own gradient, as in Simonyan et al. 2013, sec. 4.
    """

    needs_gradients: ClassVar[bool] = True

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        slopes = rectified_slopes(question, "deconvolution", lambda _, outer: outer.clamp_min(0))
        return as_map(slopes.sum(dim=1))
