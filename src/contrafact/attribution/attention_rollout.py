from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.attribution.attention import answering, attention_maps, mean_head, on_image
from contrafact.attribution.differentiable import as_map
from contrafact.core import EXPLAINERS, Question


@EXPLAINERS.register("attention-rollout", aliases=("rollout",))
@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionRollout:
    """Follow a transformer's attention from the answer back to the patches, layer by layer.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S): the share of the answer's tokens that comes from each voxel; sums to at most
            1, not negative, and the same for every target
    cost    one forward pass
    raises  UnsupportedError for a network without attention between all tokens
    Source: Abnar & Zuidema 2020 (arXiv 2005.00928), eq. 1. Differs: 2D and 3D; as a vector, so that no
    product of token-by-token matrices is made; fused attention is computed openly.
    """

    needs_gradients: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    needs_attention: ClassVar[bool] = True

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        values, maps = attention_maps(question, "attention-rollout")
        share = answering(question, len(values), maps[-1].shape[-1], "attention-rollout")
        for weights in reversed(maps):
            share = (share + torch.einsum("nt,ntu->nu", share, mean_head(weights.detach(), len(share)))) / 2
        return as_map(on_image(share, question, "attention-rollout"))
