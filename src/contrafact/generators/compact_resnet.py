"""The small ResNet of encoders: names and values of the weights are those of MONAI, which is slow to import."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, before: int, planes: int, stride: int, axes: int) -> None:
        super().__init__()
        conv, norm = _layers(axes)
        changed = stride != 1 or before != planes
        shortcut = nn.Sequential(conv(before, planes, 1, stride), norm(planes)) if changed else None
        self.conv1 = conv(before, planes, 3, stride, 1, bias=False)
        self.bn1 = norm(planes)
        self.act = nn.ReLU(inplace=True)
        self.conv2 = conv(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = norm(planes)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.act(self.bn1(self.conv1(x)))))
        return torch.as_tensor(self.act(y + (x if self.downsample is None else self.downsample(x))))


class CompactResNet(nn.Module):
    """A residual network without pooling at its start: images (N, C, *S) to values (N, classes).

    code    channels of a spatial code that follows the values, flattened: of an eighth of the image's side
            (four stages, 2D); 0: none
    Source: He et al. 2016 (arXiv 1512.03385). Differs: the first convolution has 5 cells a side; equal to
    `ResNet("basic", ..., conv1_t_size=5, conv1_t_stride=2, no_max_pool=True)` of MONAI.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        planes: Sequence[int],
        blocks: Sequence[int],
        axes: int,
        code: int = 0,
    ) -> None:
        super().__init__()
        conv, norm = _layers(axes)
        self.conv1 = conv(channels, planes[0], 5, 2, 2, bias=False)
        self.bn1 = norm(planes[0])
        self.act = nn.ReLU(inplace=True)
        before, strides = (planes[0], *planes), (1, *(2 for _ in planes[1:]))
        for number, (width, count, stride) in enumerate(zip(planes, blocks, strides, strict=True), 1):
            first = Block(before[number - 1], width, stride, axes)
            more = [Block(width, width, 1, axes) for _ in range(count - 1)]
            self.add_module(f"layer{number}", nn.Sequential(first, *more))
        self.avgpool = nn.AdaptiveAvgPool2d(1) if axes == 2 else nn.AdaptiveAvgPool3d(1)
        self.fc = nn.Linear(planes[-1], classes)
        for part in self.modules():
            if isinstance(part, conv):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)
        self.code = conv(planes[-2] + planes[-1], code, 3, padding=1) if code else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn1(self.conv1(x)))
        finer = x
        for name, part in self.named_children():
            if name.startswith("layer"):
                finer, x = x, part(x)
        values = self.fc(self.avgpool(x).flatten(1))
        if self.code is None:
            return torch.as_tensor(values)
        larger = nn.functional.interpolate(x, finer.shape[2:], mode="nearest")
        return torch.cat([values, self.code(torch.cat([finer, larger], dim=1)).flatten(1)], dim=1)


def _layers(axes: int) -> tuple[type[nn.Conv2d | nn.Conv3d], type[nn.BatchNorm2d | nn.BatchNorm3d]]:
    return (nn.Conv2d, nn.BatchNorm2d) if axes == 2 else (nn.Conv3d, nn.BatchNorm3d)
