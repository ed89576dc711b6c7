from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.attribution.gradients import as_map, needs_gradients, score, scored_slopes
from contrafact.core import EXPLAINERS, InputError, Question
from contrafact.perturbation.fill import fill_values


@EXPLAINERS.register("integrated-gradients", aliases=("ig", "integrated_gradients"))
@dataclass(frozen=True, slots=True, kw_only=True)
class IntegratedGradients:
    """Gradient summed along the straight line from a baseline to the image.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), target units, summed over channels; the map sums to
            f(image) - f(baseline) up to the error of the quadrature. `notes["completeness"]`: that
            error as a share of the change, and `notes["points"]`: how many it took
    cost    a forward and a backward pass per point: 9 to `most`, or `steps` where given
    raises  UnsupportedError for a model without gradients; InputError for fewer than 2 steps
    Source: Sundararajan et al. 2017 (arXiv 1703.01365), eq. 1. Differs: the points go where they are
    needed. The value of f at the points is known, so the error of every piece of the line is known
    exactly: the worst pieces are halved until the whole is good to `gap`.

    gap       wanted error of the sum, as a share of the change of the score
    most      points at most
    steps     a fixed number of points (Gauss-Legendre, computed by captum) instead
    baseline  "mean" (of the image), "min", "blur" or a number in image units
    """

    needs_gradients: ClassVar[bool] = True
    gap: float = 0.01
    most: int = 129
    steps: int | None = None
    baseline: str | float = "min"

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 2:
            raise InputError(f"steps must be at least 2; got {self.steps}")
        if self.gap <= 0 or self.most < 9:
            raise InputError(f"gap must be above 0 and most at least 9; got {self.gap}, {self.most}")

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        predictor = needs_gradients(question, "integrated-gradients")
        images = torch.as_tensor(question.images).to(predictor.device)
        baselines = fill_values(images, self.baseline)
        if self.steps is not None:
            return self._fixed(question, predictor, images, baselines)
        found = [self._adaptive(question, *one) for one in zip(images, baselines, strict=True)]
        question.notes["completeness"] = [share for _, share, _ in found]
        question.notes["points"] = [float(points) for *_, points in found]
        return np.stack([as_map(values.sum(dim=0)) for values, *_ in found])

    def _fixed(
        self, question: Question, predictor: Any, images: Tensor, baselines: Tensor
    ) -> NDArray[np.float32]:
        from captum.attr import IntegratedGradients as Captum  # slow to import

        maps = Captum(lambda x: score(question, predictor(x))).attribute(
            images, baselines=baselines, n_steps=self.steps, internal_batch_size=max(16, len(images))
        )
        return as_map(maps.sum(dim=1))

    def _adaptive(self, question: Question, image: Tensor, baseline: Tensor) -> tuple[Tensor, float, int]:
        """Values (C, *S), the error left as a share of the change, and the points it took."""
        line = _Line(question, image, baseline)
        line.visit([i / 8 for i in range(9)])
        change = line.scores[1.0] - line.scores[0.0]
        while True:
            errors = line.errors()
            left = abs(sum(error for error, _ in errors)) / max(abs(change), 1e-6)
            # Errors of both signs can cancel by luck while the pieces are still bad.
            each = sum(abs(error) for error, _ in errors) / max(abs(change), 1e-6)
            room = self.most - len(line.scores)
            if max(left, each / 10) <= self.gap or room <= 0:
                return line.integral(), left, len(line.scores)
            worst = sorted(errors, key=lambda one: -abs(one[0]))[: min(room, 4)]
            line.visit([middle for _, middle in worst])


class _Line:
    """The way from a baseline (0) to an image (1): what is known of f on it."""

    def __init__(self, question: Question, image: Tensor, baseline: Tensor) -> None:
        self.question, self.baseline, self.way = question, baseline, image - baseline
        self.scores: dict[float, float] = {}
        self.rises: dict[float, float] = {}  # df/dt
        self.slopes: dict[float, Tensor] = {}

    def visit(self, points: list[float]) -> None:
        at = torch.tensor(points, device=self.way.device, dtype=self.way.dtype)
        at = at.reshape(-1, *(1,) * self.way.ndim)
        values, slopes = scored_slopes(self.question, self.baseline + at * self.way)
        for point, value, slope in zip(points, values.tolist(), slopes, strict=True):
            self.scores[point], self.slopes[point] = value, slope
            self.rises[point] = float((slope * self.way).double().sum())

    def pieces(self) -> list[tuple[float, float]]:
        return list(itertools.pairwise(sorted(self.scores)))

    def errors(self) -> list[tuple[float, float]]:
        """Of the trapezium over each piece: (sum of gradients - change of f), and its middle."""
        return [
            (
                (b - a) * (self.rises[a] + self.rises[b]) / 2 - (self.scores[b] - self.scores[a]),
                (a + b) / 2,
            )
            for a, b in self.pieces()
        ]

    def integral(self) -> Tensor:
        total = torch.zeros_like(self.way)
        for a, b in self.pieces():
            total += (b - a) / 2 * (self.slopes[a] + self.slopes[b])
        return total * self.way
