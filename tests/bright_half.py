"""A translator that brightens the upper half, and a model that reads just that."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from contrafact.core import Image
from contrafact.counterfactual import Bundle, Translation
from contrafact.generators import Translator, TranslatorConfig
from contrafact.models import Preprocessing, TorchPredictor

AS_THEY_ARE = Preprocessing(window=(0, 1))  # these toys take images in their own units
SMALL = {"resolution": 16, "widths": (4, 8), "fold": 2}


class Brighter(Translator):
    """Adds a known amount to the upper half: as many grey levels as the score asked is above the image's
    own."""

    def translate(self, encoded: object, to: Tensor) -> Tensor:
        step = (to - self.back(encoded)).view(-1, 1, 1, 1) * 0.2
        change = torch.zeros_like(encoded.images)
        change[..., :8, :] = 1
        moved = (encoded.images + step * change * encoded.region).clamp(-1, 1)
        return torch.where(encoded.region > 0, moved, encoded.images)

    def back(self, encoded: object) -> Tensor:
        """The image's own score, from the scaled one."""
        return encoded.now * (self.high[0] - self.low[0]) / 2 + (self.high[0] + self.low[0]) / 2


class MeanOfHalf(torch.nn.Module):
    """Log-odds: 5 times the mean of the upper half of an image in [-1, 1], its negative half in the first
    class."""

    def forward(self, x: Tensor) -> Tensor:
        score = 5 * (x[:, :, :8] / 127.5 - 1).mean(dim=(1, 2, 3))
        return torch.stack([-score / 2, score / 2], dim=1)


def bright_bundle(**changes: object) -> Bundle:
    predictor = TorchPredictor(MeanOfHalf(), preprocessing=AS_THEY_ARE, classes=["dark", "bright"])
    made = Brighter(TranslatorConfig(**SMALL))
    made.low.fill_(-3.0)
    made.high.fill_(3.0)
    return Bundle(
        **{
            "name": "bright",
            "window": (0.0, 255.0),
            "translator": made.eval(),
            "translations": (Translation(model=predictor.digest, target="class:1"),),
            "predictor": predictor,
            "predictors": {"model": predictor},
            **changes,
        }
    )


def grey(value: float, side: int = 16) -> Image:
    rng = np.random.default_rng(0)
    return Image((value + rng.uniform(-5, 5, (1, side, side))).astype(np.float32), window=(0.0, 255.0))
