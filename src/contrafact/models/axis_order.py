"""A network that was trained on other axes than those of an `Image`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn


class AxisOrder(nn.Module):
    """Give a network the spatial axes in its own order, and return maps in that of the image.

    order  for each spatial axis of the network, the axis of the image: (2, 1, 0) for the reverse
    """

    def __init__(self, network: nn.Module, order: Sequence[int]) -> None:
        super().__init__()
        self.network, self.order = network, tuple(order)

    def forward(self, images: Tensor) -> Any:
        outputs = self.network(images.permute(0, 1, *(2 + axis for axis in self.order)))
        return _back(outputs, [self.order.index(axis) for axis in range(len(self.order))])


def _back(outputs: Any, order: Sequence[int]) -> Any:
    """Return maps (N, K, *S) in the order of the image, alone, in a list or by names; else the same."""
    if isinstance(outputs, (list, tuple)):
        return [_back(output, order) for output in outputs]
    if isinstance(outputs, Mapping):
        return {name: _back(output, order) for name, output in outputs.items()}
    if isinstance(outputs, Tensor) and outputs.ndim == 2 + len(order):
        return outputs.permute(0, 1, *(2 + axis for axis in order))
    return outputs


def in_order(network: nn.Module, order: Sequence[int]) -> nn.Module:
    """Return the network itself where the order is that of the image, else an `AxisOrder` of it."""
    return network if list(order) == sorted(order) else AxisOrder(network, order)
