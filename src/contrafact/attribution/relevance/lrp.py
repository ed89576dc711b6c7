from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.attribution.gradients import as_map, needs_gradients, passed_back, watchable
from contrafact.attribution.relevance.backward_rules import RelevanceMode
from contrafact.attribution.relevance.linear_rules import RULES
from contrafact.core import EXPLAINERS, InputError, Question, nearest


@EXPLAINERS.register("lrp", aliases=("layer-wise-relevance-propagation",))
@dataclass(frozen=True, slots=True, kw_only=True)
class LRP:
    """Show each voxel's share of the output, distributed backwards layer by layer.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), target units, summed over channels; signed (not negative for
            "alpha1-beta0" of a positive target). `notes["conservation"]`: the sum of the map divided by the
            distributed output, 1 if nothing is lost
    cost    one forward and about two backward passes per image; with gamma, each linear step runs three times
            forward and twice back, and five times and four times where its inputs have both signs
    raises  UnsupportedError without gradients, or for a network with a step that has no rule
            (a softmax other than attention); InputError for an unknown rule
    Source: Bach et al. 2015 (PLOS ONE 10(7), e0130140), eq. 58 (epsilon) and 60 (alpha-beta); Montavon
    et al. 2019 (LNCS 11700), gamma. Differs: biases take no relevance; normalisation in evaluation mode
    passes it on; the summands of a skip connection share it by size; steps are intercepted as torch
    functions, so that functional layers and layers used twice are included.

    rule    epsilon, gamma or alpha1-beta0, for every linear step
    """

    needs_gradients: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    rule: str = "gamma"

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise InputError(
                f"rule must be one of {', '.join(RULES)}; got '{self.rule}'{nearest(self.rule, RULES)}"
            )

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        needs_gradients(question, "lrp")
        predictor = watchable(question, "lrp")
        images = torch.as_tensor(question.images).to(predictor.device).requires_grad_()
        with torch.enable_grad():
            with RelevanceMode(self.rule, "lrp"):
                outputs = predictor(images)
            ends = outputs.detach().requires_grad_()
            (slopes,) = torch.autograd.grad(question.target(ends).sum(), ends)
            start = (slopes * ends).detach()
            relevance = passed_back(outputs, images, start, "lrp")
        total = start.flatten(1).sum(dim=1)
        kept = relevance.flatten(1).sum(dim=1)
        question.notes["conservation"] = (kept / total.where(total != 0, torch.ones_like(total))).tolist()
        return as_map(relevance.sum(dim=1))
