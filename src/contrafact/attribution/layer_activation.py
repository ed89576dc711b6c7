from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.attribution.differentiable import as_map, upsample, watchable
from contrafact.core import EXPLAINERS, InputError, Question, UnsupportedError


@EXPLAINERS.register("layer-activation", aliases=("layer_activation",))
@dataclass(frozen=True, slots=True, kw_only=True)
class LayerActivation:
    """What a layer, or one of its filters, answers to the image. It knows no target.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), linearly interpolated from the layer; in units of the layer, the mean over
            filters unless one is chosen
    cost    one forward pass per image; no gradients
    raises  UnsupportedError for a model whose layers are hidden, or a layer without a spatial map;
            InputError for an unknown layer or filter
    Source: Zeiler & Fergus 2014 (arXiv 1311.2901), sec. 4.1 shows them. Differs: on the image's grid.

    layer   name of the layer; None: the last convolution
    channel number of the filter; None: their mean
    """

    needs_layers: ClassVar[bool] = True
    layer: str | None = None
    channel: int | None = None

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        predictor = watchable(question, "layer-activation")
        with torch.no_grad(), predictor.watch(self.layer) as seen:
            predictor(question.images)
        if not seen or seen[-1].ndim < 3:
            raise UnsupportedError(f"layer-activation needs a layer with a spatial map; got '{self.layer}'")
        maps, count = seen[-1], seen[-1].shape[1]
        if self.channel is not None and not 0 <= self.channel < count:
            raise InputError(f"channel must be 0 to {count - 1} for this layer; got {self.channel}")
        chosen = maps.mean(dim=1) if self.channel is None else maps[:, self.channel]
        return as_map(upsample(chosen.float(), question.images.shape[2:]))
