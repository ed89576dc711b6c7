from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.attribution.attention.attention_windows import through_windows
from contrafact.attribution.attention.weights import answering, attention_maps, mean_head, on_image
from contrafact.attribution.gradients import as_map
from contrafact.core import EXPLAINERS, Question


@EXPLAINERS.register("attention-rollout", aliases=("rollout",))
@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionRollout:
    """Follow a transformer's attention from the answer back to the patches, layer by layer.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S): the share of the answer's tokens that comes from each voxel; sums to at most
            1, not negative, and the same for every target
    cost    one forward pass; two for attention within windows
    raises  UnsupportedError for a network without attention between tokens, or whose tokens cannot be
            followed into its windows
    Source: Abnar & Zuidema 2020 (arXiv 2005.00928), eq. 1. Differs: 2D and 3D; as a vector, so that no
    product of token-by-token matrices is made; fused attention is computed openly. Within (shifted)
    windows, tokens pass on to their window; where tokens were merged, a coarse one's share goes to its
    fine ones in equal parts; all tokens of the last layer answer alike; what goes to padding is lost.
    `notes["windows"]`: layers with windows. Convolutions and skip connections are not followed, so that of
    a U-Net, whose answer hangs on every stage, it says little: gradient-attention says more.
    """

    needs_gradients: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    needs_attention: ClassVar[bool] = True

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        values, maps, windowed = attention_maps(question, "attention-rollout")
        if windowed:
            maps = [weights.detach() for weights in maps]
            question.notes["windows"] = [float(len(maps))] * len(values)
            found, _ = through_windows(question, "attention-rollout", maps, lambda own, seen: (own + seen) / 2)
            return as_map(found)
        share = answering(question, len(values), maps[-1].shape[-1], "attention-rollout")
        for weights in reversed(maps):
            share = (share + torch.einsum("nt,ntu->nu", share, mean_head(weights.detach(), len(share)))) / 2
        return as_map(on_image(share, question, "attention-rollout"))
