"""A linear model and a linear generator: every frame of a counterfactual is known."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from contrafact.core import Counterfactual, Grid, Question
from contrafact.metrics import CounterfactualContext, Factor
from contrafact.models import Preprocessing, TorchPredictor
from linear_panel import Linear


@dataclasses.dataclass
class Toy:
    """Everything is linear: score = weights . x / 100 - offset, and the generator draws x + a step along one
    direction. A unit asked is a unit measured; the image scores -2, the last of five frames 2."""

    weights: Tensor
    direction: np.ndarray[Any, Any]
    image: np.ndarray[Any, Any]
    predictor: TorchPredictor
    mask: np.ndarray[Any, Any]

    @property
    def per_unit(self) -> float:
        """Steps along the direction that change the score by one."""
        return float(1 / (2 * (self.weights.numpy() * self.direction).sum()))

    def question(self) -> Question:
        target = Shifted(self.predictor.target("class:1"), self.offset)
        return Question(
            predictor=self.predictor, images=self.image[None], target=target, grid=Grid(self.image.shape[1:])
        )

    @property
    def offset(self) -> float:
        return float(2 * (self.weights.numpy() * self.image).sum()) + 2

    def frames(self, scores: list[float], image: np.ndarray[Any, Any] | None = None) -> np.ndarray[Any, Any]:
        """Frames whose score is as much higher than the image's."""
        start = self.image if image is None else image
        return np.stack([start + s * self.per_unit * self.direction for s in scores]).astype(np.float32)

    def strip(self, steps: list[float], **more: Any) -> Counterfactual:
        asked = np.array(steps, dtype=np.float64)
        about: dict[str, Any] = {
            "frames": self.frames(steps),
            "requested": asked,
            "scores": asked - 2,
            "latent_distance": np.abs(asked),
            "origin": int(np.abs(asked).argmin()),
            "reconstruction_error": 0.0,
            "above_tolerance": False,
            "outcome": "reached",
            "goal": float(asked[-1] - 2),
            "reconstruction": (self.image + 1).astype(np.float32),
            "grid": Grid(self.image.shape[1:]),
        }
        return Counterfactual(**{**about, **more})

    def again(self, image: np.ndarray[Any, Any], score: float) -> Counterfactual:
        present = float(2 * (self.weights.numpy() * image).sum()) - self.offset
        return self.strip([0.0, score - present], frames=self.frames([0.0, score - present], image))

    def control(self, length: float, rng: np.random.Generator) -> np.ndarray[Any, Any]:
        other = rng.normal(size=self.direction.shape)
        other *= length * self.per_unit * np.linalg.norm(self.direction) / np.linalg.norm(other)
        return np.stack([self.image, self.image + other]).astype(np.float32)

    def walked(self, strip: Counterfactual | None = None, **more: Any) -> CounterfactualContext:
        factors = {
            "worth": Factor(read=lambda x: float((2 * self.weights.numpy() * x).sum()) - self.offset, span=4.0),
            "rest": Factor(read=lambda x: float(x[:, ~self.mask].mean()), span=1.0),
        }
        about: dict[str, Any] = {
            "strip": strip or self.strip([0.0, 1.0, 2.0, 3.0, 4.0]),
            "question": self.question(),
            "window": (0.0, 10.0),
            "oracle": (self.predictor, Shifted(self.predictor.target("class:1"), self.offset, 0.5)),
            "others": {"half": Shifted(self.predictor.target("class:1"), self.offset, -0.5)},
            "mask": self.mask,
            "shortcut": ~self.mask,
            "factors": factors,
            "cause": "worth",
            "again": self.again,
            "control": self.control,
            "layers": lambda images: [images, images[:, :1] ** 2],
        }
        return CounterfactualContext(**{**about, **more})


@dataclasses.dataclass(frozen=True)
class Shifted:
    """Log-odds minus a constant, so that an image of any values scores -2; times a factor."""

    inner: Any
    offset: float
    times: float = 1.0

    def __call__(self, outputs: Tensor) -> Tensor:
        return torch.as_tensor(self.times * (self.inner(outputs) - self.offset))

    def score_of(self, goal: float) -> float:
        return float(self.inner.score_of(goal))

    def __str__(self) -> str:
        return "class:1"


def toy(*, axes: int = 2, channels: int = 1, side: int = 12) -> Toy:
    """The direction changes the planted block, and the rest a hundredth as much."""
    rng = np.random.default_rng(0)
    size = (side,) * axes
    mask = np.zeros(size, dtype=bool)
    mask[(slice(2, 6),) * axes] = True
    weights = torch.tensor(rng.uniform(0.5, 1.5, (channels, *size)) * mask / 100, dtype=torch.float32)
    image = rng.uniform(4, 6, (channels, *size)).astype(np.float32)
    direction = np.broadcast_to(np.where(mask, 1.0, 0.01), image.shape).copy()
    plain = Preprocessing(window=(0, 1))  # the values as they are
    return Toy(
        weights,
        direction,
        image,
        TorchPredictor(Linear(weights), classes=["a", "b"], preprocessing=plain),
        mask,
    )
