"""The line integral of a model's gradient along a path of pictures.

Its parts add up to the change of the model's answer, whatever the path: the error of every piece of the
path is known (the answer is known at both ends), so the worst pieces are halved until the whole is good.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from contrafact.core import Generator, UnsupportedError
from contrafact.counterfactual.inversion import carry_over

Score = Callable[[Tensor], Tensor]
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


class Pictures:
    """From a negative realisation (0) to the image (1), on the image's own grid, in [-1, 1].

    knots   latents (K, d): the path goes straight from each to the next, equal shares of the way
    image   (C, *S), at least the generator's size
    anchor  what the generator does not draw of the image is added everywhere: the path ends in the image;
            False: it ends in the generator's drawing, enlarged
    """

    def __init__(self, generator: Generator, knots: Tensor, image: Tensor, *, anchor: bool) -> None:
        self.generator, self.knots, self.image, self.anchor = generator, knots, image, anchor
        with torch.no_grad():
            self.last = generator.decode(knots[-1:])

    def __call__(self, points: Sequence[float]) -> Tensor:
        """Pictures (M, C, *S) at points from 0 to 1."""
        at = torch.tensor(points, dtype=self.knots.dtype, device=self.knots.device) * (len(self.knots) - 1)
        before = at.floor().long().clamp_max(len(self.knots) - 2)
        share = (at - before)[:, None]
        latents = (1 - share) * self.knots[before] + share * self.knots[before + 1]
        with torch.no_grad():
            drawn = self.generator.decode(latents)
        if not self.anchor:
            return self._enlarged(drawn.clamp(-1, 1))
        wide = self.image.expand(len(points), *self.image.shape)
        return carry_over(wide, self._enlarged(drawn - self.last))

    def _enlarged(self, drawn: Tensor) -> Tensor:
        size = self.image.shape[1:]
        return drawn if drawn.shape[2:] == size else F.interpolate(drawn, size, mode=MODES[len(size)])


class Integral:
    """What is known of a score on a path.

    pictures  points from 0 to 1 to pictures (M, C, *S)
    score     pictures to (M,), with gradients unless there are `groups`
    groups    boxes along each axis, for a score without gradients: each box in turn is moved on alone, from
              where a piece begins and back from where it ends, and the score is asked
    """

    def __init__(
        self, pictures: Callable[[Sequence[float]], Tensor], score: Score, *, groups: int | None = None
    ) -> None:
        self.pictures, self.score, self.groups = pictures, score, groups
        self.scores: dict[float, float] = {}
        self.parts: dict[tuple[float, float], Tensor] = {}
        self._seen: dict[float, tuple[Tensor, Tensor | None]] = {}

    def run(self, *, gap: float, most: int) -> None:
        """Visit points until the sum is good to `gap` of the change, or there are `most` of them."""
        self._visit([i / 8 for i in range(9)] if self.groups is None else [i / 4 for i in range(5)])
        while len(self.scores) < most:
            errors = self.errors()
            # Errors of both signs can cancel by luck while the pieces are still bad.
            each = sum(abs(error) for error in errors.values()) / self._size
            if max(self.gap, each / 10) <= gap:
                return
            worst = sorted(errors, key=lambda piece: -abs(errors[piece]))[: min(8, most - len(self.scores))]
            self._visit([(a + b) / 2 for a, b in worst])
            for piece in worst:
                del self.parts[piece]

    @property
    def change(self) -> float:
        """Of the score, from the first picture to the last."""
        return self.scores[1.0] - self.scores[0.0]

    @property
    def gap(self) -> float:
        """What is missing in the sum, as a share of the change."""
        return abs(sum(self.errors().values())) / self._size

    def errors(self) -> dict[tuple[float, float], float]:
        """Of each piece: the sum of its parts less the change of the score."""
        return {
            (a, b): float(part.double().sum()) - (self.scores[b] - self.scores[a])
            for (a, b), part in self.parts.items()
        }

    def total(self) -> Tensor:
        """(*S), summed over channels."""
        return torch.stack(list(self.parts.values())).sum(dim=0)

    @property
    def _size(self) -> float:
        return max(abs(self.change), 1e-6)

    def _visit(self, points: list[float]) -> None:
        pictures = self.pictures(points)
        if self.groups is None:
            values, slopes = slopes_of(self.score, pictures)
            self._seen |= dict(zip(points, zip(pictures, slopes, strict=True), strict=True))
        else:
            values = asked(self.score, pictures)
            self._seen |= {point: (picture, None) for point, picture in zip(points, pictures, strict=True)}
        self.scores |= dict(zip(points, values.double().tolist(), strict=True))
        for a, b in itertools.pairwise(sorted(self.scores)):
            if (a, b) not in self.parts and (a in points or b in points):
                self.parts[a, b] = self._part(a, b)

    def _part(self, a: float, b: float) -> Tensor:
        """What each voxel (*S) adds between two points: the trapezium rule, or its differences."""
        (start, first), (end, last) = self._seen[a], self._seen[b]
        if first is not None and last is not None:
            return ((first + last) / 2 * (end - start)).sum(dim=0)
        way = end - start
        labels = boxes(way.shape[1:], self.groups or 1).to(way.device)
        size = way.square().sum(dim=0)
        length = torch.zeros(int(labels.max()) + 1).to(size).index_add(0, labels.ravel(), size.ravel())
        moving = length.nonzero()[:, 0]
        each = torch.zeros_like(length)
        for some in moving.split(64):
            change = way * (labels == some.reshape(-1, *(1,) * labels.ndim))[:, None]
            on = asked(self.score, start + change) - self.scores[a]
            back = self.scores[b] - asked(self.score, end - change)
            each[some] = ((on + back) / 2).to(each)
        # Within a box: the smallest gradient that explains its difference lies along the way itself.
        return (each / length.clamp_min(1e-30))[labels] * size


def boxes(size: Sequence[int], count: int) -> Tensor:
    """Labels (*size) of boxes, at most `count` along every axis."""
    cells = [torch.arange(side) * min(count, side) // side for side in size]
    labels = torch.zeros(tuple(size), dtype=torch.long)
    for axis, cell in enumerate(cells):
        labels = labels * min(count, size[axis]) + cell.reshape(-1, *(1,) * (len(size) - axis - 1))
    return labels


def asked(score: Score, pictures: Tensor) -> Tensor:
    """Scores (M,) without gradients."""
    with torch.no_grad():
        return torch.cat([score(some) for some in pictures.split(64)])


def slopes_of(score: Score, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (M,) and their gradients (M, C, *S)."""
    found = []
    for some in pictures.split(16):
        some = some.detach().requires_grad_(True)
        with torch.enable_grad():
            values = score(some)
            if not values.requires_grad:
                raise UnsupportedError("the target has no gradient for this model; use a target on logits")
            found.append((values.detach(), torch.autograd.grad(values.sum(), some)[0]))
    return torch.cat([v for v, _ in found]), torch.cat([g for _, g in found])


def mean_gradient(pictures: Tensor, score: Score) -> Tensor:
    """(*S): (last - first picture) x mean gradient, as published; on a curved path no line integral."""
    return ((pictures[-1] - pictures[0]) * slopes_of(score, pictures)[1].mean(dim=0)).sum(dim=0)
