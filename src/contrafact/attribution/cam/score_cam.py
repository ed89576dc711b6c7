from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.attribution.gradients import activations_at, as_map, feature_layer, watchable
from contrafact.core import EXPLAINERS, FeatureLayer, Question
from contrafact.perturbation.fill import fill_values


@EXPLAINERS.register("score-cam", aliases=("scorecam",))
@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCAM:
    """Show a layer's feature maps, weighted by how much the output rises when each alone is visible.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), linearly interpolated from the layer; target units times activation. The weight
            of a feature map is the increase of the target from an empty image to the image masked by the map
    cost    one forward pass, and one for every filter of the layer, per image; no gradients
    raises  UnsupportedError for a model whose layers cannot be read, or a layer without a spatial map
    Source: Wang et al. 2020 (arXiv 1910.01279), eq. 3 to 6. Differs: the weight is the increase of the
    target; no softmax over filters (a score summed over thousands of voxels saturates it), no ReLU.

    layer   name of the layer; None: the last feature map through which all of the output passes
    fill    content of hidden voxels: "mean", "min", "blur" or a number in image units
    batch   masked images per forward pass
    """

    needs_layers: ClassVar[bool] = True
    layer: str | None = None
    fill: str | float = "min"
    batch: int = 64

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        predictor = watchable(question, "score-cam")
        images = torch.as_tensor(question.images).to(predictor.device)
        with torch.no_grad():
            layer = feature_layer(question, self.layer, "score-cam")
            filters = activations_at(predictor, images, layer).float()
            empty = fill_values(images, self.fill)
            maps = [self._one(question, layer, *inputs) for inputs in zip(images, empty, filters, strict=True)]
        return np.stack(maps)

    def _one(
        self, question: Question, layer: FeatureLayer, image: Tensor, empty: Tensor, filters: Tensor
    ) -> NDArray[np.float32]:
        hidden_score = question.target(question.predictor(empty[None]))
        low, high = filters.flatten(1).amin(dim=1), filters.flatten(1).amax(dim=1)
        shape = (-1, *(1,) * (filters.ndim - 1))
        total = torch.zeros(image.shape[1:], device=image.device)
        for rows in torch.arange(len(filters), device=image.device).split(self.batch):
            shares = (filters[rows] - low[rows].reshape(shape)) / (high - low)[rows].clamp_min(1e-12).reshape(
                shape
            )
            masks = layer.on_image(shares)[:, None]
            gains = question.target(question.predictor(empty + masks * (image - empty))) - hidden_score
            total += (gains.reshape(shape) * layer.on_image(filters[rows])).sum(dim=0)
        return as_map(total)
