from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.attribution.gradients import as_map, feature_layer, watchable
from contrafact.core import EXPLAINERS, FeatureLayer, Question


@EXPLAINERS.register("ablation-cam", aliases=("ablationcam",))
@dataclass(frozen=True, slots=True, kw_only=True)
class AblationCAM:
    """Show a layer's feature maps, weighted by how much the output falls when each is set to zero.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), linearly interpolated from the layer; signed, target units per layer position
    cost    one forward pass, and one for every filter of the layer, per image; no gradients
    raises  UnsupportedError for a model whose layers cannot be read, or a layer without a spatial map
    Source: Desai & Ramaswamy 2020 (WACV), eq. 4. Differs: the fall is divided by the filter's total
    activation, so that the map sums to the score if only linear layers follow; no ReLU, any number of axes.

    layer   name of the layer; None: the last feature map through which all of the output passes
    batch   filters per forward pass, each set to zero in one copy of the image
    """

    needs_layers: ClassVar[bool] = True
    layer: str | None = None
    batch: int = 64

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        predictor = watchable(question, "ablation-cam")
        images = torch.as_tensor(question.images).to(predictor.device)
        with torch.no_grad():
            layer = feature_layer(question, self.layer, "ablation-cam")
            with predictor.watch(layer.name) as seen:
                whole = question.target(predictor(images))
            maps = [
                self._one(question, layer, image, value, filters.float())
                for image, value, filters in zip(images, whole, layer.read(seen[-1]), strict=True)
            ]
        return np.stack(maps)

    def _one(
        self, question: Question, layer: FeatureLayer, image: Tensor, whole: Tensor, filters: Tensor
    ) -> NDArray[np.float32]:
        predictor: Any = question.predictor
        falls = []
        for rows in torch.arange(len(filters), device=image.device).split(self.batch):

            def switch_off(output: Tensor, rows: Tensor = rows) -> Tensor:
                changed = output.clone()
                changed.movedim(layer.channel, 1)[torch.arange(len(rows), device=rows.device), rows] = 0
                return changed

            with predictor.change(layer.name, switch_off):
                falls.append(whole - question.target(predictor(image.expand(len(rows), *image.shape))))
        total = filters.flatten(1).sum(dim=1)
        weights = torch.cat(falls) / total.where(total.abs() > 1e-12, total.new_ones(()))
        maps = (weights.reshape(-1, *(1,) * (filters.ndim - 1)) * filters).sum(dim=0)
        return as_map(layer.on_image(maps[None])[0])
