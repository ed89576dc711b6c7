from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.attribution.gradient.rectified import followed_calls, rectified_by
from contrafact.attribution.gradients import (
    as_map,
    chosen_filter,
    feature_layer,
    layer_map,
    needs_gradients,
    watchable,
)
from contrafact.core import EXPLAINERS, Question


@EXPLAINERS.register("filter-guided-backprop", aliases=("layer-activation-guided-backprop",))
@dataclass(frozen=True, slots=True, kw_only=True)
class FilterGuidedBackprop:
    """Show the image detail that activates one filter of a layer, by guided backpropagation.

    images   float32 (N, C, *S), any units
    gives    float32 (N, *S), summed over channels; no unit; it does not depend on the target
    cost     one forward pass, and a backward pass from the layer
    raises   UnsupportedError without gradients, without a ReLU before the layer, or without a spatial map;
             InputError for an unknown layer or filter
    Source: Springenberg et al. 2014 (arXiv 1412.6806), sec. 3.4, fig. 3. Differs: applies to every ReLU,
    also functional and reused ones; two and three axes.

    layer    name of the layer; None: the last feature map through which all of the output passes
    channel  number of the filter; None: the sum of all filters
    """

    needs_gradients: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    layer: str | None = None
    channel: int | None = None

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        needs_gradients(question, "filter-guided-backprop", at_once=False)
        predictor = watchable(question, "filter-guided-backprop")
        layer = feature_layer(question, self.layer, "filter-guided-backprop")
        images = torch.as_tensor(question.images).to(predictor.device).requires_grad_()
        with torch.enable_grad():
            with followed_calls(predictor) as calls:
                maps = layer_map(predictor, images, layer)
            activation = chosen_filter(maps, self.channel).sum()
        slopes = rectified_by(
            activation,
            maps,
            images,
            question,
            method="filter-guided-backprop",
            rule=lambda inner, _: inner.clamp_min(0),
            calls=calls,
        )
        return as_map(slopes.sum(dim=1))
