"""A generator whose every pixel is one latent number, and models whose log-odds are known in latents."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from contrafact.core import Image
from contrafact.counterfactual import Bundle, DirectionConfig, LatentStatistics, fit_direction
from contrafact.models import Preprocessing, TorchPredictor

OWN = Preprocessing(window=(0, 1))  # the toys scale their images themselves
MIX = torch.tensor([[1.0, 0.3, 0.0, 0.0], [0.3, 1.0, 0.0, 0.0], [0.0, 0.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.25]])


class FourPixels:
    """An 'image' of 2 x 2 pixels: pixel i is w_i / 8. Latents are correlated normals."""

    image_shape = (1, 2, 2)
    latent_size = 4

    def decode(self, w: Tensor) -> Tensor:
        return (w / 8).reshape(-1, 1, 2, 2)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.randn(n, 4, generator=rng) @ MIX


class Exact(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.reshape(-1, 4) * 8


class FirstPixel(nn.Module):
    """Log-odds of class 1: three times w_0, from images in 0..255."""

    def __init__(self, weights: tuple[float, ...] = (3.0, 0.0, 0.0, 0.0)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weights))

    def forward(self, images: Tensor) -> Tensor:
        z = ((images.reshape(-1, 4) / 127.5 - 1) * 8) @ self.weight
        return torch.stack([-z / 2, z / 2], dim=1)


def predictor(weights: tuple[float, ...] = (3.0, 0.0, 0.0, 0.0)) -> TorchPredictor:
    return TorchPredictor(FirstPixel(weights), classes=["no", "yes"], preprocessing=OWN)


def bundle(model: Any, *, published: bool = False, hold: tuple[tuple[float, ...], ...] = ()) -> Bundle:
    generator, target = FourPixels(), model.target("class:1")
    blank = Bundle(
        name="toy",
        generator=generator,
        encoder=Exact(),
        window=(0.0, 255.0),
        directions=(),
        statistics=LatentStatistics.of(generator, torch.Generator().manual_seed(1)),
        predictor=model,
    )
    others = [predictor(weights) for weights in hold]
    direction = fit_direction(
        generator,
        blank.scorer(model, target),
        target=target,
        model=model.digest,
        hold=[blank.scorer(other, target) for other in others],
        config=DirectionConfig(samples=5000, published=published, bootstrap=20),
    )
    direction.fit["classes"] = 2
    return Bundle(
        name="toy",
        generator=generator,
        encoder=Exact(),
        window=(0.0, 255.0),
        statistics=blank.statistics,
        directions=(direction,),
        predictor=model,
        predictors={"main": model},
        card={},
    )


def image(w: tuple[float, ...]) -> Image:
    return Image(((torch.tensor(w) / 8 + 1) * 127.5).reshape(1, 2, 2).numpy(), window=(0, 255))


def two_scores() -> tuple[Bundle, TorchPredictor]:
    """Directions of two models: one reads w_0, the other w_1, which moves along with it."""
    model, other = predictor(), predictor((0.0, 1.0, 0.0, 0.0))
    made, theirs = bundle(model), bundle(other)
    both = (*made.directions, *theirs.directions)
    return dataclasses.replace(made, directions=both, predictors={"main": model, "other": other}), model


class Bowl(nn.Module):
    """Three times w_0, and more for any w_2, either way: no step along w_2 lowers it."""

    def forward(self, images: Tensor) -> Tensor:
        w = (images.reshape(-1, 4) / 127.5 - 1) * 8
        z = 3 * w[:, 0] + w[:, 1] + 1.5 * w[:, 2].square()
        return torch.stack([-z / 2, z / 2], dim=1)
