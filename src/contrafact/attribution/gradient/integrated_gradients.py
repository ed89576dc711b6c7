from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.attribution.gradients import as_map, needs_gradients, scored_slopes
from contrafact.core import EXPLAINERS, InputError, Question
from contrafact.perturbation import memory
from contrafact.perturbation.fill import fill_values

KEPT = 2**27  # values of gradients that are kept, half a GiB: those of any further point are computed twice


@EXPLAINERS.register("integrated-gradients", aliases=("ig", "integrated_gradients"))
@dataclass(frozen=True, slots=True, kw_only=True)
class IntegratedGradients:
    """Show each voxel's contribution to the change of the output from a baseline image to this image.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), target units, summed over channels; the map sums to
            f(image) - f(baseline) up to the error of the quadrature. `notes["completeness"]`: that
            error as a share of the change, and `notes["points"]`: the number of points
    cost    a forward and a backward pass per point: 9 to `most`, or `steps` if set; twice for those after
            the first 2^27 / C / prod(S) points (8 at 256³), whose gradients are not kept
    raises  UnsupportedError for a model without gradients; InputError for fewer than 2 steps, a gap of 0
            or `most` below 9
    Source: Sundararajan et al. 2017 (arXiv 1703.01365), eq. 1. Differs: the points are adaptive. The
    values of f at the points give the exact error of every interval of the line: the intervals with the
    largest errors are halved until the error of the sum is at most `gap`.

    gap       accepted error of the sum, as a share of the change of the score
    most      greatest number of points
    steps     use a fixed number of points (Gauss-Legendre quadrature)
    baseline  "mean" (of the image), "min", "blur" or a number in image units
    """

    needs_gradients: ClassVar[bool] = True
    live: ClassVar[bool] = True
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
        predictor = needs_gradients(question, "integrated-gradients", at_once=False)
        images = torch.as_tensor(question.images).to(predictor.device)
        baselines = fill_values(images, self.baseline)
        if self.steps is not None:
            return self._fixed(question, images, baselines, self.steps)
        results = [self._adaptive(question, *pair) for pair in zip(images, baselines, strict=True)]
        question.notes["completeness"] = [share for _, share, _ in results]
        question.notes["points"] = [float(points) for *_, points in results]
        return np.stack([as_map(values.sum(dim=0)) for values, *_ in results])

    def _fixed(self, question: Question, images: Tensor, baselines: Tensor, steps: int) -> NDArray[np.float32]:
        points, weights = np.polynomial.legendre.leggauss(steps)  # of the interval from -1 to 1
        shares = dict(zip(((points + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))
        maps = []
        for image, baseline in zip(images, baselines, strict=True):
            line, total = _Line(question, image, baseline), torch.zeros_like(image)
            for some, _, slopes in line.at(list(shares)):
                total += torch.tensordot(slopes.new_tensor([shares[point] for point in some]), slopes, 1)
            maps.append(total * line.difference)
        return as_map(torch.stack(maps).sum(dim=1))

    def _adaptive(self, question: Question, image: Tensor, baseline: Tensor) -> tuple[Tensor, float, int]:
        """Return values (C, *S), the remaining error as a share of the change, and the number of points."""
        line = _Line(question, image, baseline)
        line.visit([i / 8 for i in range(9)])
        change = line.scores[1.0] - line.scores[0.0]
        while True:
            errors = line.errors()
            left = abs(sum(error for error, _ in errors)) / max(abs(change), 1e-6)
            # Errors of both signs can cancel by chance while single intervals are still inaccurate.
            each = sum(abs(error) for error, _ in errors) / max(abs(change), 1e-6)
            points_left = self.most - len(line.scores)
            if max(left, each / 10) <= self.gap or points_left <= 0:
                return line.integral(), left, len(line.scores)
            worst = sorted(errors, key=lambda error: -abs(error[0]))[: min(points_left, 4)]
            line.visit([middle for _, middle in worst])


class _Line:
    """The straight line from a baseline (0) to an image (1), with f at the points that were visited."""

    def __init__(self, question: Question, image: Tensor, baseline: Tensor) -> None:
        self.question, self.baseline, self.difference = question, baseline, image - baseline
        self.scores: dict[float, float] = {}
        self.rises: dict[float, float] = {}  # df/dt
        self.slopes: dict[float, Tensor] = {}  # the gradient of f at the first points, as far as `KEPT` goes

    def visit(self, points: list[float]) -> None:
        """Compute f and its gradient at points of the line (0 to 1)."""
        for some, values, slopes in self.at(points):
            for point, value, slope in zip(some, values.tolist(), slopes, strict=True):
                self.scores[point] = value
                self.rises[point] = float((slope * self.difference).double().sum())
                if (len(self.slopes) + 1) * slope.numel() <= KEPT:
                    self.slopes[point] = slope.clone()

    def at(self, points: list[float]) -> Iterator[tuple[list[float], Tensor, Tensor]]:
        """Yield some points at a time with f (N,) and its gradients (N, C, *S)."""
        together = memory.images_at_once(self.difference.numel())
        for start in range(0, len(points), together):
            some = points[start : start + together]
            at = torch.tensor(some, device=self.difference.device, dtype=self.difference.dtype)
            at = at.reshape(-1, *(1,) * self.difference.ndim)
            yield some, *scored_slopes(self.question, self.baseline + at * self.difference)

    def intervals(self) -> list[tuple[float, float]]:
        return list(itertools.pairwise(sorted(self.scores)))

    def errors(self) -> list[tuple[float, float]]:
        """Return for each interval the error of the trapezium rule (integral of the slope - change of f), and
        its middle."""
        return [
            (
                (b - a) * (self.rises[a] + self.rises[b]) / 2 - (self.scores[b] - self.scores[a]),
                (a + b) / 2,
            )
            for a, b in self.intervals()
        ]

    def integral(self) -> Tensor:
        """Return the integral of the gradient by the trapezium rule, as a running sum over the points."""
        visited = sorted(self.scores)
        edges = [visited[0], *visited, visited[-1]]
        weights = {point: (edges[i + 2] - edges[i]) / 2 for i, point in enumerate(visited)}
        total = torch.zeros_like(self.difference)
        for point, slope in self.slopes.items():
            total += weights[point] * slope
        for some, _, slopes in self.at([point for point in visited if point not in self.slopes]):
            for point, slope in zip(some, slopes, strict=True):
                total += weights[point] * slope
        return total * self.difference
