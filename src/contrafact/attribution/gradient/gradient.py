from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from contrafact.attribution.gradients import as_map, needs_gradients, slopes_at
from contrafact.core import EXPLAINERS, Question


@EXPLAINERS.register("gradient", aliases=("saliency", "vanilla-gradient"))
@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient:
    """Show how much the output rises when each voxel becomes slightly brighter.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), target units per image unit, summed over channels; signed
    cost    one forward and one backward pass per image
    raises  UnsupportedError for a model without gradients
    Source: Simonyan et al. 2013 (arXiv 1312.6034), sec. 3. Differs: signed unless `absolute`.

    absolute  return the greatest absolute value over channels, as in the paper
    """

    needs_gradients: ClassVar[bool] = True
    live: ClassVar[bool] = True
    absolute: bool = False

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        needs_gradients(question, "gradient", at_once=False)
        slopes = slopes_at(question, question.images)
        return as_map(slopes.abs().amax(dim=1) if self.absolute else slopes.sum(dim=1))
