from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from contrafact.attribution.gradients import activations_at, as_map, chosen_filter, feature_layer, watchable
from contrafact.core import EXPLAINERS, Question


@EXPLAINERS.register("layer-activation", aliases=("layer_activation",))
@dataclass(frozen=True, slots=True, kw_only=True)
class LayerActivation:
    """Show where the image activates a layer or one of its filters, independent of the prediction.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), linearly interpolated from the layer; in units of the layer: one filter, or the
            mean over all filters
    cost    one forward pass per image; no gradients
    raises  UnsupportedError for a model whose layers cannot be read, or a layer without a spatial map;
            InputError for an unknown layer or filter
    Source: Zeiler & Fergus 2014 (arXiv 1311.2901), sec. 4.1. Differs: interpolated to the image's grid.

    layer   name of the layer; None: the last feature map through which all of the output passes
    channel number of the filter; None: the mean of all filters
    """

    needs_layers: ClassVar[bool] = True
    layer: str | None = None
    channel: int | None = None

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        predictor = watchable(question, "layer-activation")
        layer = feature_layer(question, self.layer, "layer-activation")
        maps = activations_at(predictor, question.images, layer)
        chosen = chosen_filter(maps, self.channel).mean(dim=1)
        return as_map(layer.on_image(chosen.float()))
