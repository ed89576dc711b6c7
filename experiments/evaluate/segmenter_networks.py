"""Segmenters trained by others, as modules that load their published weights.

W-Net: two small U-Nets, the second receives the output of the first (Galdran et al. 2022, arXiv 2009.01907;
weights MIT). hippodeep: hippocampus in T1 (Thyreau et al. 2018, doi 10.1016/j.media.2017.11.004; weights
MIT). Both written from the papers, and from the names and shapes of the weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _step(wide_in: int, wide_out: int) -> list[nn.Module]:
    return [nn.Conv2d(wide_in, wide_out, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(wide_out)]


class _Block(nn.Module):
    """Two convolutions and a skip."""

    def __init__(self, wide_in: int, wide_out: int) -> None:
        super().__init__()
        self.shortcut = nn.Sequential(nn.Conv2d(wide_in, wide_out, 1, bias=False), nn.BatchNorm2d(wide_out))
        self.block = nn.Sequential(*_step(wide_in, wide_out), *_step(wide_out, wide_out))

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.block(x) + self.shortcut(x))


class _Wrapped(nn.Module):
    """A sequence under the name `block`, as in the weights."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.block(x))


class _Up(nn.Module):
    def __init__(self, wide_in: int, wide_out: int) -> None:
        super().__init__()
        self.up_layer = _Wrapped(nn.ConvTranspose2d(wide_in, wide_out, 2, stride=2))
        self.conv_layer = _Block(2 * wide_out, wide_out)
        self.conv_bridge_layer = _Wrapped(*_step(wide_out, wide_out))

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        return torch.as_tensor(
            self.conv_layer(torch.cat([self.up_layer(x), self.conv_bridge_layer(beside)], 1))
        )


class _UNet(nn.Module):
    def __init__(self, channels: int, widths: Sequence[int] = (8, 16, 32)) -> None:
        super().__init__()
        steps = list(itertools.pairwise(widths))
        self.first = _Block(channels, widths[0])
        self.down_path = nn.ModuleList(_Block(a, b) for a, b in steps)
        self.up_path = nn.ModuleList(_Up(b, a) for a, b in reversed(steps))
        self.final = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        seen = [self.first(x)]
        for down in self.down_path:
            seen.append(down(F.max_pool2d(seen[-1], 2)))
        x = seen.pop()
        for up in self.up_path:
            x = up(x, seen.pop())
        return torch.as_tensor(self.final(x))


class WNet(nn.Module):
    """RGB / 255 (N, 3, H, W), sides multiples of 4, to the logit of a vessel (N, 1, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.unet1, self.unet2 = _UNet(3), _UNet(4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.unet2(torch.cat([x, self.unet1(x)], dim=1)))


class HippoNet(nn.Module):
    """A crop of a T1 (N, 1, 48, 72, 64) in x, y, z to the logit of hippocampus, 2 voxels less each side."""

    def __init__(self) -> None:
        super().__init__()

        def conv(wide_in: int, wide_out: int, size: int | tuple[int, ...] = 3, pad: int = 1) -> nn.Conv3d:
            return nn.Conv3d(wide_in, wide_out, size, padding=pad)

        self.conv0a_0, self.conv0a_1 = conv(1, 16, (1, 1, 3), 0), conv(16, 16, (1, 3, 1), 0)
        self.conv0a, self.convf1 = conv(16, 16, (3, 1, 1), 0), conv(16, 48, 3, 0)
        self.bn1, self.bn2 = nn.BatchNorm3d(48), nn.BatchNorm3d(48)
        self.convout0, self.convout1 = conv(48, 48), conv(48, 48)
        self.convout2p, self.convout2 = conv(48, 48), conv(48, 48)
        self.convlx3, self.convlx5, self.convlx7 = conv(48, 48), conv(48, 48), conv(48, 16)
        self.convlx8, self.blur = conv(16, 1, 1, 0), conv(1, 1, 7, 3)
        self.conv_extract, self.convmix, self.convout1x = conv(48, 47), conv(48, 16), conv(16, 1, 1, 0)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.conv0a_0, self.conv0a_1, self.conv0a, self.convf1):
            x = F.relu(layer(x))
        fine = x
        half = F.max_pool3d(x, 2)
        half = F.relu(self.convout1(F.relu(self.convout0(self.bn1(half)))) + half)
        quarter = F.max_pool3d(half, 2)
        x = F.relu(self.convout2(F.relu(self.convout2p(self.bn2(quarter)))) + quarter)
        x = F.relu(self.convlx3(x))
        x = F.relu(self.convlx5(F.interpolate(x, scale_factor=2)))
        x = F.relu(self.convlx7(F.interpolate(x, scale_factor=2)))
        coarse = torch.sigmoid(self.convlx8(x))
        x = torch.sigmoid(self.blur(coarse)) * fine
        x = torch.cat([coarse, F.leaky_relu(self.conv_extract(x))], dim=1)
        return torch.as_tensor(self.convout1x(F.relu(self.convmix(x))))
