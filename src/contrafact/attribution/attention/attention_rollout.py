from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.attribution.attention.attention_windows import through_windows
from contrafact.attribution.attention.weights import attention_maps, mean_head, on_image, output_tokens
from contrafact.attribution.gradients import as_map
from contrafact.core import EXPLAINERS, Question


@EXPLAINERS.register("attention-rollout", aliases=("rollout",))
@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionRollout:
    """Show from which image patches a transformer collects information, by its attention weights.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S): the share of the output tokens that each voxel contributes; not negative, sums
            to at most 1, and is the same for every target
    cost    one forward pass; two for attention within windows
    raises  UnsupportedError for a network without attention between tokens, or whose tokens cannot be
            located in its windows
    Source: Abnar & Zuidema 2020 (arXiv 2005.00928), eq. 1. Differs: 2D and 3D; a vector is propagated, so
    that no token-by-token matrices are multiplied; fused attention is computed explicitly. Within (shifted)
    windows, tokens share with their own window only; where tokens are merged, the share of a coarse token
    goes to its fine tokens in equal parts; all tokens of the last layer have equal shares; the share of
    padding is lost. `notes["windows"]`: number of layers with windows. Convolutions and skip connections
    are not followed; for a U-Net, whose output depends on every stage, gradient-attention is more
    informative.
    """

    needs_gradients: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    needs_attention: ClassVar[bool] = True

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        values, maps, windowed = attention_maps(question, "attention-rollout")
        if windowed:
            maps = [weights.detach() for weights in maps]
            question.notes["windows"] = [float(len(maps))] * len(values)
            result, _ = through_windows(question, "attention-rollout", maps, lambda own, seen: (own + seen) / 2)
            return as_map(result)
        share = output_tokens(question, len(values), maps[-1].shape[-1], "attention-rollout")
        for weights in reversed(maps):
            share = (share + torch.einsum("nt,ntu->nu", share, mean_head(weights.detach(), len(share)))) / 2
        return as_map(on_image(share, question, "attention-rollout"))
