from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.attribution.gradients import as_map, needs_gradients, passed_back, watchable
from contrafact.attribution.relevance.backward_rules import RelevanceMode
from contrafact.core import EXPLAINERS, Question


@EXPLAINERS.register("excitation-backprop", aliases=("excitation_backprop", "ebp"))
@dataclass(frozen=True, slots=True, kw_only=True)
class ExcitationBackprop:
    """Show each voxel's share of the excitation that leads to the output, as a probability.

    images  float32 (N, C, *S), not negative for exact probabilities
    gives   float32 (N, *S), a probability (each winning neuron passes its own to the neurons that excite
            it): not negative, sums to `notes["conservation"]`, which is 1 if no probability is lost; with
            `contrastive` signed, and sums to about 0
    cost    one forward and about two backward passes per image; twice with `contrastive`
    raises  UnsupportedError without gradients, or for a network with a step that has no rule
    Source: Zhang et al. 2016 (arXiv 1608.00507), eq. 2 to 6. Differs: propagated to the image itself;
    skip connections share by size; two and three axes.

    contrastive  subtract the map of the opposite decision: the last linear step with its weights negated
    """

    needs_gradients: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    contrastive: bool = False

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        needs_gradients(question, "excitation-backprop")
        winners, calls = self._winners(question, None)
        question.notes["conservation"] = winners.flatten(1).sum(dim=1).tolist()
        if self.contrastive:
            winners = winners - self._winners(question, calls - 1)[0]
        return as_map(winners.sum(dim=1))

    def _winners(self, question: Question, flip: int | None) -> tuple[Tensor, int]:
        """Return the probabilities (N, C, *S), and the number of linear and convolution steps."""
        predictor = watchable(question, "excitation-backprop")
        images = torch.as_tensor(question.images).to(predictor.device).requires_grad_()
        with torch.enable_grad():
            with RelevanceMode("alpha1-beta0", "excitation-backprop", flip=flip) as mode:
                outputs = predictor(images)
            ends = outputs.detach().requires_grad_()
            (slopes,) = torch.autograd.grad(question.target(ends).sum(), ends)
            start = slopes.clamp_min(0)
            total = start.flatten(1).sum(dim=1).clamp_min(1e-12)
            start = start / total.reshape(-1, *(1,) * (start.ndim - 1))
            winners = passed_back(outputs, images, start, "excitation-backprop")
        return winners, mode.calls
