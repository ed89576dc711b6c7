"""Similarity to a reference image, of a model whose outputs are an embedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from contrafact.core import Image, InputError, Predictor


@dataclass(frozen=True, slots=True, eq=False)
class SimilarityTarget:
    """Cosine of the angle between the outputs of an image and those of a reference image, -1 to 1.

    embedding  outputs (K,) for the reference
    name       of the reference, for texts
    """

    embedding: Tensor
    name: str = "reference"

    @classmethod
    def to(cls, predictor: Predictor, reference: Image | Any) -> SimilarityTarget:
        """Return the similarity to an image (an `Image`, or values (C, *S)), by one pass of the model.

        raises  InputError for a model of maps
        """
        values = reference.values if isinstance(reference, Image) else reference
        with torch.no_grad():
            outputs = torch.as_tensor(predictor(torch.as_tensor(values)[None]))
        if outputs.ndim != 2:
            raise InputError(f"a similarity needs embeddings (N, K); this model returns {tuple(outputs.shape)}")
        source = reference.source if isinstance(reference, Image) else ""
        return cls(outputs[0].detach().cpu(), source or "reference")

    def __call__(self, outputs: Tensor) -> Tensor:
        embedding = self.embedding.to(outputs.device, outputs.dtype)
        if outputs.ndim != 2 or outputs.shape[1] != len(embedding):
            raise InputError(
                f"target {self} needs embeddings (N, {len(embedding)}); this model returns "
                f"{tuple(outputs.shape)}"
            )
        return F.cosine_similarity(outputs, embedding[None], dim=1)

    def __str__(self) -> str:
        return f"similarity:{self.name}"
