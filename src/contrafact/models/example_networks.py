"""Small networks for the shipped bundles and the examples, for images and for volumes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from contrafact.core.errors import InputError

# Layers by the number of axes.
PLANE = SimpleNamespace(Conv=nn.Conv2d, Norm=nn.BatchNorm2d, Mean=nn.AvgPool2d, Max=nn.MaxPool2d)
VOLUME = SimpleNamespace(Conv=nn.Conv3d, Norm=nn.BatchNorm3d, Mean=nn.AvgPool3d, Max=nn.MaxPool3d)


class Residual(nn.Module):
    """Two convolutions of width 3 with batch normalisation and a skip; `stride` 2 halves the side."""

    def __init__(self, wide_in: int, wide_out: int, *, stride: int = 1, axes: int = 2) -> None:
        super().__init__()
        of = layers_of(axes)
        self.conv1 = of.Conv(wide_in, wide_out, 3, stride, 1, bias=False)
        self.norm1 = of.Norm(wide_out)
        self.conv2 = of.Conv(wide_out, wide_out, 3, 1, 1, bias=False)
        self.norm2 = of.Norm(wide_out)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or wide_in != wide_out:
            self.skip = nn.Sequential(
                of.Mean(stride) if stride > 1 else nn.Identity(),
                of.Conv(wide_in, wide_out, 1, bias=False),
                of.Norm(wide_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.norm1(self.conv1(x)))
        return self.relu2(self.norm2(self.conv2(y)) + self.skip(x))


class ResidualNetwork(nn.Module):
    """A small ResNet: images (N, channels, *S), with two axes or three, to (N, outputs).

    2.8 million parameters at width 32 with four stages of two blocks in 2D; `fine` blocks run at full
    size before the first halving, for findings of one or two pixels. With `pair` the outputs have names, as
    in `with_pair`. With `grey` the network sees the mean of the channels: it cannot read a stain.
    """

    def __init__(
        self,
        *,
        channels: int = 1,
        outputs: int = 2,
        width: int = 32,
        stages: int = 4,
        blocks: int = 1,
        fine: int = 0,
        dropout: float = 0.0,
        pair: int | None = None,
        axes: int = 2,
        grey: bool = False,
    ) -> None:
        super().__init__()
        self.pair, self.grey, self.over, of = pair, grey, tuple(range(2, 2 + axes)), layers_of(axes)
        self.stem = nn.Sequential(
            of.Conv(1 if grey else channels, width, 3, 1, 1, bias=False),
            of.Norm(width),
            nn.ReLU(),
            *(Residual(width, width, axes=axes) for _ in range(fine)),
        )
        layers: list[nn.Module] = []
        before = width
        for stage in range(stages):
            now = min(width * 2**stage, 8 * width)
            for block in range(blocks):
                layers.append(Residual(before, now, stride=2 if block == 0 else 1, axes=axes))
                before = now
        self.body = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(before, outputs)

    def _seen(self, x: Tensor) -> Tensor:
        return x.mean(dim=1, keepdim=True) if self.grey else x

    def features(self, x: Tensor) -> Tensor:
        """Return the pooled features (N, F) before the head."""
        pooled: Tensor = self.body(self.stem(self._seen(x))).mean(dim=self.over)
        return pooled

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        scores: Tensor = self.head(self.dropout(self.features(x)))
        return scores if self.pair is None else with_pair(scores, self.pair)


class PlainNetwork(nn.Module):
    """A VGG-like network: pairs of convolutions of width 3 with batch normalisation and maximum pooling, no
    skips. Images (N, channels, *S), with two axes or three, to (N, outputs). The second models of the bundles
    are such networks.

    0.3 million parameters at the default widths. With `pair` the outputs have names, as in `with_pair`;
    `grey` as above.
    """

    def __init__(
        self,
        *,
        channels: int = 1,
        outputs: int = 2,
        widths: tuple[int, ...] = (16, 32, 64, 128),
        dropout: float = 0.2,
        pair: int | None = None,
        axes: int = 2,
        grey: bool = False,
    ) -> None:
        super().__init__()
        self.pair, self.grey, self.over, of = pair, grey, tuple(range(2, 2 + axes)), layers_of(axes)
        stages: list[nn.Module] = []
        before = 1 if grey else channels
        for width in widths:
            layers: list[nn.Module] = []
            for wide_in in (before, width):
                layers += [of.Conv(wide_in, width, 3, 1, 1, bias=False), of.Norm(width), nn.ReLU()]
            stages.append(nn.Sequential(*layers, of.Max(2)))
            before = width
        self.body = nn.Sequential(*stages)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(before, outputs)

    def _seen(self, x: Tensor) -> Tensor:
        return x.mean(dim=1, keepdim=True) if self.grey else x

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the feature map (N, F, *S) of every stage."""
        maps, x = [], self._seen(x)
        for stage in self.body:
            x = stage(x)
            maps.append(x)
        return maps

    def features(self, x: Tensor) -> Tensor:
        """Return the pooled features (N, F) before the head."""
        pooled: Tensor = self.body(self._seen(x)).mean(dim=self.over)
        return pooled

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        scores: Tensor = self.head(self.dropout(self.features(x)))
        return scores if self.pair is None else with_pair(scores, self.pair)


def with_pair(scores: Tensor, row: int) -> dict[str, Tensor]:
    """Return scores (N, K) as `scores`, and as `pair` (N, 2) the logits of two classes whose log-odds are score
    `row`: one network is an ordinal model and a classifier, by the `head` of its description."""
    half = scores[:, row] / 2
    return {"scores": scores, "pair": torch.stack([-half, half], dim=1)}


def layers_of(axes: int) -> Any:
    """Return the kinds of layer for images (2 axes) or volumes (3)."""
    if axes not in (2, 3):
        raise InputError(f"axes must be 2 or 3; got {axes}")
    return PLANE if axes == 2 else VOLUME
