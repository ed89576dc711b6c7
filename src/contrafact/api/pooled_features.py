"""What a network has read from an image before it decides: its last feature map, averaged over the cells."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.core import Predictor, UnsupportedError
from contrafact.perturbation.memory import portions


def pooled_features(
    predictor: Predictor, images: NDArray[Any], *, layer: str | None = None, batch: int = 32
) -> tuple[Tensor, Tensor, str]:
    """Return raw outputs (N, K), pooled features (N, F) and the layer's name for images (N, C, *S).

    layer   None: the default layer, the last feature map that all later layers depend on
    gives   features in float64 on the CPU: the mean of each channel over all cells
    cost    a forward pass per image, and the choice of the default layer once per image size
    raises  UnsupportedError for a model whose layers cannot be read
    """
    if not predictor.watchable:
        raise UnsupportedError(
            "expected a model whose layers can be read; got one without (ONNX, TorchScript or a function): "
            "give the torch module"
        )
    place = predictor.feature_layer(images[:1], layer)
    outputs: list[Tensor] = []
    features: list[Tensor] = []

    def work(part: slice) -> None:
        with predictor.watch(place.name) as seen:
            given = torch.as_tensor(predictor(images[part]))
        maps = place.read(seen[-1])
        outputs.append(given.detach().cpu())
        features.append(maps.detach().flatten(2).double().mean(dim=2).cpu())

    with predictor.frozen(), torch.no_grad():
        portions(len(images), batch, images[0].size, work)
    return torch.cat(outputs), torch.cat(features), place.name
