from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.attribution.attention.attention_windows import through_windows
from contrafact.attribution.attention.weights import attention_maps, mean_head, on_image, output_tokens
from contrafact.attribution.gradients import as_map
from contrafact.core import EXPLAINERS, Question, UnsupportedError
from contrafact.perturbation.memory import out_of_memory


@EXPLAINERS.register("gradient-attention", aliases=("gradient-weighted-attention", "gradient_attention"))
@dataclass(frozen=True, slots=True, kw_only=True)
class GradientAttention:
    """Show which patches raise the target through a transformer's attention, weighted by its gradient.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), target units: the positive part of attention times its gradient, propagated
            through the layers; not negative
    cost    one forward and one backward pass; one forward pass more for attention within windows
    raises  UnsupportedError for a network without attention between tokens, whose target does not depend on
            it, or whose tokens cannot be located in its windows
    Source: Chefer et al. 2021 (arXiv 2103.15679), eq. 5 and 6, for self-attention. Differs: 2D and 3D;
    a vector is propagated; without a class token all tokens are output tokens; the identity (the tokens'
    own part) is left out of the map, so that the map is empty for a model that ignores the image. Within
    (shifted) windows as attention-rollout; each layer's gradient there includes every skip connection, and
    a layer without a gradient adds nothing.
    """

    needs_gradients: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    needs_attention: ClassVar[bool] = True

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        values, maps, windowed = attention_maps(question, "gradient-attention")
        refusal = UnsupportedError(
            f"the target {question.target} does not depend on this network's attention; use gradient"
        )
        try:
            slopes = torch.autograd.grad(values.sum(), maps, allow_unused=windowed)
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            raise refusal from error
        if all(slope is None for slope in slopes):
            raise refusal
        if windowed:
            return self._within_windows(question, maps, slopes)
        share = start = output_tokens(question, len(values), maps[-1].shape[-1], "gradient-attention")
        for weights, slope in zip(reversed(maps), reversed(slopes), strict=True):
            useful = mean_head((weights * slope).detach().clamp_min(0), len(values))
            share = share + torch.einsum("nt,ntu->nu", share, useful)
        return as_map(on_image(share - start, question, "gradient-attention"))

    @staticmethod
    def _within_windows(
        question: Question, maps: Sequence[Tensor], slopes: Sequence[Tensor | None]
    ) -> NDArray[np.float32]:
        useful = [
            torch.zeros_like(weights) if slope is None else (weights * slope).detach().clamp_min(0)
            for weights, slope in zip(maps, slopes, strict=True)
        ]
        question.notes["windows"] = [float(len(maps))] * len(question.images)
        share, start = through_windows(question, "gradient-attention", useful, lambda own, seen: own + seen)
        return as_map(share - start)
