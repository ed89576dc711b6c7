"""A generator of anatomy and two findings in four pixels, whose smallest strength is a closed form."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrafact.core import Image
from contrafact.counterfactual import Bundle, LatentStatistics
from contrafact.models import Preprocessing, TorchPredictor

AS_THEY_ARE = Preprocessing(window=(0, 1))  # images as they come: this network scales them itself


class TwoFindings:
    """Pixel i of 2 x 2 is a_i / 8; finding k brightens pixel k by the length of its code."""

    image_shape = (1, 2, 2)
    latent_size = 8

    def decode(self, w: Tensor) -> Tensor:
        a, p = w[:, :4], w[:, 4:].unflatten(1, (2, 2)).norm(dim=2)
        return ((a + F.pad(p, (0, 2))) / 8).reshape(-1, 1, 2, 2)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.randn(n, 8, generator=rng)

    def code(self, finding: int) -> slice:
        return slice(4 + 2 * finding, 6 + 2 * finding)

    def draw_code(self, n: int, rng: torch.Generator) -> Tensor:
        return F.normalize(torch.randn(n, 2, generator=rng), dim=1)

    def strength(self, latents: Tensor) -> Tensor:
        return latents[:, 4:].unflatten(1, (2, 2)).norm(dim=2)


class KnowsTwo(nn.Module):
    """Healthy anatomy is -1 at the first two pixels; what is above it belongs to the codes, up to `most`."""

    def __init__(self, most: float = 9.0) -> None:
        super().__init__()
        self.most = most

    def forward(self, images: Tensor) -> Tensor:
        w = images.reshape(-1, 4) * 8
        strength = (w[:, :2] + 1).clamp(0, self.most)
        codes = torch.stack([strength, torch.zeros_like(strength)], dim=2).flatten(1)
        return torch.cat([w - F.pad(strength, (0, 2)), codes], dim=1)


class TwoLogits(nn.Module):
    """Log-odds of finding k: three times w_k, from images in 0..255."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(3.0))

    def forward(self, images: Tensor) -> Tensor:
        return self.weight * ((images.reshape(-1, 4) / 127.5 - 1) * 8)[:, :2]


def two_findings(most: float = 9.0) -> Bundle:
    predictor = TorchPredictor(TwoLogits(), preprocessing=AS_THEY_ARE, classes=["one", "two"], output="sigmoid")
    generator = TwoFindings()
    return Bundle(
        name="toy",
        generator=generator,
        encoder=KnowsTwo(most),
        statistics=LatentStatistics(torch.zeros(8), torch.eye(8)),
        window=(0.0, 255.0),
        directions=(),
        findings=((predictor.digest, "class:0"), (predictor.digest, "class:1")),
        predictor=predictor,
    )


def four(*w: float) -> Image:
    return Image(((torch.tensor(w) / 8 + 1) * 127.5).reshape(1, 2, 2).numpy(), window=(0, 255))
